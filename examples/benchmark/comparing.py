"""From rows to the lines of a table: means, and differences to the best peer over the same pairs. No files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from records import COSTS, SCORES, Row, latest
from toolbox import PEERS, TOOLS, Tool

from unireg_cli.evaluation.statistics import Estimate, bootstrap_over_persons, holm


@dataclass(frozen=True, slots=True)
class Line:
    """One tool under one start. ``means`` are over the pairs that it finished, ``of`` is how many the others have."""

    tool: Tool
    pairs: int
    of: int
    means: dict[str, float]
    difference: Estimate | None
    """Dice less the best peer's, on the pairs that both finished; None for that peer, and where there is nothing to compare."""
    p_holm: float
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """All tools on one set under one start; ``best`` is the name of the best peer."""

    set: str
    start: str
    lines: tuple[Line, ...]
    best: str | None
    persons: int
    threads: tuple[str, ...]
    dates: tuple[str, ...]


def table_of(rows: Sequence[Row], start: str) -> Table | None:
    """The table of one set's rows under a start; None if there is no row.

    The best peer has the highest mean Dice of the peers that finished the most pairs: one that was run on fewer pairs, or failed on some,
    cannot be it. Every other tool's Dice is compared with it pair by pair; the interval is from resampled persons, the p-values of a table
    are corrected together after Holm.
    """
    own = [row for row in latest(rows) if row["start"] == start]
    if not own:
        return None
    done = {name: {_pair(row): row for row in own if row["tool"] == name and row["status"] == "done"} for name in TOOLS}
    full = max((len(done[name]) for name in PEERS), default=0)
    rivals = [name for name in PEERS if full and len(done[name]) == full]
    best = max(rivals, key=lambda name: _mean([float(row["dice"]) for row in done[name].values()]), default=None)
    count = len({_pair(row) for row in own})
    lines = [_line(tool, own, done, best, count) for name, tool in TOOLS.items() if any(row["tool"] == name for row in own)]
    corrected = holm([math.nan if line.difference is None else line.difference.p for line in lines])
    lines = [replace(line, p_holm=p) for line, p in zip(lines, corrected, strict=True)]
    persons = {person for row in own for person in row["persons"].split(";")}
    told = [tuple(sorted({row[name] for row in own})) for name in ("threads", "date")]
    return Table(own[0]["set"], start, tuple(lines), best, len(persons), *told)


def _line(tool: Tool, own: Sequence[Row], done: dict[str, dict[tuple[str, str], Row]], best: str | None, count: int) -> Line:
    finished = done[tool.name]
    means = {}
    for name in (*SCORES, *COSTS):
        values = [float(row[name]) for row in finished.values() if row[name]]
        if values:
            means[name] = max(values) if name == "peak_rss_mb" else _mean(values)
    difference = None
    if best is not None and tool.name not in (best, "none"):
        common = [pair for pair in finished if pair in done[best]]
        if common:
            apart = [float(finished[pair]["dice"]) - float(done[best][pair]["dice"]) for pair in common]
            difference = bootstrap_over_persons(apart, [finished[pair]["persons"].split(";") for pair in common])
    others = [row for row in own if row["tool"] == tool.name and row["status"] != "done"]
    reasons = tuple(dict.fromkeys(row["reason"] for row in others))
    notes = tuple(dict.fromkeys(row["note"] for row in finished.values() if row["note"]))
    return Line(tool, len(finished), count, means, difference, math.nan, reasons, notes)


def _pair(row: Row) -> tuple[str, str]:
    return row["fixed"], row["moving"]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
