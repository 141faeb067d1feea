"""Tables of the comparison as Markdown, and the block of the README. No files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from comparing import Line, Table
from toolbox import TOOLS, USUAL

from unireg_cli.evaluation.statistics import Estimate

BEGIN = "<!-- benchmark: made by examples/benchmark/benchmark_tables.py from examples/benchmark/results; do not edit -->"
END = "<!-- benchmark: end -->"
MISSING = "The comparison has not been run yet: there are no rows in `examples/benchmark/results`."
STARTS = {
    "own": "each tool's own affine",
    "affine": "one affine for all (greedy's, from image centres): the deformable stages alone",
    "rigid": "one rigid transform for all (greedy's): the deformable stages alone",
}
HEADS = ("tool", "pairs", "Dice", "HD95 mm", "folding %", "SDlogJ", "seconds", "whole process", "peak MB", "Dice - best peer's", "p (Holm)")


def markdown(table: Table) -> str:
    """One set under one start, with the reasons of what is missing below."""
    title = f"**{table.set}, {STARTS[table.start]}** ({table.persons} persons, {' and '.join(table.threads)} threads, {_span(table.dates)})"
    lines = [title, "", _row(HEADS), _row(["---", *["---:"] * (len(HEADS) - 1)])]
    lines += [_row(_cells(line, table.best)) for line in table.lines]
    notes = [f"- {line.tool.name}: {note}" for line in table.lines for note in (*_few(line), *line.reasons, *line.notes)]
    there = {line.tool.name for line in table.lines}
    notes += [f"- {name}: not run" for name in USUAL if name not in there and table.start in TOOLS[name].starts]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _cells(line: Line, best: str | None) -> list[str]:
    name = f"{line.tool.name} (best peer)" if line.tool.name == best else line.tool.name
    pairs = f"{line.pairs}" if line.pairs == line.of else f"{line.pairs} of {line.of}"
    digits = {"dice": 4, "hd95": 2, "fold_pct": 3, "sdlogj_in": 3, "registration_seconds": 1, "process_seconds": 1, "peak_rss_mb": 0}
    numbers = [f"{line.means[key]:.{places}f}" if key in line.means else "-" for key, places in digits.items()]
    p = "-" if math.isnan(line.p_holm) else f"{line.p_holm:.3f}"
    return [name, pairs, *numbers, "-" if line.difference is None else shown(line.difference), p]


def shown(estimate: Estimate) -> str:
    """``+0.0123 [0.0045, 0.0201]``."""
    if math.isnan(estimate.low):
        return f"{estimate.mean:+.4f} (too few persons for an interval)"
    return f"{estimate.mean:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]"


def _few(line: Line) -> list[str]:
    return [] if line.pairs == line.of else [f"means are over {line.pairs} of {line.of} pairs"]


def readme_block(tables: Mapping[tuple[str, str], Table]) -> str:
    """What stands between the markers: a row a tool, a column a set, each tool with its own affine."""
    own = [table for (_, start), table in tables.items() if start == "own"]
    if not own:
        return "\n".join((BEGIN, MISSING, END))
    names = [name for name in TOOLS if any(line.tool.name == name for table in own for line in table.lines)]
    rows = [[TOOLS[name].title, *(_short(table, name) for table in own)] for name in names]
    explained = (
        "Each tool as its authors recommend it, with its own affine; mean Dice / SDlogJ inside the labels / seconds of the registration "
        f"on {' and '.join(own[0].threads)} threads. Bold: highest Dice. `docs/results.md` has the same with one affine for all, "
        "distances, folding, intervals, memory, and what was left out and why."
    )
    heads = ["", *(f"{table.set} ({max(line.of for line in table.lines)} pairs)" for table in own)]
    return "\n".join((BEGIN, explained, "", _row(heads), _row(["---"] * len(heads)), *map(_row, rows), END))


def _short(table: Table, name: str) -> str:
    line = next((line for line in table.lines if line.tool.name == name), None)
    if line is None:
        return "not run"
    if not line.pairs:
        return "failed" if table.start in line.tool.starts else line.tool.missing
    top = max((other.means["dice"] for other in table.lines if other.pairs == other.of), default=math.inf)
    dice = f"{line.means['dice']:.3f}"
    dice = f"**{dice}**" if line.means["dice"] >= top and line.pairs == line.of else dice
    part = "" if line.pairs == line.of else f" ({line.pairs} pairs)"
    roughness = f"{line.means['sdlogj_in']:.2f}" if "sdlogj_in" in line.means else "-"
    return f"{dice} / {roughness} / {line.means['registration_seconds']:.0f}{part}"


def between(text: str) -> str | None:
    """The block as the README has it, markers included; None without markers."""
    begin, end = text.find(BEGIN), text.find(END)
    return None if begin < 0 or end < begin else text[begin : end + len(END)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _span(dates: Sequence[str]) -> str:
    return dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
