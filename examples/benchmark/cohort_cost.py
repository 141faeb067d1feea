"""Cost of a cohort: 1, 10 and 100 pairs in one ``unireg register --pairs`` process.

usage: cohort_cost.py [--counts 1 10 100] [--side 64] [--threads 2] [-o OUT.csv] [-- OPTIONS OF unireg register]

Ten different pairs of made-up torsos with SIDE^3 voxels come round again and again. What a process costs once (Python, the weights) is
shared by its pairs; memory must not grow with their number.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import costs

COUNTS = (1, 10, 100)
DIFFERENT = 10


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    given = list(sys.argv[1:] if words is None else words)
    options = given[given.index("--") + 1 :] if "--" in given else []
    parser = costs.arguments(__doc__, "cohort_cost")
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--side", type=int, default=64)
    chosen = parser.parse_args(given[: given.index("--")] if "--" in given else given)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        pairs = [costs.write_pair(Path(folder), chosen.side, seed) for seed in range(min(DIFFERENT, max(chosen.counts)))]
        for count in chosen.counts:
            ended = run_cohort(Path(folder), pairs, count, options, chosen.threads)
            each = ended.seconds / count
            cells = {"pairs": count, "side": chosen.side, "process_seconds": ended.seconds, "seconds_per_pair": each}
            rows.append({**cells, "peak_rss_mb": round(ended.peak_rss_mb), "options": " ".join(options)})
            costs.write_rows(chosen.output, rows, chosen.threads)
            print(rows[-1], file=sys.stderr, flush=True)
    print(told(costs.read_rows(chosen.output)))
    return 0


def run_cohort(folder: Path, pairs: Sequence[tuple[Path, Path]], count: int, options: Sequence[str], threads: int) -> costs.Ended:
    """One process over ``count`` pairs."""
    table = folder / f"pairs_{count}.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("fixed", "moving", "output"))
        writer.writerows((*pairs[n % len(pairs)], folder / f"of{count}_{n}_") for n in range(count))
    return costs.run_unireg(["register", "--pairs", str(table), "-q", "--threads", str(threads), *options], folder / "log", threads)


def told(rows: Sequence[dict[str, str]]) -> str:
    """The rows as a table."""
    heads = ("pairs in one process", "voxels of each", "whole process, s", "s per pair", "peak memory, MB")
    cells = []
    for row in rows:
        whole, each = f"{float(row['process_seconds']):.1f}", f"{float(row['seconds_per_pair']):.2f}"
        cells.append((row["pairs"], f"{row['side']}^3", whole, each, row["peak_rss_mb"]))
    return costs.markdown(heads, cells)


if __name__ == "__main__":
    sys.exit(main())
