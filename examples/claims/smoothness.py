"""Claim 5: SDlogJ falls monotonically in --smoothness (Spearman >= 0.95 over 9 values on every pair), by a factor of 3 or more.

usage: smoothness.py                                  table, plot and verdict from the committed rows
       smoothness.py --measure [--weights W] [--limit N]    make the rows: every validation pair at 9 smoothness values, network only
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import bench
import tables
from tables import Row, Verdict

from unireg_cli.evaluation.statistics import spearman

COLUMNS = ("weights", "set", "fixed", "moving", "smoothness", "sdlogj", "fold_pct", "dice")
VALUES = tuple(n / 8 for n in range(9))
LEAST_CORRELATION, LEAST_RANGE = 0.95, 3.0


def measure(judge: bench.Judge, data: Path, sets: Sequence[str], cache: Path, results: Path, limit: int | None) -> None:
    """Append what is missing."""
    rows = tables.of_weights(tables.read_rows(results), judge.sha256, results)
    for name in sets:
        listed = bench.pair_list(data, name, limit)
        there = {(row["fixed"], row["moving"]) for row in rows if row["set"] == name}
        for case in bench.cases(listed, cache, there):
            new = []
            for value in VALUES:
                chain, field = judge.alone(case, (), listed.mode, value)
                rough = bench.roughness(case, field)
                overlap = tables.mean(list(bench.dice(case, chain).values()))
                new.append((value, rough.sdlogj, rough.folding_percent, overlap))
            start = (judge.sha256, name, case.fixed, case.moving)
            tables.append_rows(results, COLUMNS, [dict(zip(COLUMNS, (*start, *each), strict=True)) for each in new])
            print(f"{name} {case.fixed} {case.moving}: SDlogJ {new[0][1]:.3f} to {new[-1][1]:.3f}", flush=True)


def curves(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[tuple[float, float]]]:
    """(smoothness, SDlogJ) of each pair, in the order of smoothness."""
    found: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        found[row["set"], row["fixed"], row["moving"]].append((float(row["smoothness"]), float(row["sdlogj"])))
    return {key: sorted(curve) for key, curve in found.items()}


def judged(rows: Sequence[Row]) -> Verdict:
    """The claim, and a table a set."""
    facts = defaultdict(list)
    for (name, _, _), curve in curves(rows).items():
        smooth, rough = zip(*curve, strict=True)
        facts[name].append((-spearman(smooth, rough), rough[0] / max(rough[-1], 1e-9), rough[0], rough[-1]))
    tables.print_table(
        ("set", "pairs", "least -Spearman", "least range", "mean range", "SDlogJ at 0", "SDlogJ at 1"),
        [
            (name, len(of), min(f[0] for f in of), min(f[1] for f in of), *(tables.mean([f[k] for f in of]) for k in (1, 2, 3)))
            for name, of in facts.items()
        ],
    )
    every = [fact for of in facts.values() for fact in of]
    falling = sum(fact[0] >= LEAST_CORRELATION for fact in every)
    wide = sum(fact[1] >= LEAST_RANGE for fact in every)
    lines = (
        f"SDlogJ falls with smoothness (-Spearman >= {LEAST_CORRELATION}) on {falling} of {len(every)} pairs, "
        f"least {min(f[0] for f in every):.3f}",
        f"SDlogJ at smoothness 0 is >= {LEAST_RANGE:g} times that at 1 on {wide} of {len(every)} pairs, "
        f"least {min(f[1] for f in every):.2f}, mean {tables.mean([f[1] for f in every]):.2f}",
    )
    whole, told = tables.scale(rows)
    return Verdict("Claim 5, control by smoothness", tables.overall(falling == wide == len(every), whole), (*lines, told))


def draw(rows: Sequence[Row], path: Path) -> None:
    """One panel a set: a line a pair."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(row["set"] for row in rows))
    figure, axes = plt.subplots(1, len(names), figsize=(3.2 * len(names), 3), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        for (own, _, _), curve in curves(rows).items():
            if own == name:
                axis.plot(*zip(*curve, strict=True), marker=".", linewidth=0.8)
        axis.set(title=name, xlabel="smoothness asked for", ylim=(0, None))
    axes[0, 0].set_ylabel("SDlogJ inside the foreground")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(words: Sequence[str] | None = None) -> int:
    """Measure if asked to, then judge."""
    chosen = tables.measuring_arguments(__doc__, "smoothness").parse_args(words)
    if chosen.measure:
        bench.use_threads(chosen.threads)
        measure(bench.load_judge(chosen.weights), chosen.data, chosen.sets, chosen.cache, chosen.results, chosen.limit)
    rows = tables.read_rows(chosen.results)
    verdict = judged(rows) if rows else None
    picture = chosen.plot or chosen.results.with_suffix(".png")
    return tables.finish(verdict, chosen.results, "--measure", lambda path: draw(rows, path), picture)


if __name__ == "__main__":
    sys.exit(main())
