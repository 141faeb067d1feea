"""The Learn2Reg challenge's description of a data set: which images, labels and landmarks belong to which pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unireg_cli.errors import InputError, UsageError
from unireg_cli.types import Mode

_POINT_KEYS = ("keypoints", "landmarks")


@dataclass(frozen=True, slots=True)
class ListedScan:
    """One image and what is known about it; ``person`` is shared by scans that some list pairs as one person's."""

    image: Path
    label: Path | None
    points: Path | None
    person: str


@dataclass(frozen=True, slots=True)
class ListedPair:
    """Two scans to register; ``names`` are the images as the file writes them."""

    fixed: ListedScan
    moving: ListedScan
    names: tuple[str, str]

    @property
    def persons(self) -> tuple[str, ...]:
        """One person, or two."""
        return tuple(dict.fromkeys((self.fixed.person, self.moving.person)))


@dataclass(frozen=True, slots=True)
class PairList:
    """One list of pairs of a dataset.json. ``mode`` is None where the file says nothing."""

    path: Path
    name: str
    split: str
    mode: Mode | None
    labels: dict[int, str]
    pairs: tuple[ListedPair, ...]


def read_pair_list(path: Path, split: str = "registration_val") -> PairList:
    """The pairs that ``split`` lists, with labels and landmarks.

    A label map is the one listed beside its image, else the file of the same name in ``labels*/`` beside ``images*/``, if there is one.

    Raises:
        InputError: a missing or damaged file, or no pairs in the list.
        UsageError: no list of that name.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        lists = sorted(key for key, value in content.items() if _is_pairs(value))
        if split not in lists:
            raise UsageError(f"{path}: no list of pairs called {split!r}; there are: {', '.join(lists) or 'none'}")
        mode = content.get("mode")
        names = {int(value): str(name) for value, name in (content.get("labels") or {}).get("0", {}).items()}
        scans = _Scans(path.parent, content)
        pairs = tuple(scans.pair(entry) for entry in content[split])
        listed = None if mode is None else Mode(mode)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a data set in the Learn2Reg layout ({type(error).__name__}: {error})") from None
    return PairList(path, str(content.get("name", path.resolve().parent.name)), split, listed, names, pairs)


def _is_pairs(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, dict) and _ends(entry) is not None for entry in value)


def _ends(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """Fixed and moving image of an entry, under either pair of keys."""
    for first, second in (("fixed", "moving"), ("0", "1")):
        if first in entry and second in entry:
            return str(entry[first]), str(entry[second])
    return None


class _Scans:
    """All scans of a file by image."""

    def __init__(self, folder: Path, content: Mapping[str, Any]) -> None:
        self.folder = folder
        lists = [value for value in content.values() if isinstance(value, list)]
        self.entries = {_key(entry["image"]): entry for value in lists for entry in value if isinstance(entry, dict) and "image" in entry}
        same = [(name, value) for name, value in content.items() if _is_pairs(value)]
        one_person = content.get("mode") == Mode.INTRA
        linked = [
            _ends(entry) for name, value in same if one_person or name in ("training_paired_images", "scan_rescan_val") for entry in value
        ]
        self.person = _persons(pair for pair in linked if pair is not None)

    def pair(self, entry: Mapping[str, Any]) -> ListedPair:
        ends = _ends(entry)
        if ends is None:
            raise ValueError(f"an entry without fixed and moving: {dict(entry)}")
        fixed, moving = (self._scan(name, entry, side) for name, side in zip(ends, ("fixed", "moving"), strict=True))
        return ListedPair(fixed, moving, ends)

    def _scan(self, image: str, pair: Mapping[str, Any], side: str) -> ListedScan:
        own = self.entries.get(_key(image), {})
        label = pair.get(f"{side}_label") or own.get("label")
        points = next((pair[f"{side}_{key}"] for key in _POINT_KEYS if f"{side}_{key}" in pair), None)
        points = points or next((own[key] for key in _POINT_KEYS if key in own), None)
        person = str(own["person"]) if "person" in own else self.person.get(_key(image), _key(image))
        return ListedScan(
            self.folder / image,
            self.folder / label if label else self._beside(image, "labels"),
            self.folder / points if points else self._beside(image, "keypoints", "landmarks"),
            person,
        )

    def _beside(self, image: str, *kinds: str) -> Path | None:
        path = Path(image)
        for kind in kinds:
            folder = self.folder / path.parent.parent / path.parent.name.replace("images", kind)
            name = path.name if kind == "labels" else path.name.removesuffix(".gz").removesuffix(".nii") + ".csv"
            if path.parent.name.startswith("images") and (folder / name).is_file():
                return folder / name
        return None


def _key(image: str) -> str:
    return Path(image).as_posix()


def _persons(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Image -> name of its person: images that are linked, also over several pairs, share one."""
    person: dict[str, str] = {}
    for first, second in ((_key(a), _key(b)) for a, b in pairs):
        new, old = person.setdefault(first, first), person.setdefault(second, second)
        person |= {image: new for image, known in person.items() if known == old}
    return person
