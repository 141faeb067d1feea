"""Rows on disk and in words: CSV files that grow, tables on a terminal, verdicts."""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unireg_cli.errors import InputError, UsageError
from unireg_cli.evaluation.statistics import Estimate

HERE = Path(__file__).resolve().parent
# Pairs of each validation list.
PAIRS = {"abdomen_ct": 6, "abdomen_mr": 6, "cardiac_mr": 10, "hippocampus_mr": 20, "brain_mr": 6}
SETS = tuple(PAIRS)
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out: ``holds`` is None where a part has not been measured. ``lines`` give the numbers."""

    claim: str
    holds: bool | None
    lines: tuple[str, ...]

    def __str__(self) -> str:
        word = {True: "HOLDS", False: "DOES NOT HOLD", None: "CANNOT BE JUDGED YET"}[self.holds]
        return "\n".join((f"{self.claim}: {word}", *(f"  {line}" for line in self.lines)))


def read_rows(path: Path) -> list[Row]:
    """All rows; none if there is no file. A last line that was cut short is left out."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if None not in row.values()]


def append_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows at the end, all at once; floats with six digits.

    Raises:
        InputError: the file has other columns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            found = next(csv.reader(file), [])
        if found != list(columns):
            raise InputError(f"{path}: expected the columns {','.join(columns)}, found {','.join(found)}; name another --results")
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        if new:
            writer.writeheader()
        writer.writerows({name: _short(value) for name, value in row.items()} for row in rows)


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Replace a file by these rows."""
    path.unlink(missing_ok=True)
    append_rows(path, columns, rows)


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def of_weights(rows: Sequence[Row], sha256: str, path: Path) -> list[Row]:
    """The rows, made sure to be of these weights.

    Raises:
        UsageError: they are of others.
    """
    others = {row["weights"] for row in rows} - {sha256}
    if others:
        raise UsageError(f"{path} holds results of other weights ({', '.join(sorted(others))}); remove it, or name another --results")
    return list(rows)


def person_of(set_name: str, scan: str) -> str:
    """Name of the person of a scan: frames of one patient are one person; persons of two sets are two."""
    return f"{set_name}/{scan.partition('_frame')[0]}"


def persons_of(row: Row) -> tuple[str, ...]:
    """The person or persons of a row with ``set``, ``fixed`` and ``moving``."""
    return tuple(dict.fromkeys(person_of(row["set"], row[side]) for side in ("fixed", "moving")))


def scale(rows: Sequence[Row], wanted: Sequence[str] = SETS) -> tuple[bool, str]:
    """Whether the rows cover the whole validation lists of ``wanted``, and how much they cover, in words."""
    found = {name: len({(row["fixed"], row["moving"]) for row in rows if row["set"] == name}) for name in wanted}
    whole = all(found[name] >= PAIRS[name] for name in wanted)
    parts = ", ".join(f"{name} {count} of {PAIRS[name]}" for name, count in found.items())
    return whole, f"measured pairs: {parts}" + ("" if whole else "; the claim is about all of them")


def overall(holds: bool, whole: bool) -> bool | None:
    """A claim that fails on a part fails; one that holds on a part is not shown yet."""
    return holds if whole or not holds else None


def mean(values: Sequence[float]) -> float:
    """NaN of nothing."""
    return sum(values) / len(values) if values else math.nan


def shown(estimate: Estimate, digits: int = 4) -> str:
    """``+0.0123 [0.0045, 0.0201]``."""
    if math.isnan(estimate.low):
        return f"{estimate.mean:+.{digits}f} [too few persons for an interval]"
    return f"{estimate.mean:+.{digits}f} [{estimate.low:+.{digits}f}, {estimate.high:+.{digits}f}]"


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table with columns as wide as their longest entry; numbers to the right."""
    texts = [[f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[k]) for row in [list(heads), *texts]) for k in range(len(heads))]
    for row in [list(heads), *texts]:
        first, *others = zip(row, widths, strict=True)
        print("  ".join((first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others))))
    print()


def common_arguments(description: str | None, name: str) -> argparse.ArgumentParser:
    """What every script takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results" / f"{name}.csv", help="rows of every pair")
    parser.add_argument("--plot", type=Path, help="picture (default: beside the rows)")
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data", help="folder of the data sets")
    parser.add_argument("--cache", type=Path, default=HERE / ".cache", help="folder of affines that were found before")
    parser.add_argument("--limit", type=int, help="look at so many pairs of each set only")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS, help="look at these sets only")
    parser.add_argument("--threads", type=int, default=2)
    return parser


def measuring_arguments(description: str | None, name: str) -> argparse.ArgumentParser:
    """What the scripts of claims 3 to 5 take."""
    parser = common_arguments(description, name)
    parser.add_argument("--measure", action="store_true", help="run --weights over the pairs; rows that are there are not made again")
    parser.add_argument("--weights", help="a .safetensors file (default: the shipped weights)")
    return parser


def told(verdict: Verdict | None, path: Path, how: str) -> int:
    """Say the verdict, or how the rows that it lacks are made; the exit code."""
    if verdict is None:
        return nothing_yet(path, how)
    print(verdict)
    return 0


def finish(verdict: Verdict | None, rows: Path, how: str, draw: Callable[[Path], None], picture: Path) -> int:
    """Draw the plot and say the verdict, or how the rows that it lacks are made; the exit code."""
    if verdict is not None:
        draw(picture)
        print(f"picture: {picture}")
    return told(verdict, rows, how)


def nothing_yet(path: Path, how: str) -> int:
    """Say that there are no rows; the exit code."""
    print(f"{path}: no rows yet; make them with {how}", file=sys.stderr)
    return 1
