"""Which pairs there are, in which chunks, under which names: the plan that the Snakefile turns into jobs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

TEMPLATE = "template"
# Linux takes 131,072 bytes in one word of a command; the quotes and the rest of the command need some.
LONGEST_TABLE = 100_000


@dataclass(frozen=True, slots=True)
class Person:
    """One row of the table; ``labels`` is empty where there are none."""

    name: str
    image: str
    labels: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """One registration; all its files begin with ``prefix``."""

    fixed: Person
    moving: Person
    prefix: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is to be registered: stage -> chunks of pairs, each for one process."""

    people: dict[str, Person]
    chunks: dict[str, list[list[Pair]]]
    targets: list[str]
    """People who get labels by fusion."""
    places: dict[tuple[str, str, str], int]
    """Stage, fixed and moving name -> the number of the chunk that holds the pair."""

    def images(self, stage: str, number: int) -> list[str]:
        """Every image of one chunk, once."""
        return sorted({person.image for pair in self.chunks[stage][number] for person in (pair.fixed, pair.moving)})

    def table(self, stage: str, number: int, before: str = "") -> str:
        """What ``unireg register --pairs`` reads for one chunk, with ``before`` before each path.

        Raises:
            ValueError: it is too long for the shell that writes it.
        """
        rows = [(pair.fixed.image, pair.moving.image, pair.prefix) for pair in self.chunks[stage][number]]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([("fixed", "moving", "output"), *([before + path for path in row] for row in rows)])
        size = len(text.getvalue().encode())
        if size > LONGEST_TABLE:
            raise ValueError(f"chunk {number} of {stage}: its table has {size} bytes of at most {LONGEST_TABLE}; make chunk smaller")
        return text.getvalue()

    def labelled(self, stage: str) -> list[Pair]:
        """Pairs whose moving labels can be warped."""
        return [pair for chunk in self.chunks[stage] for pair in chunk if pair.moving.labels]


def make_plan(config: Mapping[str, Any]) -> Plan:
    """From the workflow's config.

    Raises:
        ValueError: names that are not in the table, or a table that cannot be used.
    """
    people = read_people(Path(config["participants"]))
    template = Person(TEMPLATE, str(config["template"]))
    atlases = _known(config["atlases"], people) or [name for name, person in people.items() if person.labels]
    targets = _known(config["targets"], people) or [name for name in people if name not in atlases] or list(people)
    couple = permutations if config["both_directions"] else combinations
    couples = {
        "template": [(template, person) for person in people.values()],
        "pairs": list(couple(people.values(), 2)),
        # Nobody is an atlas of himself.
        "fusion": [(people[target], people[atlas]) for target in targets for atlas in atlases if atlas != target],
    }
    chunks, size, output = {}, int(config["chunk"]), config["output"]
    for stage in config["stages"]:
        pairs = [Pair(fixed, moving, f"{output}/{stage}/{moving.name}_to_{fixed.name}_") for fixed, moving in couples[stage]]
        chunks[stage] = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    places = {
        (stage, pair.fixed.name, pair.moving.name): number
        for stage, parts in chunks.items()
        for number, chunk in enumerate(parts)
        for pair in chunk
    }
    return Plan({**people, TEMPLATE: template}, chunks, targets, places)


def read_people(table: Path) -> dict[str, Person]:
    """Name -> person; paths in the table are relative to its folder, and empty cells stay empty."""
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    people = {}
    for row in rows:
        files = [str(table.parent / row[name]) if row.get(name) else "" for name in ("image", "labels")]
        people[row["subject"]] = Person(row["subject"], *files)
    if len(people) < len(rows) or TEMPLATE in people:
        raise ValueError(f"{table}: each subject needs a name of its own, and none may be called {TEMPLATE}")
    odd = [name for name in people if not re.fullmatch(r"[\w.-]+", name)]
    if odd:
        raise ValueError(f"{table}: names become parts of file names: only letters, digits, _ . and - in them, found {odd[0]!r}")
    return people


def _known(names: Sequence[str] | None, people: Mapping[str, Person]) -> list[str]:
    unknown = [name for name in names or () if name not in people]
    if unknown:
        raise ValueError(f"config names {', '.join(unknown)}, which the table of participants does not")
    return list(names or ())
