"""Time and memory of ``unireg register`` against image size: pairs of 64^3 to 256^3 voxels, one process each.

usage: scaling.py [--sides 64 96 128 192 256] [--methods engine fast default best] [--threads 2] [-o OUT.csv]

The pairs are made-up torsos; equal fields of view, so that only the number of voxels differs. Prints the rows and a straight line through
each method's seconds and memory.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import costs

SIDES = (64, 96, 128, 160, 192, 224, 256)
METHODS = {"engine": ("--weights", "none"), "fast": ("--fast",), "default": (), "best": ("--best",)}
FILES = ("read", "write", "report")
Row = dict[str, str]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = costs.arguments(__doc__, "scaling")
    parser.add_argument("--sides", type=int, nargs="+", default=list(SIDES))
    parser.add_argument("--methods", nargs="+", default=["engine", "fast", "default"], choices=list(METHODS))
    chosen = parser.parse_args(words)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for side in chosen.sides:
            fixed, moving = costs.write_pair(Path(folder), side)
            for method in chosen.methods:
                rows.append({"method": method, "side": side, "voxels": side**3, **measure(fixed, moving, method, chosen.threads)})
                costs.write_rows(chosen.output, rows, chosen.threads)
                print(rows[-1], file=sys.stderr, flush=True)
    print(told(costs.read_rows(chosen.output)))
    return 0


def measure(fixed: Path, moving: Path, method: str, threads: int) -> dict[str, object]:
    """One registration as a process: its own seconds without files, the process's seconds, and the peak memory."""
    prefix = fixed.parent / f"{method}_"
    words = ["register", str(fixed), str(moving), "-o", str(prefix), "-q", "--overwrite", "--threads", str(threads), *METHODS[method]]
    ended = costs.run_unireg(words, fixed.parent / "log", threads)
    record = json.loads(Path(f"{prefix}.json").read_text("utf-8"))
    seconds = sum(stage["seconds"] for stage in record["timing"]["stages"] if stage["name"] not in FILES)
    return {"registration_seconds": seconds, "process_seconds": ended.seconds, "peak_rss_mb": round(ended.peak_rss_mb)}


def told(rows: Sequence[Row]) -> str:
    """The rows as a table, and the lines through them."""
    heads = ("method", "voxels", "registration, s", "whole process, s", "peak memory, MB")
    cells = []
    for row in rows:
        own, whole = f"{float(row['registration_seconds']):.1f}", f"{float(row['process_seconds']):.1f}"
        cells.append((row["method"], f"{row['side']}^3", own, whole, row["peak_rss_mb"]))
    return "\n".join((costs.markdown(heads, cells), "", *_lines(rows)))


def _lines(rows: Sequence[Row]) -> list[str]:
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        millions = [float(row["voxels"]) / 1e6 for row in own]
        for name, unit in (("process_seconds", "s"), ("peak_rss_mb", "MB")):
            fit = costs.line_through(millions, [float(row[name]) for row in own])
            if fit is not None:
                lines.append(f"- {method}, {name}: {fit[0]:.1f} {unit} + {fit[1]:.2f} {unit} per million voxels (R^2 {fit[2]:.3f})")
    return lines


if __name__ == "__main__":
    sys.exit(main())
