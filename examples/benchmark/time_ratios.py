"""Seconds of unireg beside greedy's on the same pairs in one run: ``--fast`` and the default, whole processes, one after the other.

usage: time_ratios.py --scorer SCORE.py [--pairs 2] [--sets brain_mr abdomen_ct abdomen_mr] [-o OUT.csv] [what benchmark.py takes]
       time_ratios.py --rows FOLDER [--sets ...] [-o OUT.csv]

The pairs are run by benchmark.py, all tools in turn, or have been: of the rows in FOLDER those count that all three tools have of one
day. A ratio is the whole process of unireg (Python and PyTorch starting, images read, transforms and the warped image written) over
greedy's registration alone, pair by pair; the median of the pairs counts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import benchmark
import costs

MOST = {
    ("unireg-fast", "brain_mr"): 1 / 6,
    ("unireg-fast", "abdomen_ct"): 1 / 6,
    ("unireg-fast", "abdomen_mr"): 1 / 3,
    ("unireg", "brain_mr"): 1 / 2,
    ("unireg", "abdomen_ct"): 1 / 2,
}
"""What was promised, by tool and set."""
TOOLS, PEER = ("unireg-fast", "unireg"), "greedy"
COLUMNS = ("set", "fixed", "moving", "tool", "registration_seconds", "process_seconds", "dice", "sdlogj_in", "version")


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = costs.arguments(__doc__, "time_ratios")
    parser.add_argument("--sets", nargs="+", default=list(dict.fromkeys(name for _, name in MOST)))
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--rows", type=Path, help="rows of one run of benchmark.py, instead of a run now")
    chosen, others = parser.parse_known_args(words)
    if chosen.rows:
        rows = together([row for name in chosen.sets for row in costs.read_rows(chosen.rows / f"{name}.csv")])
        if not rows:
            tools = ", ".join((*TOOLS, PEER))
            parser.error(f"--rows: {chosen.rows} has no pair that {tools} have all done on one day; run benchmark.py for them")
    else:
        rows = run_now(chosen, others)
    costs.write_rows(chosen.output, [{name: row[name] for name in COLUMNS} for row in rows], chosen.threads)
    print(told(costs.read_rows(chosen.output)))
    return 0


def run_now(chosen: argparse.Namespace, others: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a run of benchmark.py.

    Raises:
        SystemExit: a run failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        told_to = [*others, "--starts", "own", "--tools", *TOOLS, PEER, "--sets", *chosen.sets, "--without-hd95"]
        if benchmark.main([*told_to, "--pairs", str(chosen.pairs), "--threads", str(chosen.threads), "-o", folder]):
            raise SystemExit("a run failed, as said above: without it there is no ratio")
        return [row for name in chosen.sets for row in costs.read_rows(Path(folder) / f"{name}.csv")]


def together(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The rows with own affines of pairs that all tools have done on the same day."""
    found: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for row in rows:
        if row["start"] == "own" and row["status"] == "done" and row["tool"] in (*TOOLS, PEER):
            found.setdefault((row["set"], row["fixed"], row["moving"], row["date"]), {})[row["tool"]] = row
    return [row for tools in found.values() if len(tools) == len(TOOLS) + 1 for row in tools.values()]


def told(rows: Sequence[dict[str, str]]) -> str:
    """A line a set and tool."""
    peer = {(row["set"], row["fixed"], row["moving"]): float(row["registration_seconds"]) for row in rows if row["tool"] == PEER}
    lines = []
    for name in dict.fromkeys(row["set"] for row in rows):
        for tool in dict.fromkeys(row["tool"] for row in rows if row["tool"] != PEER):
            own = [row for row in rows if row["set"] == name and row["tool"] == tool]
            pairs = [(float(row["process_seconds"]), peer[name, row["fixed"], row["moving"]]) for row in own]
            ratio = statistics.median(one / other for one, other in pairs)
            most = MOST.get((tool, name))
            promised = "" if most is None else f"{most:.3f}, {'holds' if ratio <= most else 'does not hold'}"
            seconds = [f"{statistics.median(column):.1f}" for column in zip(*pairs, strict=True)]
            lines.append((name, tool, len(pairs), *seconds, f"{ratio:.3f}", promised))
    heads = ("set", "tool", "pairs", "whole process, s", f"{PEER}'s registration, s", "ratio", "promised at most")
    return costs.markdown(heads, lines)


if __name__ == "__main__":
    sys.exit(main())
