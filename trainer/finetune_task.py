"""What is adapted, to what, and from which weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from trainer.augmentation import uniform
from trainer.config import Passes
from trainer.datasets import NOT_ASKABLE
from trainer.finetune_data import Pairs
from trainer.loop import State
from trainer.sampling import Example
from trainer.step import Request
from unireg_cli.errors import InputError, UsageError
from unireg_cli.io.weights import WeightsFile
from unireg_cli.model.adapter import TABLES, adaptable, grown, named, rows_asked, scaling, with_segmented
from unireg_cli.model.added import Added, added_of, extended, require_new_name, vocabulary_of
from unireg_cli.model.anatomy import ALL, AnatomyRequest, Vocabulary
from unireg_cli.model.condition import Condition
from unireg_cli.model.names import key_of
from unireg_cli.model.network import Network, build_network
from unireg_cli.registration.prediction import as_ask

logger = logging.getLogger("unireg")

# How much faster rows of tables, scales and shifts learn, and with all weights what only the condition passes through: they are few, and
# their gradient comes through a narrow door.
_QUICKER = 4.0
# And all of the segmenter, where it is taught: eight abdominal CTs taught it at 1e-3, ten times the network's rate, in three minutes.
_SEGMENTER_QUICKER = 10.0


class What(StrEnum):
    """How much of the network is adapted: what only the condition passes through, or all of it."""

    CONTROLLER = "controller"
    ALL = "all"


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """``word`` is the anatomy as ``known`` spells it, ``added`` its entry if it is new; ``tensors`` are those that are begun with.

    ``reference`` is what the base is asked for where the adapted weights are asked for ``word``: the same, or all if it has no such name.
    ``segmented`` are the ids of the segmenter's structures, and ``taught`` those of them that are learned from the labels; nothing where
    there is no segmenter or no label, and for a controller.
    """

    what: What
    word: str
    base: WeightsFile
    added: Added | None
    known: Vocabulary
    reference: AnatomyRequest
    tensors: Mapping[str, Tensor]
    segmented: tuple[int, ...] = ()
    taught: tuple[int, ...] = ()

    @property
    def request(self) -> AnatomyRequest:
        """What the adapted weights are asked for."""
        return self.known.resolve([self.word])

    @property
    def rows(self) -> dict[str, list[int]]:
        """Rows of the network's tables that this request reads."""
        return rows_asked(self.request, self.known)

    @property
    def sizes(self) -> dict[str, Any]:
        """The base's network settings with the lists that have become longer."""
        return {**self.base.config["network"], "vocabulary": self.known.size, "segmented": list(self.segmented)}

    def own_labels(self, pairs: Pairs) -> frozenset[int]:
        """Labels that are the anatomy: those in it; of a new one the label of its name, else all of them."""
        if self.added is not None:
            return frozenset(_labels_of(self.added.name, pairs) or pairs.names)
        structures = self.request.structures
        everything = self.request.everything
        return frozenset(k for k, name in pairs.names.items() if everything or self.known.structure_id(name) in structures)

    def called(self, pairs: Pairs) -> Pairs:
        """The pairs with the ids of their labels."""
        ids = {k: id for k, name in pairs.names.items() if (id := self.known.structure_id(name)) is not None}
        if self.added is not None and self.added.sought:
            ids |= dict.fromkeys(self.own_labels(pairs), self.known.size - 1)
        return pairs.called(ids)

    def draw_request(self, example: Example, labels: frozenset[int], again: Passes, generator: torch.Generator) -> Request:
        """A condition for one example: always this anatomy; ``labels`` are its own."""
        smoothness = round(uniform(generator) * 20) / 20 if uniform(generator) < 0.5 else 0.5
        favoured = torch.tensor([int(k) in labels for k in example.fixed.structures], dtype=torch.bool)
        passes = 1 + (bool(example.before) and uniform(generator) < again.second)
        return Request(as_ask(Condition(self.request, example.mode, smoothness), self.known), favoured, smoothness, passes)

    def network(self, tensors: Mapping[str, Tensor]) -> Network:
        """The adapted network with these tensors, in inference mode, on the CPU."""
        return named(build_network(self.sizes, tensors, str(self.base.path)), self.known)

    def base_network(self) -> Network:
        """The network as it was."""
        known = vocabulary_of(self.base.config, self.base.path)
        return named(build_network(self.base.config["network"], self.base.tensors, str(self.base.path)), known)


def make_task(base: WeightsFile, asked: str | None, what: What, pairs: Pairs) -> Task:
    """Find out what is meant by the name that was asked for; none means what is asked for by default, all.

    Raises:
        UsageError: several names, a name that cannot be one, or a known one of which the labels show nothing.
        InputError: the data set's region is none.
        WeightsError: weights made with another table of anatomies.
    """
    task = _named(base, asked, what, pairs)
    before = segmented_by(base)
    # What a controller may move of a segmenter, rows, scales and shifts, teaches it too little: of abdominal CTs that it had not seen, its
    # maps took 0.02 of Dice with them on other people's scans; those of a segmenter that learned as a whole gave 0.03.
    if what is What.CONTROLLER or not before or not any(pairs.labelled):
        return replace(task, segmented=before)
    own = task.own_labels(pairs)
    ids = [id for k, id in enumerate(task.called(pairs).data.structures) if k in own and id != NOT_ASKABLE]
    segmented = before + tuple(id for id in dict.fromkeys(ids) if id not in before)
    tensors = with_segmented(task.tensors, len(segmented))
    return replace(task, tensors=tensors, segmented=segmented, taught=tuple(sorted(set(ids))))


def segmented_by(base: WeightsFile) -> tuple[int, ...]:
    """Ids of the structures that the segmenter of weights tells apart; none without one."""
    return tuple(base.config["network"].get("segmented", ()))


def _named(base: WeightsFile, asked: str | None, what: What, pairs: Pairs) -> Task:
    known = vocabulary_of(base.config, base.path)
    word = ALL if asked is None else asked.strip()
    if "," in word:
        raise UsageError(f"--anatomy {word}: one name at a time; a group or a region of the table, or a name of your own")
    if not known.has(word):
        return _new_anatomy(base, word, what, pairs, known)
    request = known.resolve([word])
    task = Task(what, request.words[0], base, None, known, request, base.tensors)
    if any(pairs.labelled) and not task.own_labels(pairs):
        labels = ", ".join(pairs.names.values())
        raise UsageError(f"--anatomy {word}: none of the labels is part of it ({labels}); name one of them, or leave --anatomy out")
    return task


def _new_anatomy(base: WeightsFile, word: str, what: What, pairs: Pairs, known: Vocabulary) -> Task:
    require_new_name(word, known)
    near = known.near(word)
    if near:
        logger.warning("--anatomy %s: a new name; if you meant %s, stop and say so", word, " or ".join(near))
    region = _region(pairs.region, known)
    # One label is one structure; several, or none, are what an image shows as a whole.
    sought = any(pairs.labelled) and (bool(_labels_of(word, pairs)) or len(pairs.names) == 1)
    added = Added(word, region, sought)
    place = next(row.id for row in known.table.regions if row.name == region)
    names = extended(vocabulary_of(None), (*added_of(base.config), added), base.path)
    return Task(what, word, base, added, names, known.everything(), grown(base.tensors, place))


def _labels_of(name: str, pairs: Pairs) -> list[int]:
    return [k for k, label in pairs.names.items() if key_of(label) == key_of(name)]


def _region(asked: str | None, known: Vocabulary) -> str:
    """The table's name of a data set's region."""
    if asked is None:
        logger.info('the data set names no "region": the new anatomy begins as one of the whole body')
        return ALL
    for row in known.table.regions:
        if key_of(asked) in map(key_of, (row.name, *row.synonyms)):
            return row.name
    raise InputError(f'the data set\'s "region" {asked!r} is none; choose {", ".join(row.name for row in known.table.regions)}')


def begin(task: Task, device: torch.device) -> State:
    """The state before the first step: of the network only what is adapted takes gradients, of its tables only the rows asked for."""
    network = task.network(task.tensors).to(device)
    groups: dict[float, list[Parameter]] = {}
    for name, parameter in network.named_parameters():
        conditional, table = adaptable(name), name in TABLES
        if name.startswith("segmenter.") and not task.taught:
            continue
        if task.what is What.CONTROLLER and not conditional and not table:
            continue
        parameter.requires_grad_(True)
        if task.what is What.CONTROLLER and table:
            _only_rows(parameter, task.rows[name])
        quick = table or scaling(name) or (conditional and task.what is What.ALL)
        factor = _SEGMENTER_QUICKER if name.startswith("segmenter.") else _QUICKER if quick else 1.0
        groups.setdefault(factor, []).append(parameter)
    # Without decay: a row without a gradient stays as it is, to the bit.
    optimiser = torch.optim.AdamW(
        [{"params": own, "factor": factor} for factor, own in sorted(groups.items())], lr=0.0, weight_decay=0.0, fused=True
    )
    average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    return State(network, average, optimiser, origin={"name": task.base.name, "sha256": task.base.sha256})


def _only_rows(parameter: Parameter, rows: list[int]) -> None:
    mask = torch.zeros(len(parameter), *(1 for _ in parameter.shape[1:]), device=parameter.device)
    mask[rows] = 1
    parameter.register_hook(lambda gradient: gradient * mask)  # type: ignore[no-untyped-call]
