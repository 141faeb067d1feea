"""Rows of the comparison on disk: one CSV a data set, a row a start, pair and tool."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

Row = dict[str, str]
KEY = ("start", "tool", "fixed", "moving")
SCORES = ("dice", "labels", "hd95", "lost", "fold_pct", "sdlogj", "fold_pct_in", "sdlogj_in")
COSTS = ("registration_seconds", "process_seconds", "peak_rss_mb")
COLUMNS = ("set", *KEY, "persons", "status", "reason", *SCORES, *COSTS, "threads", "version", "note", "date")
# done: scored. failed: tried, with its reason. absent: a tool that has no such start. slow: left out by --pairs.
STATUSES = ("done", "failed", "absent")


class RowsDamaged(Exception):
    """A file of rows that cannot be one of ours; says what is wrong."""


def read_rows(path: Path) -> list[Row]:
    """All rows; none if there is no file. A last line that was cut short is left out.

    Raises:
        RowsDamaged: other columns.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise RowsDamaged(f"{path}: expected the columns {','.join(COLUMNS)}, found {','.join(reader.fieldnames or ())}")
        return [row for row in reader if None not in row.values()]


def key_of(row: Mapping[str, object]) -> tuple[str, ...]:
    """What tells rows of a set apart."""
    return tuple(str(row[name]) for name in KEY)


def latest(rows: Sequence[Row]) -> list[Row]:
    """The last row of each key, in the order of the first: a pair that was tried again counts once."""
    return list({key_of(row): row for row in rows}.values())


def append_row(path: Path, row: Mapping[str, object]) -> None:
    """Write one row at the end; floats with six digits, what is not known or not finite empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow({name: _short(row.get(name)) for name in COLUMNS})


def _short(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return "" if value is None else value
