"""Claim 2: the joint model needs at most half of the steps that the single networks need together.

For each set s(set) is the first step at which the single run's tune Dice comes within 0.005 of its best; the joint run's step is the
first by which every set has reached that same level. Same evaluation cadence, constant rate after the warm-up, two seeds.

usage: iterations.py               table, plot and verdict from the committed curves
       iterations.py --retrain     train what is missing (the runs of parity.py)
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import parity
import study
import tables
from tables import SETS, Row, Verdict

WITHIN, MOST, AIM = 0.005, 0.5, 1 / 3


@dataclass(frozen=True, slots=True)
class Race:
    """One set and seed: the level, and the first step at which each run reached it; None if the joint run never did."""

    set: str
    level: float
    single: int
    joint: int | None
    joint_best: float
    single_seconds: float
    joint_seconds: float


def first_at(curve: Sequence[tuple[int, float]], level: float) -> int | None:
    """First step whose Dice is at least ``level``."""
    return next((step for step, dice in curve if dice >= level), None)


def races(rows: Sequence[Row], seed: str) -> list[Race]:
    """Every set that both the joint and its own run have curves of."""
    found = []
    for name in SETS:
        alone = study.curve_of(rows, f"single-{name}", seed, name)
        together = study.curve_of(rows, "joint", seed, name)
        if not alone or not together:
            continue
        level = max(dice for _, dice in alone) - WITHIN
        step = first_at(alone, level)
        assert step is not None  # its own best is above the level
        reached = first_at(together, level)
        paces = [_pace(rows, run, seed) for run in (f"single-{name}", "joint")]
        spent = (reached or together[-1][0]) * paces[1]
        found.append(Race(name, level, step, reached, max(dice for _, dice in together), step * paces[0], spent))
    return found


def _pace(rows: Sequence[Row], run: str, seed: str) -> float:
    paces = [float(row["cpu_seconds_per_step"]) for row in rows if (row["run"], row["seed"]) == (run, seed)]
    return paces[-1] if paces else math.nan


def judged(rows: Sequence[Row]) -> Verdict | None:
    """The claim, and a table a seed; None if there are no curves of both kinds."""
    seeds = sorted({row["seed"] for row in rows if row["run"] == "joint"})
    shares, lines, whole = [], [], len(seeds) >= len(parity.SEEDS)
    for seed in seeds:
        of = races(rows, seed)
        if not of:
            continue
        whole = whole and len(of) == len(SETS)
        print(f"seed {seed}")
        heads = ("set", "level", "single, steps", "joint, steps", "joint, best Dice", "single, CPU s", "joint, CPU s")
        table = [
            (*(r.set, r.level, r.single, r.joint or "never", r.joint_best), *(f"{s:.0f}" for s in (r.single_seconds, r.joint_seconds)))
            for r in of
        ]
        tables.print_table(heads, table)
        total = sum(r.single for r in of)
        missed = [r.set for r in of if r.joint is None]
        slowest = max(r.joint or 0 for r in of)
        if missed:
            last = max(step for name in missed for step, _ in study.curve_of(rows, "joint", seed, name))
            share = math.inf
            lines.append(f"seed {seed}: single {total} steps in all; joint did not reach the level of {', '.join(missed)} in {last} steps")
        else:
            share = slowest / total
            seconds = max(r.joint_seconds for r in of), sum(r.single_seconds for r in of)
            lines.append(
                f"seed {seed}: single {total} steps in all, joint {slowest}: {share:.0%} (claimed <= {MOST:.0%}, aim {AIM:.0%}); "
                f"CPU seconds {seconds[1]:.0f} and {seconds[0]:.0f}"
            )
        shares.append(share)
    if not shares:
        return None
    if not whole:
        lines.append("not all sets and seeds have been trained; the claim is about all of them")
    holds = max(shares) <= MOST
    return Verdict("Claim 2, iterations", tables.overall(holds, whole), (*lines, study.still_rising(rows), study.scale_told()))


def draw(rows: Sequence[Row], path: Path) -> None:
    """One panel a set: tune Dice by step, single against joint, with the level."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    seeds = sorted({row["seed"] for row in rows if row["run"] == "joint"})
    names = [name for name in SETS if any(row["set"] == name for row in rows)]
    figure, axes = plt.subplots(1, len(names), figsize=(3.2 * len(names), 3), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        for style, seed in zip(("-", "--", ":", "-."), seeds, strict=False):
            for run, color, label in ((f"single-{name}", "C1", "single"), ("joint", "C0", "joint")):
                curve = study.curve_of(rows, run, seed, name)
                if curve:
                    axis.plot(*zip(*curve, strict=True), style, color=color, label=f"{label}, seed {seed}")
            for race in races(rows, seed):
                if race.set == name:
                    axis.axhline(race.level, color="0.6", linewidth=0.5, linestyle=style)
        axis.set(title=name, xlabel="step")
    axes[0, 0].set_ylabel("tune Dice")
    axes[0, 0].legend(fontsize=7)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(words: Sequence[str] | None = None) -> int:
    """Train if asked to, then judge."""
    chosen = study.training_arguments(__doc__, "iterations").parse_args(words)
    if chosen.retrain and (stopped := study.train_all(parity.studies(chosen.sets), chosen, chosen.curves)):
        return 128 + stopped
    rows = tables.read_rows(chosen.curves)
    verdict = judged(rows)
    picture = chosen.plot or chosen.results.with_suffix(".png")
    return tables.finish(verdict, chosen.curves, "--retrain", lambda path: draw(rows, path), picture)


if __name__ == "__main__":
    sys.exit(main())
