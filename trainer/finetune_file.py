"""What adapting writes: a checkpoint on its way, and at the end the weights with how they came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.datasets import NOT_ASKABLE
from trainer.finetune_data import Pairs
from trainer.finetune_look import Exam, Look
from trainer.finetune_task import Task, What, segmented_by
from trainer.loop import State
from unireg_cli.errors import InputError, UsageError
from unireg_cli.io.atomic import atomic_path
from unireg_cli.io.provenance import plain, versions
from unireg_cli.io.weights import write_weights
from unireg_cli.model.adapter import as_everything, grown, overlay
from unireg_cli.model.added import added_of, extended, vocabulary_of

_COUNTS = ("step", "tuned", "skipped", "skipped_in_row")


@dataclass(slots=True, eq=False)
class Course:
    """How far adapting has come: ``looks`` from before the first step on, ``best`` the tensors of the one that is kept, if any beats it.

    ``seconds`` counts all processes that have worked on it.
    """

    state: State
    looks: list[Look] = field(default_factory=list)
    kept: int = 0
    """Position of the look that is kept; 0 is that of before."""
    best: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def quiet(self) -> int:
        """Looks since the best of those after the first step, whether or not it beats what there was before.

        Adapting often begins rougher than the base and comes round: as long as it goes on rising it is not over.
        """
        scores = [look.score for look in self.looks[1:]]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0

    def add(self, look: Look) -> bool:
        """Note a look; True if it is the best so far, and its tensors are kept."""
        self.looks.append(look)
        if len(self.looks) == 1 or not look.beats(self.looks[self.kept], self.looks[0]):
            return False
        self.kept = len(self.looks) - 1
        self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.state.average.items()}
        return True


def save_course(course: Course, path: Path, told: str) -> None:
    """Everything that is needed to go on as if nothing had happened; ``told`` says what was asked for. Atomic."""
    state = course.state
    content = {
        "network": state.network.state_dict(),
        "average": state.average,
        "optimiser": state.optimiser.state_dict(),
        "best": course.best,
        "looks": [asdict(look) for look in course.looks],
        "kept": course.kept,
        "seconds": course.seconds,
        "told": told,
        **{name: getattr(state, name) for name in _COUNTS},
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def restore_course(state: State, path: Path, told: str) -> Course:
    """Bring a fresh state to where ``path`` was written.

    Raises:
        InputError: a file that is damaged or foreign.
        UsageError: it was begun with other data, weights or options.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["told"] != told:
            raise UsageError(f"{path}: begun with other pairs, weights or options; give the same, or delete {path.parent} and begin anew")
        state.network.load_state_dict(content["network"])
        for name, tensor in state.average.items():
            tensor.copy_(content["average"][name])
        state.optimiser.load_state_dict(content["optimiser"])
        for name in _COUNTS:
            setattr(state, name, int(content[name]))
        looks = [Look(**look) for look in content["looks"]]
        return Course(state, looks, int(content["kept"]), dict(content["best"]), float(content["seconds"]))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, EOFError, UnpicklingError) as error:
        words = (str(error).splitlines() or [""])[0]
        raise InputError(f"{path}: not a checkpoint of this run ({type(error).__name__}: {words}); delete it and begin anew") from None


def write_result(path: Path, task: Task, course: Course, learned: Pairs, exam: Exam, facts: Mapping[str, Any]) -> str:
    """Write the weights that are kept; returns their SHA-256.

    Where nothing was better than before, the file changes nothing: a known name is answered as the base does, a new one as ``all``.
    """
    improved, task = course.kept > 0, task if course.kept else unchanged(task)
    tensors = course.best if improved else dict(task.tensors)
    before, after = course.looks[0], course.looks[course.kept]
    known = vocabulary_of(task.base.config)
    config = {key: task.base.config[key] for key in ("smoothness", "licence")}
    config |= {
        "name": path.stem,
        "network": task.sizes,
        "trained": _trained(task, learned) if improved else task.base.config["trained"],
        "step": after.step,
        "seed": facts["seed"],
        "finetune": {
            "what": task.what.value,
            "anatomy": task.word,
            "base": {"name": task.base.name, "sha256": task.base.sha256, "step": task.base.config["step"]},
            "improved": improved,
            "measure": exam.measure.value,
            "before": plain(before),
            "after": plain(after),
            "looks": plain(course.looks),
            "steps": course.state.step,
            "seconds": round(course.seconds, 1),
            **facts,
        },
        "versions": versions(),
    }
    added = [*added_of(task.base.config), *([task.added] if task.added else [])]
    if added:
        config["added"] = [asdict(one) for one in added]
    assert task.known.size - known.size == bool(task.added)  # one name at a time
    if task.what is What.ALL:
        return write_weights(path, tensors, config)
    rows = task.rows
    config["adapter"] = {"base": {"name": task.base.name, "sha256": task.base.sha256}, "anatomy": task.word, "rows": rows}
    return write_weights(path, overlay(task.tensors, tensors, rows), config)


def unchanged(task: Task) -> Task:
    """The task as it is where nothing better was found: a new name says to the network what all says."""
    plain = replace(task, segmented=segmented_by(task.base), taught=())
    if task.added is None:
        return replace(plain, tensors=task.base.tensors)
    whole = replace(task.added, sought=False)
    known = extended(vocabulary_of(None), (*added_of(task.base.config), whole), task.base.path)
    place = next(row.id for row in known.table.regions if row.name == whole.region)
    tensors = as_everything(grown(task.base.tensors, place), known.size - 1, place, next(iter(known.everything().regions)))
    return replace(plain, added=whole, known=known, tensors=tensors)


def _trained(task: Task, learned: Pairs) -> dict[str, Sequence[str]]:
    """What the base was trained on and, where it was adapted for them by their own names, the structures of which labels were seen."""
    before, table = task.base.config["trained"], vocabulary_of(task.base.config)
    own = task.own_labels(learned)
    shown = {k for scan in learned.data.scans for k in np.unique(scan.labels.numpy()).tolist()}
    ids = {id for k, id in enumerate(learned.data.structures) if k in own & shown and id != NOT_ASKABLE and id < table.size}
    if task.what is What.CONTROLLER:
        # Asked for by any other word the base answers, which has not seen them.
        ids &= {table.structure_id(task.word)}
    return {"real": sorted({*before["real"], *map(table.name_of, ids)}), "synthetic": before["synthetic"]}
