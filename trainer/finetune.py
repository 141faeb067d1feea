"""Adapting weights to a user's pairs: learn, look at the pairs held back, stop when nothing more comes, keep the best or nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer.compute import Compute, choose_compute
from trainer.finetune_data import read_pairs
from trainer.finetune_file import Course, restore_course, save_course, write_result
from trainer.finetune_lesson import prepare
from trainer.finetune_look import Exam, Look, Measure
from trainer.finetune_options import Options
from trainer.finetune_step import Lesson, learn
from trainer.finetune_task import Task, begin, make_task
from trainer.sampling import Gallery
from trainer.stopping import Stop, stop_signals
from unireg_cli.errors import UsageError, WeightsError
from unireg_cli.io.weights import WeightsFile, read_weights
from unireg_cli.io.weights_config import is_adapter, own_smoothness
from unireg_cli.registration.pipeline import Progress, quiet
from unireg_cli.types import Mode

logger = logging.getLogger("unireg")

CHECKPOINT = "checkpoint.pt"
# Looks without a better one before the end, which are to be this share of what was allowed: the first steps often lead downhill.
_PATIENCE, _QUIET_SHARE = 8, 0.3
# Against the clock, how long steps are taken between two looks, in times that the longest look took.
_STEPS_SHARE = 3.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: ``stopped`` is the signal that ended it early, 0 for none; ``improved`` whether anything better was found."""

    step: int
    stopped: int
    improved: bool
    measure: Measure
    before: Look
    after: Look


def finetune(options: Options, *, resume: bool = False, overwrite: bool = False, progress: Progress = quiet) -> Outcome:
    """Adapt weights and write ``options.output`` with its JSON; the base's file stays as it is.

    Args:
        options: the run.
        resume: go on from the checkpoint beside the output, if there is one.
        overwrite: replace an output that exists.
        progress: told of the stages: seconds or steps done, and how many there are.

    Raises:
        UsageError: an output or an unfinished run that is there already, or options that fit neither pairs nor weights.
        InputError: pairs that cannot be read.
        WeightsError: weights that are missing, damaged, or themselves an adapter.
    """
    begun = time.monotonic()
    checkpoint = options.folder / CHECKPOINT
    if checkpoint.exists() and not resume:
        raise UsageError(f"{options.folder} holds an unfinished run; go on with --resume, or delete it")
    if options.output.exists() and not overwrite and not checkpoint.exists():
        raise UsageError(f"{options.output} exists; choose another --output, or allow it with --overwrite")
    base = _read_base(options.weights)
    pairs = read_pairs(options.pairs)
    task = make_task(base, options.anatomy, options.what, pairs)
    compute = choose_compute(options.device, "auto")
    _make_folder(options)
    lesson, exam, judged_by = prepare(options, task, task.called(pairs), progress)
    told = _told(options, base)
    state = begin(task, compute.device)
    course = restore_course(state, checkpoint, told) if checkpoint.exists() else Course(state)
    if course.looks:
        logger.info("going on after step %d", state.step)
    with stop_signals() as stop:
        run = _Run(options, task, lesson, exam, course, compute, stop, progress, told, begun - course.seconds)
        ended = run.all()
    outcome = Outcome(state.step, 0, course.kept > 0, exam.measure, course.looks[0], course.looks[course.kept])
    if not ended:
        return replace(outcome, stopped=int(stop.number or signal.SIGTERM))
    facts = {**_facts(options, lesson, exam), "judged_by": judged_by, "ended": ended}
    write_result(options.output, task, course, lesson.pairs, exam, facts)
    shutil.rmtree(options.folder, ignore_errors=True)
    return outcome


def _make_folder(options: Options) -> None:
    """Beside the output: a folder that cannot be written is known before any work."""
    try:
        options.folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"{options.folder}: the folder cannot be made ({error.strerror}); choose another --output") from error


def _read_base(path: Path) -> WeightsFile:
    base = read_weights(path)
    if is_adapter(base.config):
        made_for = base.config["adapter"]["base"]["name"]
        raise WeightsError(f"{path}: adapted weights themselves, made for {made_for}; name {made_for} with --weights and adapt that")
    return base


def _told(options: Options, base: WeightsFile) -> str:
    """What the numbers of a run depend on, as a text to compare; when it ends is not part of it."""
    files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (options.pairs, options.val) if path is not None]
    fixed = [options.anatomy, options.what.value, options.look_every, options.seed, list(options.voxels), options.rate]
    return json.dumps([base.sha256, files, fixed])


def _facts(options: Options, lesson: Lesson, exam: Exam) -> dict[str, Any]:
    learned, listed = lesson.pairs, lesson.pairs.pairs[: lesson.listed]
    data = {"name": learned.data.name, "pairs": len(listed), "labelled": sum(map(learned.has_labels, listed))}
    data |= {"scans": len(learned.data.scans), "crossed": len(learned.pairs) - len(listed)}
    limit = {"minutes": options.minutes, "steps": options.steps, "look_every": options.look_every}
    own = {frozenset(pair) for pair in exam.chosen if exam.unseen.issuperset(pair)}
    held = {"name": exam.pairs.data.name, "pairs": len(own), "judged": len(exam.chosen)}
    return {"seed": options.seed, "data": data, "held_out": held, "asked": limit, "rate": lesson.config.optimiser.rate}


@dataclass(slots=True, eq=False)
class _Run:
    """The steps and looks of one process; ``begun`` is when it would have begun without an interruption."""

    options: Options
    task: Task
    lesson: Lesson
    exam: Exam
    course: Course
    compute: Compute
    stop: Stop
    progress: Progress
    told: str
    begun: float
    gallery: Gallery = field(default_factory=Gallery)
    longest_look: float = 0.0
    looked: float = 0.0

    def all(self) -> str:
        """Until the end; returns why it ended, nothing if a signal stopped it before."""
        state, course = self.course.state, self.course
        if not course.looks:
            self._look_before()
        while True:
            why = self._over()
            if not self.stop.number and state.tuned != state.step and (why or self._due()):
                self._look()
                why = why or self._over()
            if self.stop.number:
                self._save()
                return ""
            if why:
                return why
            learn(state, self.lesson, self.task, self.gallery, self.compute)
            self._tell()

    def _due(self) -> bool:
        """Whether the next look is due; against the clock looks take no more than their share of it."""
        rested = self.options.steps is not None or self._seconds() - self.looked >= _STEPS_SHARE * self.longest_look
        return rested and self.course.state.step % self.options.look_every == 0

    def _over(self) -> str:
        """Why no further step is to be taken."""
        course, options = self.course, self.options
        if options.steps is not None:
            spent, end = course.state.step / options.steps, "all steps taken"
        else:
            # The last look is part of the time.
            spent, end = (self._seconds() + self.longest_look) / (options.budget or 1), "the time is over"
        looks, quiet = len(course.looks) - 1, course.quiet
        # Looks come at even distances: of what was spent, these have quiet / looks.
        if quiet >= _PATIENCE and spent * quiet >= _QUIET_SHARE * looks:
            return f"nothing better in {quiet} looks"
        return end if spent >= 1 else ""

    def _seconds(self) -> float:
        return time.monotonic() - self.begun

    def _look_before(self) -> None:
        """What the base makes of the pairs held back: what is to be beaten."""
        begun = time.monotonic()
        self.course.add(self.exam.look(self.task.base_network(), self.task.reference, self._smoothness(), 0))
        self.longest_look, self.looked = time.monotonic() - begun, self._seconds()
        logger.info("before: %s", self._shown(self.course.looks[0]))
        self._save()

    def _look(self) -> None:
        course, begun = self.course, time.monotonic()
        average = {name: tensor.cpu() for name, tensor in course.state.average.items()}
        network = self.task.network(average)
        for place, trust in self.exam.trust(network, self.task.taught, self.gallery).items():
            for tensors in (network.state_dict(), course.state.average, course.state.network.state_dict()):
                tensors["segmenter.trust"][place] = trust
        look = self.exam.look(network, self.task.request, self._smoothness(), course.state.step)
        better = course.add(look)
        course.state.tuned = course.state.step
        self.longest_look, self.looked = max(self.longest_look, time.monotonic() - begun), self._seconds()
        logger.info("step %d: %s%s, %s", look.step, self._shown(look), ", the best so far" if better else "", self._left())
        self._save()

    def _smoothness(self) -> dict[Mode, float]:
        return {mode: own_smoothness(self.task.base.config, mode) for mode in Mode}

    def _shown(self, look: Look) -> str:
        name = "Dice" if self.exam.measure is Measure.DICE else "similarity"
        return f"{name} {look.quality:.4f}, SDlogJ {look.sdlogj:.3f}, folding {look.folding_percent:.3g} %"

    def _left(self) -> str:
        """An estimate of the time left."""
        seconds, step = self._seconds(), self.course.state.step
        whole = self.options.budget if self.options.steps is None else seconds * self.options.steps / max(1, step)
        return f"at most {max(0.0, (whole or 0) - seconds) / 60:.1f} min left"

    def _tell(self) -> None:
        if self.options.steps is not None:
            self.progress("finetune", self.course.state.step, self.options.steps)
        else:
            whole = round(self.options.budget or 0)
            self.progress("finetune", min(round(self._seconds()), whole), whole)

    def _save(self) -> None:
        self.course.seconds = self._seconds()
        save_course(self.course, self.options.folder / CHECKPOINT, self.told)
