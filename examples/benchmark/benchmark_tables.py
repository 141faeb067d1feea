"""Tables, pictures and the README's block of the comparison, from its CSVs.

usage: benchmark_tables.py [--results FOLDER] [--readme README.md] [--pictures FOLDER] [--write | --check]

Prints all tables. --write draws docs/images/benchmark-SET.png and puts the block between the README's markers; --check changes nothing and
fails if the README's block is not the one that the CSVs give.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark import SETS
from comparing import Table, table_of
from drawing import draw
from records import RowsDamaged, read_rows
from toolbox import STARTS
from writing import BEGIN, MISSING, between, markdown, readme_block

HERE = Path(__file__).resolve().parent


def main(words: Sequence[str] | None = None) -> int:
    """Print, and write or check; 1 if something does not fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--readme", type=Path, default=HERE.parents[1] / "README.md")
    parser.add_argument("--pictures", type=Path, default=HERE.parents[1] / "docs" / "images")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true")
    what.add_argument("--check", action="store_true")
    chosen = parser.parse_args(words)
    try:
        tables = read_tables(chosen.results)
    except RowsDamaged as error:
        print(error, file=sys.stderr)
        return 1
    if chosen.check:
        wrong = complaint(chosen.readme.read_text("utf-8"), tables)
        print(wrong or f"{chosen.readme.name}: the table is the generated one" if tables else wrong or MISSING)
        return 1 if wrong else 0
    for table in tables.values():
        print(markdown(table), end="\n\n")
    if not tables:
        print(MISSING)
    return put(chosen.readme, chosen.pictures, tables) if chosen.write else 0


def read_tables(results: Path) -> dict[tuple[str, str], Table]:
    """By set and start, in the order in which they are told."""
    tables = {}
    for name in dict.fromkeys((*SETS, *(path.stem for path in sorted(results.glob("*.csv"))))):
        rows = read_rows(results / f"{name}.csv")
        for start in STARTS:
            if (table := table_of(rows, start)) is not None:
                tables[name, start] = table
    return tables


def complaint(readme: str, tables: dict[tuple[str, str], Table]) -> str:
    """What is wrong with the README's block; empty if nothing is. No block is right only where there are no results."""
    found = between(readme)
    if found is None:
        return f"the README lacks the markers {BEGIN}" if tables else ""
    wrong = "the README's table is not the generated one: run examples/benchmark/benchmark_tables.py --write"
    return "" if found == readme_block(tables) else wrong


def put(readme: Path, pictures: Path, tables: dict[tuple[str, str], Table]) -> int:
    """Draw the pictures and replace the README's block."""
    pictures.mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(name for name, _ in tables):
        draw([table for (other, _), table in tables.items() if other == name], pictures / f"benchmark-{name}.png")
    text = readme.read_text("utf-8")
    found = between(text)
    if found is None:
        print(f"{readme}: no markers to put the table between; add the lines\n{readme_block({})}", file=sys.stderr)
        return 1
    readme.write_text(text.replace(found, readme_block(tables)), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
