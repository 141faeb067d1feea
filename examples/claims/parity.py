"""Claim 1: the joint conditional model against one network per set: same backbone, recipe and schedule, two seeds.

Holds if no set's interval of (joint - single) lies wholly below -0.01 and the mean over sets is above 0. Dice on the validation pairs,
network only, each run with its best weights by the tune split, on the lattices that it was trained on.

usage: parity.py                           table, plot and verdict from the committed rows
       parity.py --retrain [--limit N]     train what is missing (configs/reduced.toml; shared with iterations.py), then make the rows
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import bench
import study
import tables
from tables import Row, Verdict

from unireg_cli.evaluation.statistics import Estimate, bootstrap_over_persons, holm

COLUMNS = ("run", "seed", "set", "fixed", "moving", "dice", "sdlogj")
SEEDS = (0, 1)
WORST, AIM = -0.01, 0.025
Key = tuple[str, str, str]


def studies(sets: Sequence[str]) -> list[study.Study]:
    """All runs of claims 1 and 2."""
    return [run for seed in SEEDS for run in (study.joint(seed), *(study.single(name, seed) for name in sets))]


def measure(chosen: argparse.Namespace) -> None:
    """Append what is missing: every run on the validation pairs of its sets."""
    for name in chosen.sets:
        listed = bench.pair_list(chosen.data, name, chosen.limit)
        for run in studies(chosen.sets):
            if name not in run.sets or not run.weights(chosen.runs).exists():
                continue
            rows = tables.read_rows(chosen.results)
            own = [row for row in rows if (row["run"], row["seed"], row["set"]) == (run.name, str(run.seed), name)]
            judge = study.judge_of(run, chosen.runs, name)
            for case in bench.cases(listed, chosen.cache, {(row["fixed"], row["moving"]) for row in own}):
                chain, field = judge.alone(case, (), listed.mode)
                overlap = tables.mean(list(bench.dice(case, chain).values()))
                cells = (run.name, run.seed, name, case.fixed, case.moving, overlap, bench.roughness(case, field).sdlogj)
                tables.append_rows(chosen.results, COLUMNS, [dict(zip(COLUMNS, cells, strict=True))])
            print(f"{run.name}, seed {run.seed}, on {name}", flush=True)


def differences(rows: Sequence[Row]) -> dict[Key, float]:
    """Joint less single, mean over the seeds that have both, of every pair."""
    found: dict[Key, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        found[row["set"], row["fixed"], row["moving"]][row["seed"]][row["run"].partition("-")[0]] = float(row["dice"])
    both = {key: [of["joint"] - of["single"] for of in seeds.values() if len(of) == 2] for key, seeds in found.items()}
    return {key: tables.mean(values) for key, values in both.items() if values}


def estimates(found: dict[Key, float]) -> dict[str, Estimate]:
    """Of every set, and of the mean over sets under the empty name."""
    sets = list(dict.fromkeys(key[0] for key in found))
    parts = {name: {key: value for key, value in found.items() if name in ("", key[0])} for name in (*sets, "")}
    made = {}
    for name, own in parts.items():
        names = [key[0] for key in own]
        persons = [tables.persons_of({"set": key[0], "fixed": key[1], "moving": key[2]}) for key in own]
        made[name] = bootstrap_over_persons(list(own.values()), persons, groups=names, strata=names)
    return made


def judged(rows: Sequence[Row], curves: Sequence[Row] = ()) -> Verdict | None:
    """The claim, and a table a set; None if no pair has both runs. ``curves`` tell whether the single runs had come to their end."""
    found = differences(rows)
    if not found:
        return None
    made = estimates(found)
    sets = [name for name in made if name]
    corrected = holm([made[name].p for name in sets])
    table = []
    for name, p in zip(sets, corrected, strict=True):
        numbers = [_mean(rows, name, kind, column) for kind in ("single", "joint") for column in ("dice", "sdlogj")]
        table.append((name, *numbers, tables.shown(made[name]), f"{p:.3f}"))
    heads = ("set", "single Dice", "SDlogJ", "joint Dice", "SDlogJ", "joint - single [95 % over persons]", "p (Holm)")
    tables.print_table(heads, table)
    worse = [name for name in sets if made[name].high < WORST]
    seeds = sorted({row["seed"] for row in rows})
    whole, told = tables.scale(rows)
    lines = (
        f"mean over sets of joint - single: {tables.shown(made[''])} (claimed above 0, aim {AIM:+.3f})",
        f"sets whose interval lies wholly below {WORST}: {', '.join(worse) or 'none'}",
        f"sets with a mean above 0: {sum(made[name].mean > 0 for name in sets)} of {len(sets)}",
        f"seeds {', '.join(seeds)}; {told}",
        *([study.still_rising(curves)] if curves else []),
        study.scale_told(),
    )
    return Verdict("Claim 1, parity", tables.overall(not worse and made[""].mean > 0, whole and len(seeds) >= len(SEEDS)), lines)


def _mean(rows: Sequence[Row], name: str, kind: str, column: str) -> float:
    return tables.mean([float(row[column]) for row in rows if row["set"] == name and row["run"].startswith(kind)])


def draw(rows: Sequence[Row], path: Path) -> None:
    """Interval of every set and of the mean; the pairs as dots."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = differences(rows)
    made = estimates(found)
    figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for place, (name, estimate) in enumerate(made.items()):
        own = [value for key, value in found.items() if key[0] == name]
        axis.plot(own, [place] * len(own), ".", color="0.7", markersize=4)
        axis.plot((estimate.low, estimate.high), (place, place), "k-")
        axis.plot(estimate.mean, place, "ko")
    axis.axvline(0, color="0.5", linewidth=0.5)
    axis.axvline(WORST, color="r", linewidth=0.5)
    axis.set_yticks(range(len(made)), [name or "mean over sets" for name in made])
    axis.set_xlabel("Dice, joint - single")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(words: Sequence[str] | None = None) -> int:
    """Train and measure if asked to, then judge."""
    chosen = study.training_arguments(__doc__, "parity").parse_args(words)
    if chosen.retrain:
        if stopped := study.train_all(studies(chosen.sets), chosen, chosen.curves):
            return 128 + stopped
        measure(chosen)
    rows = tables.read_rows(chosen.results)
    verdict = judged(rows, tables.read_rows(chosen.curves))
    picture = chosen.plot or chosen.results.with_suffix(".png")
    return tables.finish(verdict, chosen.results, "--retrain", lambda path: draw(rows, path), picture)


if __name__ == "__main__":
    sys.exit(main())
