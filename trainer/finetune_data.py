"""The pairs that weights are adapted to: a dataset.json in the Learn2Reg layout, labelled or not."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.datasets import NOT_ASKABLE, DataSet, Scan
from trainer.prealign import Key
from unireg_cli.errors import InputError, UsageError
from unireg_cli.io.images import read_image
from unireg_cli.registration.network_grid import body_box
from unireg_cli.registration.normalise import decide_modality, foreground, normalise
from unireg_cli.types import Modality, Mode

MOST_PAIRS = 50
"""More are a data set to be trained on."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Scans in memory and which of them are registered.

    ``pairs`` are (fixed, moving), positions in ``data.scans``; ``names`` says what label k (from 1) is called; ``labelled`` is whether
    a scan came with labels; ``region`` is the part of the body as the file names it; ``modality`` that of all scans, AUTO if they differ.
    """

    data: DataSet
    pairs: tuple[Key, ...]
    names: dict[int, str]
    labelled: tuple[bool, ...]
    region: str | None
    modality: Modality

    def has_labels(self, pair: Key) -> bool:
        """Whether both scans of a pair are labelled."""
        return self.labelled[pair[0]] and self.labelled[pair[1]]

    def called(self, ids: Mapping[int, int]) -> Pairs:
        """The same with the vocabulary's id of each label; a label without one is scored, never asked for."""
        structures = (NOT_ASKABLE, *(ids.get(k, NOT_ASKABLE) for k in self.names))
        return replace(self, data=replace(self.data, structures=structures))

    def labelled_scans(self, among: Collection[int] | None = None) -> DataSet:
        """The scans that came with labels, of all or of some positions."""
        return self.data.subset([k for k, labelled in enumerate(self.labelled) if labelled and (among is None or k in among)])

    def named(self) -> set[frozenset[str]]:
        """The names of both scans of every pair, whichever is fixed."""
        return {frozenset(self.data.scans[scan].name for scan in pair) for pair in self.pairs}

    def both_ways(self) -> Pairs:
        """The same pairs, each also with fixed and moving exchanged."""
        return replace(self, pairs=tuple(dict.fromkeys(pair for a, b in self.pairs for pair in ((a, b), (b, a)))))

    def part(self, pairs: Sequence[Key]) -> Pairs:
        """Only these pairs, and only the scans that they need."""
        keep = sorted({scan for pair in pairs for scan in pair})
        place = {old: new for new, old in enumerate(keep)}
        moved = tuple((place[fixed], place[moving]) for fixed, moving in pairs)
        return replace(self, data=self.data.subset(keep), pairs=moved, labelled=tuple(self.labelled[k] for k in keep))


@dataclass(frozen=True, slots=True)
class _Listed:
    """What the file says."""

    files: dict[str, str | None]
    """Image -> its labels, in the order of the file."""
    pairs: list[tuple[str, str]]
    names: dict[int, str]
    mode: Mode
    modality: Modality
    name: str
    region: str | None


def read_pairs(path: Path) -> Pairs:
    """Read the pairs: ``training_paired_images``, or where there are none every two of the scans listed under ``training``.

    No label is a structure of any vocabulary yet, see :meth:`Pairs.called`.

    Raises:
        InputError: a file that is missing, damaged, without any pair, or that lists an image twice with other labels.
        UsageError: more than 50 pairs.
    """
    listed = _listed(path)
    if not listed.pairs:
        raise InputError(f"{path}: no pair; list two scans under training, or pairs as training_paired_images")
    if len(listed.pairs) > MOST_PAIRS:
        raise UsageError(f"{path}: {len(listed.pairs)} pairs; finetune takes 1 to {MOST_PAIRS}: list fewer, or use unireg train")
    alone = [fixed for fixed, moving in listed.pairs if fixed == moving]
    if alone:
        raise InputError(f"{path}: {alone[0]} is paired with itself; name two images")
    used = dict.fromkeys(image for pair in listed.pairs for image in pair)
    order = {image: k for k, image in enumerate(used)}
    pairs = tuple((order[a], order[b]) for a, b in listed.pairs)
    persons = _persons(len(order), pairs if listed.mode is Mode.INTRA else ())
    values = {value: k for k, value in enumerate(sorted(set(listed.names) - {0}), 1)}
    labels = {image: listed.files.get(image) for image in order}
    read = [
        _read_scan(image, path.parent, labels[image], values, listed.modality, person)
        for image, person in zip(order, persons, strict=True)
    ]
    scans, kinds = tuple(scan for scan, _ in read), {kind for _, kind in read}
    names = {k: listed.names[value] for value, k in values.items()}
    data = DataSet(listed.name, listed.mode, scans, (NOT_ASKABLE,) * (len(names) + 1), ())
    kind = kinds.pop() if len(kinds) == 1 else Modality.AUTO
    return Pairs(data, pairs, names, tuple(label is not None for label in labels.values()), listed.region, kind)


def _listed(path: Path) -> _Listed:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        entries = [{"image": entry} if isinstance(entry, str) else entry for entry in content.get("training", [])]
        files = [(_plain(entry["image"]), entry.get("label")) for entry in entries]
        pairs = [_pair(entry) for entry in content.get("training_paired_images", [])]
        names = {int(value): str(name) for value, name in content.get("labels", {}).get("0", {}).items()}
        hounsfield = set(content.get("modality", {}).values()) == {"CT"} and "intensity" not in content
        mode = Mode(content.get("mode", "inter"))
        region = content.get("region")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; name the JSON of your pairs") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a list of pairs in the Learn2Reg layout ({type(error).__name__}: {error})") from None
    known: dict[str, str | None] = {}
    for image, label in files:
        if known.setdefault(image, label) != label:
            raise InputError(f"{path}: {image} is listed twice with other labels; list it once")
    if any(label is not None for label in known.values()) and not set(names) - {0}:
        raise InputError(f'{path}: label maps without names; say what they show, as "labels": {{"0": {{"1": "my_structure"}}}}')
    if not pairs and mode is Mode.INTRA:
        raise InputError(f"{path}: its mode is intra, but no pairs of one person are listed; list them as training_paired_images")
    pairs = list(dict.fromkeys(pairs or combinations(known, 2)))
    # A part of file names.
    name = re.sub(r"[^\w.+-]", "_", str(content.get("name", path.stem)))
    return _Listed(known, pairs, names, mode, Modality.CT if hounsfield else Modality.AUTO, name, region)


def _pair(entry: Mapping[str, str]) -> tuple[str, str]:
    fixed, moving = ("fixed", "moving") if "fixed" in entry else ("0", "1")
    return _plain(entry[fixed]), _plain(entry[moving])


def _plain(image: str) -> str:
    """One spelling for ./images/a.nii and images/a.nii."""
    return Path(image).as_posix()


def _persons(count: int, pairs: Sequence[Key]) -> list[int]:
    """Number of the person of each scan: those of a listed pair are one, any other is a person of its own."""
    person = list(range(count))
    for a, b in pairs:
        old, new = max(person[a], person[b]), min(person[a], person[b])
        person = [new if p == old else p for p in person]
    return person


def _read_scan(
    image: str, folder: Path, label: str | None, values: Mapping[int, int], asked: Modality, person: int
) -> tuple[Scan, Modality]:
    """One scan and its modality; ``values`` is label value -> position. Without labels all of it is background."""
    picture = read_image(folder / image)
    modality, _ = decide_modality(picture, asked)
    normal = normalise(picture, modality)
    labels = torch.zeros(normal.shape, dtype=torch.int16)
    if label is not None:
        drawn = read_image(folder / label)
        raw = drawn.voxels.astype(np.int64)
        if (raw != drawn.voxels).any():
            raise InputError(f"{folder / label}: not a label map; expected whole numbers, found others")
        if not drawn.grid.same_space(picture.grid):
            raise InputError(f"{folder / label}: the labels are not on the grid of {image}; resample them with unireg warp -n nearest")
        for value, position in values.items():
            labels[torch.from_numpy(raw == value)] = position
    return Scan(image, picture.grid, normal.half(), labels, body_box(foreground(normal, modality) > 0), person), modality


def with_partners(held: Pairs, learned: Pairs, count: int) -> Pairs:
    """The pairs held back, and if these are fewer than ``count`` also their scans with scans that are learned from, as fixed images.

    The scans held back keep their positions, the others follow. Of one person no other pairs can be made.
    """
    partners = [k for k, labelled in enumerate(learned.labelled) if labelled or not any(learned.labelled)]
    first, missing = len(held.data.scans), count - len(held.pairs)
    if held.data.mode is Mode.INTRA or missing <= 0:
        return held
    # In turn, so that each scan is met once before any is met again.
    keys = [(own, (own + shift) % len(partners)) for shift in range(len(partners)) for own in range(first)][:missing]
    used = list(dict.fromkeys(partner for _, partner in keys))
    added = tuple((own, first + used.index(partner)) for own, partner in keys)
    data = replace(held.data, scans=(*held.data.scans, *(learned.data.scans[partners[k]] for k in used)))
    return replace(held, data=data, pairs=held.pairs + added, labelled=(*held.labelled, *(learned.labelled[partners[k]] for k in used)))


def crossed(pairs: Pairs, held: Pairs, most: int) -> Pairs:
    """The pairs, and up to ``most`` in all also others of the same scans, each scan with the next ones; none of those that are ``held``.

    Of one person no others can be made.
    """
    if pairs.data.mode is Mode.INTRA:
        return pairs
    there = pairs.named() | held.named()
    count, names = len(pairs.data.scans), [scan.name for scan in pairs.data.scans]
    others = [(one, one + shift) for shift in range(1, count) for one in range(count - shift)]
    added = [(one, other) for one, other in others if frozenset((names[one], names[other])) not in there]
    return replace(pairs, pairs=pairs.pairs + tuple(added[: max(0, most - len(pairs.pairs))]))


def hold_out(pairs: Pairs) -> tuple[Pairs, Pairs | None, bool]:
    """Pairs to learn from, pairs held back to judge by, and whether these share scans with those.

    The last scans are held back, so many that their pairs are a fifth, and nothing is learned from them; where that would leave less
    than a quarter of the pairs to learn from, only pairs are held back. A single pair leaves nothing to hold back.
    """
    count, scans = len(pairs.pairs), len(pairs.data.scans)
    if count == 1:
        return pairs, None, False
    for first in range(scans - 2, 0, -1):
        held = [pair for pair in pairs.pairs if min(pair) >= first]
        rest = [pair for pair in pairs.pairs if max(pair) < first]
        if 4 * len(rest) < count:
            break
        if len(held) >= max(1, round((len(held) + len(rest)) / 5)):
            return pairs.part(rest), pairs.part(held), False
    most = max(1, round(count / 5))
    return pairs.part(pairs.pairs[:-most]), pairs.part(pairs.pairs[-most:]), True
