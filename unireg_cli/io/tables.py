"""The CSV tables of an evaluation on disk: written atomically, read back with numbers as numbers."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unireg_cli.errors import InputError
from unireg_cli.io.atomic import atomic_path

Row = dict[str, Any]

_WORDS = ("fixed", "moving", "persons", "status", "error", "stages", "run", "name")


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, atomically; None is an empty cell, numbers have the shortest digits that read back exactly."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow(["" if row.get(name) is None else row[name] for name in columns])


def read_table(path: Path, needed: Sequence[str]) -> list[Row]:
    """Rows of a table, numbers as float, empty cells as None.

    Raises:
        InputError: missing, unreadable, a column of ``needed`` that is not there, or a cell that should be a number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            header, lines = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable table of pairs ({error})") from None
    missing = [name for name in needed if name not in header]
    if missing:
        raise InputError(f"{path}: not a table of unireg evaluate, it has no column {', '.join(missing)}")
    return [{name: _cell(path, name, text) for name, text in line.items() if name is not None} for line in lines]


def _cell(path: Path, name: str, text: str | None) -> Any:
    if not text:
        return None
    if name in _WORDS:
        return text
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{path}: column {name} should hold numbers, found {text!r}") from None
