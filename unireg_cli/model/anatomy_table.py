"""The one table of anatomical names, ``anatomies.csv``, as it stands in the file.

The ``id`` of a row is its place in the condition vector and in the weights' embeddings. Rows are appended, never moved,
renamed or removed: weights that were trained yesterday must mean the same tomorrow.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files


class Flip(StrEnum):
    """What a structure is called in a left-right mirrored image."""

    SAME = "same"
    """As before: a mirrored liver is a liver, and a mirrored left ventricle is still the thick one."""
    SWAP = "swap"
    """As its partner on the other side."""
    NONE = "none"
    """Nothing in the vocabulary: images in which it is labelled are not to be mirrored."""


@dataclass(frozen=True, slots=True)
class Structure:
    """One askable structure; ``regions`` names its own region first, ``parents`` the groups and wholes it is part of."""

    id: int
    name: str
    regions: tuple[str, ...]
    parents: tuple[str, ...]
    flip: Flip
    synonyms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the body with a number of its own, for what was never trained by its own name."""

    id: int
    name: str
    parents: tuple[str, ...]
    synonyms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A name for several structures; it has no number."""

    name: str
    parents: tuple[str, ...]
    synonyms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnatomyTable:
    """All rows of the table, each kind in the order of the file."""

    structures: tuple[Structure, ...]
    regions: tuple[Region, ...]
    groups: tuple[Group, ...]


@cache
def read_table() -> AnatomyTable:
    """The table that comes with the package."""
    with files("unireg_cli.model").joinpath("anatomies.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    of_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in ("structure", "region", "group")}
    if sum(map(len, of_kind.values())) != len(rows):
        raise ValueError("anatomies.csv: the kind of a row is structure, region or group")
    return AnatomyTable(
        tuple(_structure(row) for row in of_kind["structure"]),
        tuple(Region(int(row["id"]), row["name"], _words(row["parents"]), _words(row["synonyms"])) for row in of_kind["region"]),
        tuple(Group(row["name"], _words(row["parents"]), _words(row["synonyms"])) for row in of_kind["group"]),
    )


def _structure(row: dict[str, str]) -> Structure:
    return Structure(
        int(row["id"]), row["name"], _words(row["regions"]), _words(row["parents"]), Flip(row["flip"]), _words(row["synonyms"])
    )


def _words(cell: str) -> tuple[str, ...]:
    return tuple(cell.split(";")) if cell else ()
