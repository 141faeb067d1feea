"""Labelled data sets in the Learn2Reg layout: scans in memory, persons, pairs and the tune split."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unireg_cli.errors import InputError
from unireg_cli.io.images import read_image
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.labels import map_labels
from unireg_cli.registration.network_grid import Box, body_box
from unireg_cli.registration.normalise import decide_modality, foreground, normalise
from unireg_cli.spatial import Grid
from unireg_cli.types import Modality, Mode

NOT_ASKABLE = -1
"""Stands for a structure that has a label but no name in the vocabulary: scored, never asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One image with its labels, ready for training.

    ``values`` (D, H, W) float16 normalised, or None for a label map without an image; ``labels`` (D, H, W) uint8 or int16, index
    into the data set's ``structures``; both on ``grid``. ``body`` (2, 3): first and last index x, y, z of what is not air.
    """

    name: str
    grid: Grid
    values: Tensor | None
    labels: Tensor
    body: Box
    person: int
    kind: str = ""
    """Scans of different kinds show different parts of the body and are never a pair."""


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """Scans of one kind. ``structures[k]`` is the vocabulary id of label k (0 is the background), NOT_ASKABLE for none."""

    name: str
    mode: Mode
    scans: tuple[Scan, ...]
    structures: tuple[int, ...]
    paired: tuple[tuple[int, int], ...]
    """Pairs of one person, as positions in ``scans``: the data set's own list."""

    @property
    def label_count(self) -> int:
        """More than the largest label of any scan, those without a name included."""
        return max(len(self.structures), 1 + max(int(scan.labels.max()) for scan in self.scans))

    @property
    def painted(self) -> bool:
        """Whether there are label maps only, to be painted."""
        return all(scan.values is None for scan in self.scans)

    @property
    def askable(self) -> list[int]:
        """Labels that can be asked for."""
        return [k for k, id in enumerate(self.structures) if k and id != NOT_ASKABLE]

    def subset(self, keep: Sequence[int]) -> DataSet:
        """The same data set with some of its scans only; pairs that lose a scan are dropped."""
        place = {old: new for new, old in enumerate(keep)}
        paired = tuple((place[a], place[b]) for a, b in self.paired if a in place and b in place)
        return DataSet(self.name, self.mode, tuple(self.scans[k] for k in keep), self.structures, paired)


def read_dataset(path: Path, *, unused: Sequence[str] = (), limit: int | None = None) -> DataSet:
    """The ``training`` part of a dataset.json.

    Args:
        path: the dataset.json.
        unused: names of labels that are not structures of the vocabulary; they are scored but cannot be asked for.
        limit: read only so many scans (for smoke runs).

    Raises:
        InputError: a missing or damaged file, labels that name no structure, label maps with other than whole numbers from 0 on, images
            for some of the label maps only, images and labels on different grids.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        listed = content["training"][:limit]
        names = {int(value): name for value, name in content["labels"]["0"].items()}
        files = [(entry.get("image"), entry["label"]) for entry in listed]
        pairs = [(str(Path(pair["0"])), str(Path(pair["1"]))) for pair in content.get("training_paired_images", [])]
        hounsfield = "CT" in content.get("modality", {}).values() and "intensity" not in content
        mode = Mode(content.get("mode", "inter"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a data set in the Learn2Reg layout ({type(error).__name__}: {error})") from None
    known = map_labels(names, vocabulary(), unused=unused, where=str(path))
    if len({image is None for image, _ in files}) > 1:
        raise InputError(f"{path}: some entries of training have an image and some have none; make two data sets of them")
    order = {str(Path(image or label)): k for k, (image, label) in enumerate(files)}
    paired = tuple((order[a], order[b]) for a, b in pairs if a in order and b in order)
    persons = persons_of_scans(len(listed), paired)
    numbers, structures = _compact(names, known)
    # "intensity" says in words why the numbers of a CT are not Hounsfield units.
    modality = Modality.CT if hounsfield else Modality.AUTO
    called = _scan_names([image or label for image, label in files])
    scans = tuple(
        _read_scan(name, path.parent / image if image else None, path.parent / label, numbers, modality, person)
        for name, (image, label), person in zip(called, files, persons, strict=True)
    )
    return DataSet(content.get("name", path.parent.name), mode, scans, structures, paired)


def _scan_names(files: Sequence[str]) -> list[str]:
    """A name for each scan: its file's, or all of its path where two files are called alike."""
    short = [Path(file).name for file in files]
    return short if len(set(short)) == len(short) else [str(Path(file)) for file in files]


def _compact(names: dict[int, str], known: dict[int, int]) -> tuple[dict[int, int], tuple[int, ...]]:
    """Label value of the files -> position in the list of structures; labels of one structure share a position."""
    structures, values = [NOT_ASKABLE], {}
    for value in sorted(set(names) - {0}):
        id = known.get(value, NOT_ASKABLE)
        if id == NOT_ASKABLE or id not in structures:
            values[value] = len(structures)
            structures.append(id)
        else:
            values[value] = structures.index(id)
    return values, tuple(structures)


def _read_scan(name: str, image: Path | None, label: Path, numbers: dict[int, int], asked: Modality, person: int) -> Scan:
    """One scan; ``numbers`` (label value -> position) grows by the nameless values of label maps that are to be painted."""
    labels = read_image(label)
    raw = labels.voxels.astype(np.int64)
    if (raw != labels.voxels).any() or raw.min() < 0:
        found = f"{labels.voxels.min():g} to {labels.voxels.max():g}"
        raise InputError(f"{label}: not a label map; expected whole numbers from 0 on, found {found}")
    if image is None:
        # They are tissue to be painted, not to be matched: numbers of their own above the named ones, the same in all scans.
        for value in sorted(set(np.unique(raw).tolist()) - {0, *numbers}):
            numbers[value] = 1 + max(numbers.values(), default=0)
    table = np.zeros(max(int(raw.max()), *numbers, 0) + 1, np.int16)
    for value, position in numbers.items():
        table[value] = position
    compact = torch.from_numpy(table[raw])
    if int(compact.max()) < 256:
        compact = compact.to(torch.uint8)
    if image is None:
        return Scan(name, labels.grid, None, compact, body_box(compact > 0, share=0.0), person)
    picture = read_image(image)
    if not picture.grid.same_space(labels.grid):
        raise InputError(f"{label}: the labels are not on the grid of {image.name}; resample them with unireg warp -n nearest")
    modality, _ = decide_modality(picture, asked)
    normal = normalise(picture, modality)
    return Scan(name, picture.grid, normal.half(), compact, body_box(foreground(normal, modality) > 0), person)


def persons_of_scans(count: int, paired: Sequence[tuple[int, int]]) -> list[int]:
    """Number of the person of each scan: scans listed as a pair are one person, any other scan is a person of its own."""
    person = list(range(count))
    for a, b in paired:
        old, new = max(person[a], person[b]), min(person[a], person[b])
        person = [new if p == old else p for p in person]
    return person


def held_persons(persons: Sequence[Hashable]) -> set[Hashable]:
    """Who, of the person of every scan, is kept for choosing."""
    different = list(dict.fromkeys(persons))
    return set(different[-max(2, round(len(different) / 10)) :])


def split(data: DataSet) -> tuple[DataSet, DataSet]:
    """Training and tune part: the last tenth of the persons, at least two of them, is for choosing and never for learning."""
    held = held_persons([scan.person for scan in data.scans])
    learn = [k for k, scan in enumerate(data.scans) if scan.person not in held]
    tune = [k for k, scan in enumerate(data.scans) if scan.person in held]
    return data.subset(learn), data.subset(tune)
