"""Adapting weights to a user's pairs: learn, look at the pairs held back, stop when nothing more comes, keep the best or nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer.augmentation import Augmentation
from trainer.compute import Compute, choose_compute
from trainer.config import Losses, Optimiser, Passes, Segmenting, Source, TrainConfig
from trainer.finetune_data import Pairs, crossed, hold_out, read_pairs, with_partners
from trainer.finetune_file import Course, restore_course, save_course, write_result
from trainer.finetune_look import Exam, Look, Measure, make_exam
from trainer.finetune_options import Options
from trainer.finetune_recipe import part_of
from trainer.finetune_step import Lesson, learn
from trainer.finetune_task import Task, What, begin, make_task
from trainer.pool import Pool
from trainer.prealign import Key, prealign
from trainer.sampling import Gallery
from trainer.stopping import Stop, stop_signals
from unireg_cli.errors import UsageError, WeightsError
from unireg_cli.io.weights import WeightsFile, read_weights
from unireg_cli.io.weights_config import is_adapter, own_smoothness
from unireg_cli.spatial import Affine
from unireg_cli.types import Modality, Mode

logger = logging.getLogger("unireg")

Progress = Callable[[str, int, int], None]

CHECKPOINT = "checkpoint.pt"
# Looks without a better one before the end, which are to be this share of what was allowed: the first steps often lead downhill.
_PATIENCE, _QUIET_SHARE = 8, 0.3
# Against the clock, how long steps are taken between two looks, in times that the longest look took.
_STEPS_SHARE = 3.0
# In ten minutes on five pairs of a set that weights had not seen, a controller came to 0.696 on the pair held back with 2e-3, to 0.673
# with 5e-4.
_RATES = {What.CONTROLLER: 2e-3, What.ALL: 1e-4}
# Pairs that weights are judged by, at least where so many can be made, for few judge badly: of five pairs of abdominal CTs the one that was
# held back is one of which the affine fails, and no better maps could help it.
_JUDGES = 5
# Pairs that are learned from, where so many can be made of the scans that were listed.
_LEARNED = 28
# What the likeness of the images and the overlap of labels count in the loss. Training gives the images a fifth of what it gives labels,
# for it has many of these. What a few labelled scans say holds for these scans above all; that images are to become alike holds for
# everybody's. On ten pairs of abdominal CTs that were neither learned from nor held back, a controller gained 0.009 of Dice with
# training's weights (0.3 and 1.5; less after more steps) and 0.034 with these in 900 steps, 0.055 in 1700; 4 and 0.3 gained 0.027 in 900.
_LNCC, _OVERLAP = 4.0, 1.0
# How often scans are given another look: a few show few looks, and what is learned from them is to hold for other people's scans. CTs have
# no other: their numbers mean the same everywhere.
_LOOKS = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: ``stopped`` is the signal that ended it early, 0 for none; ``improved`` whether anything better was found."""

    step: int
    stopped: int
    improved: bool
    measure: Measure
    before: Look
    after: Look


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def finetune(options: Options, *, resume: bool = False, overwrite: bool = False, progress: Progress = _silent) -> Outcome:
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
    lesson, exam, judged_by = _prepare(options, task, task.called(pairs), progress)
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


def _prepare(options: Options, task: Task, pairs: Pairs, progress: Progress) -> tuple[Lesson, Exam, str]:
    """What is learned from and what is judged by, aligned; and the latter in words."""
    listed, held, unseen, words = _divided(options, task, pairs)
    learned = crossed(listed, held, _LEARNED)
    if len(held.pairs) < _JUDGES:
        held = held.both_ways()
    progress("align", 0, 2)
    # Each way by itself: where one fails, its inverse would as well. With inverses a run like the one of 0.055 above gained 0.038.
    affines = prealign(learned.data, list(learned.both_ways().pairs), options.folder / "learn")
    progress("align", 1, 2)
    theirs = prealign(held.data, list(held.pairs), options.folder / "held")
    progress("align", 2, 2)
    by_images = options.val is None and len(pairs.pairs) == 1
    exam = make_exam(held, theirs, task.own_labels(held), options.voxels[1], unseen, by_images=by_images)
    logger.info("judged by %s (%s)", words, "Dice" if exam.measure is Measure.DICE else "similarity")
    lesson = Lesson(
        learned, len(listed.pairs), _pool(options, learned, affines), task.own_labels(learned), _config(options, task, learned)
    )
    return lesson, exam, words


def _divided(options: Options, task: Task, pairs: Pairs) -> tuple[Pairs, Pairs, range, str]:
    """What is learned from, what is judged by, which scans of the latter were listed for it, and how it was divided in words."""
    if options.val is not None:
        held = task.called(read_pairs(options.val))
        words = f"{len(held.pairs)} pairs of {options.val.name}"
        return pairs, held, range(len(held.data.scans)), words
    learned, kept_back, shared = hold_out(pairs)
    if kept_back is None:
        words = "the one pair itself, which leaves nothing to hold back: the similarity of its images"
        return learned, pairs, range(len(pairs.data.scans)), words
    unseen = range(len(kept_back.data.scans))
    words = f"{len(kept_back.pairs)} of {len(pairs.pairs)} pairs, held back"
    if shared:
        return learned, kept_back, unseen, words + "; pairs that are learned from show some of their scans"
    held = with_partners(kept_back, learned, _JUDGES)
    words += ", and their scans with others" if len(held.pairs) > len(kept_back.pairs) else ""
    return learned, held, unseen, words


def _pool(options: Options, pairs: Pairs, affines: dict[Key, Affine]) -> Pool:
    source = Source(path=str(options.pairs), voxels=options.voxels, synthetic_intra=0.1)
    return Pool(source, pairs.data, pairs.data.subset([]), affines, {})


def _config(options: Options, task: Task, pairs: Pairs) -> TrainConfig:
    """The settings of the trainer, as far as adapting has them too."""
    rate = _RATES[options.what] if options.rate is None else options.rate
    views = part_of(task.base, "augmentation", Augmentation)
    looks = 0.0 if pairs.modality is Modality.CT else max(_LOOKS, views.appearance_probability)
    return TrainConfig(
        (Source(path=str(options.pairs)),),
        seed=options.seed,
        # A label that is adapted must not be left out by chance.
        most_structures=max(48, len(pairs.names)),
        points=200,
        network=task.network(task.tensors).settings,
        losses=replace(part_of(task.base, "losses", Losses), lncc=_LNCC, overlap=_OVERLAP),
        passes=part_of(task.base, "passes", Passes),
        segmenting=part_of(task.base, "segmenting", Segmenting),
        augmentation=replace(views, appearance_probability=looks),
        optimiser=Optimiser(rate=rate, weight_decay=0.0, warmup=20, schedule="constant", average=0.97),
    )


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
