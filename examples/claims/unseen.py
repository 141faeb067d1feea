"""Claim 6: a set that training never saw. A run of configs/unseen.toml without abdomen_mr against one with it.

Holds if the network-only gain over the affine is at least half of the gain of the run that learned from the set, and the default mode
with these weights is not below the engine without any.

usage: unseen.py                           table, plot and verdict from the committed rows
       unseen.py --retrain [--limit N]     train what is missing, then make the rows
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import bench
import study
import tables
from tables import Row, Verdict

from unireg_cli.evaluation.statistics import Estimate, bootstrap_over_persons
from unireg_cli.spatial import Chain, DisplacementField
from unireg_cli.types import Mode

LEFT_OUT = "abdomen_mr"
COLUMNS = ("method", "set", "fixed", "moving", "dice", "sdlogj")
METHODS = ("affine", "network, seen", "network, unseen", "engine", "default, unseen")
LEAST_PART = 0.5
RUNS = (study.seeing(), study.seeing_without(LEFT_OUT))


def measure(chosen: argparse.Namespace) -> None:
    """Append what is missing: five methods on every pair."""
    seen, unseen = (study.judge_of(run, chosen.runs, LEFT_OUT) for run in RUNS)
    listed = bench.pair_list(chosen.data, LEFT_OUT, chosen.limit)
    rows = tables.read_rows(chosen.results)
    there = {name: {(row["fixed"], row["moving"]) for row in rows if row["method"] == name} for name in METHODS}
    for case in bench.cases(listed, chosen.cache, set.intersection(*there.values())):
        for method in METHODS:
            if (case.fixed, case.moving) not in there[method]:
                chain, field = solve(case, method, seen, unseen, listed.mode)
                overlap = tables.mean(list(bench.dice(case, chain).values()))
                rough = "" if field is None else bench.roughness(case, field).sdlogj
                cells = (method, LEFT_OUT, case.fixed, case.moving, overlap, rough)
                tables.append_rows(chosen.results, COLUMNS, [dict(zip(COLUMNS, cells, strict=True))])
        print(f"{LEFT_OUT} {case.fixed} {case.moving}", flush=True)


def solve(
    case: bench.Case, method: str, seen: bench.Judge, unseen: bench.Judge, mode: Mode
) -> tuple[Chain, DisplacementField | None]:
    """The transform that one method finds."""
    if method == "affine":
        return bench.chain_of(case, None), None
    if method.startswith("network"):
        return (seen if method == "network, seen" else unseen).alone(case, (), mode)
    own = unseen if method.startswith("default") else None
    return bench.register(case, (), mode, own)


def compared(rows: Sequence[Row], value: Callable[[dict[str, float]], float]) -> Estimate | None:
    """Mean over pairs of something made of all methods' Dice; None if no pair has them all."""
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in rows:
        found[row["fixed"], row["moving"]][row["method"]] = float(row["dice"])
    whole = {key: of for key, of in found.items() if set(METHODS) <= of.keys()}
    if not whole:
        return None
    persons = [tables.persons_of({"set": LEFT_OUT, "fixed": fixed, "moving": moving}) for fixed, moving in whole]
    return bootstrap_over_persons([value(of) for of in whole.values()], persons)


def judged(rows: Sequence[Row]) -> Verdict | None:
    """The claim, and a table a method."""
    seen = compared(rows, lambda of: of["network, seen"] - of["affine"])
    unseen = compared(rows, lambda of: of["network, unseen"] - of["affine"])
    margin = compared(rows, lambda of: of["network, unseen"] - of["affine"] - LEAST_PART * (of["network, seen"] - of["affine"]))
    default = compared(rows, lambda of: of["default, unseen"] - of["engine"])
    if seen is None or unseen is None or margin is None or default is None:
        return None
    own = {name: [row for row in rows if row["method"] == name] for name in METHODS}
    table = [(name, *(_mean(of, column) for column in ("dice", "sdlogj"))) for name, of in own.items()]
    tables.print_table((LEFT_OUT, "Dice", "SDlogJ"), table)
    part = unseen.mean / seen.mean if seen.mean > 0 else math.nan
    whole, told = tables.scale(rows, [LEFT_OUT])
    lines = (
        f"network-only gain over the affine: unseen {tables.shown(unseen)}, seen {tables.shown(seen)}: {part:.0%} "
        f"(claimed >= {LEAST_PART:.0%})",
        f"what it is above that half: {tables.shown(margin)}",
        f"default mode with these weights - the engine alone: {tables.shown(default)} (claimed >= 0)",
        told,
        study.scale_told(study.UNSEEN_CONFIG),
    )
    return Verdict("Claim 6, unseen", tables.overall(margin.mean >= 0 and unseen.mean > 0 and default.mean >= 0, whole), lines)


def _mean(rows: Sequence[Row], column: str) -> float:
    return tables.mean([float(row[column]) for row in rows if row[column]])


def draw(rows: Sequence[Row], path: Path) -> None:
    """Dice of every pair, a line a pair from method to method."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
    for key in dict.fromkeys((row["fixed"], row["moving"]) for row in rows):
        of = {row["method"]: float(row["dice"]) for row in rows if (row["fixed"], row["moving"]) == key}
        axis.plot([name for name in METHODS if name in of], [of[name] for name in METHODS if name in of], ".-", linewidth=0.7)
    axis.set_ylabel(f"Dice, {LEFT_OUT}")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(words: Sequence[str] | None = None) -> int:
    """Train and measure if asked to, then judge."""
    chosen = study.training_arguments(__doc__, "unseen").parse_args(words)
    if chosen.retrain:
        if stopped := study.train_all(RUNS, chosen, chosen.curves):
            return 128 + stopped
        measure(chosen)
    rows = tables.read_rows(chosen.results)
    verdict = judged(rows)
    picture = chosen.plot or chosen.results.with_suffix(".png")
    return tables.finish(verdict, chosen.results, "--retrain", lambda path: draw(rows, path), picture)


if __name__ == "__main__":
    sys.exit(main())
