"""Claim 3: a structure is matched better when it is asked for than when all are, and the others lose little. Network only.

usage: anatomy.py                                  table, matrices and verdict from the committed rows
       anatomy.py --measure [--weights W] [--limit N]    make the rows: every validation pair, asked for all and for each structure alone

A row is one pair, one request and one structure that both scans show. The gain of S is Dice(S | ask S) - Dice(S | ask all); the loss of
the others is Dice(T | ask all) - Dice(T | ask S) over all T other than S. Persons are resampled for the intervals; structures count alike.

Pairs of structures that training never asked for together (WITHHELD) need weights that were trained so: a run whose ``asking.withheld``
lists pairs of names, of which a drawn request then never holds both; the recipe in the weights' JSON says so. Without it: not measured.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench
import numpy as np
import tables
from tables import Row, Verdict

from unireg_cli.evaluation.statistics import Estimate, bootstrap_over_persons, holm
from unireg_cli.model.anatomy import ALL, vocabulary
from unireg_cli.types import FloatArray

COLUMNS = ("weights", "set", "fixed", "moving", "asked", "structure", "dice", "sdlogj", "fold_pct")
BRAIN = (
    *("hippocampus_left", "amygdala_right", "caudate_left", "putamen_right", "pallidum_left", "thalamus_right"),
    *("lateral_ventricle_left", "third_ventricle", "accumbens_right", "brainstem", "ventral_diencephalon_right"),
    "cerebellum_white_matter_left",
)
"""The 12 brain structures: large and small ones, both sides."""
WITHHELD = (
    ("liver", "spleen"),
    ("kidney_left", "kidney_right"),
    ("aorta", "pancreas"),
    ("heart_ventricle_right", "heart_myocardium"),
    ("hippocampus_left", "caudate_left"),
)
"""What a run meant for the last point should withhold."""
LEAST_GAIN, LEAST_SHARE, MOST_LOSS, LEAST_TOGETHER = 0.01, 0.9, 0.02, 0.9


def withheld_pairs(recipe: dict[str, Any]) -> list[tuple[str, str]]:
    """Pairs of names that training never asked for together, as the weights' own recipe says."""
    return [(first, second) for first, second in recipe.get("asking", {}).get("withheld", [])]


def structures_of(listed: bench.PairList) -> dict[int, str]:
    """Label value -> name in the vocabulary, of the structures that are asked for."""
    known = vocabulary()
    found = {value: known.structure_id(name) for value, name in listed.names.items()}
    named = {value: known.name_of(id) for value, id in found.items() if id is not None}
    return {value: name for value, name in named.items() if listed.name != "brain_mr" or name in BRAIN}


def measure(judge: bench.Judge, data: Path, sets: Sequence[str], cache: Path, results: Path, limit: int | None) -> None:
    """Append what is missing, a pair at a time."""
    rows = tables.of_weights(tables.read_rows(results), judge.sha256, results)
    for name in sets:
        listed = bench.pair_list(data, name, limit)
        names = structures_of(listed)
        there = {(row["fixed"], row["moving"]) for row in rows if row["set"] == name}
        for case in bench.cases(listed, cache, there):
            both = bench.in_both(case)
            seen = {value: structure for value, structure in names.items() if value in both}
            new: list[dict[str, object]] = []
            together = ["+".join(pair) for pair in withheld_pairs(judge.recipe) if set(pair) <= set(seen.values())]
            for asked in (ALL, *seen.values(), *together):
                chain, field = judge.alone(case, () if asked == ALL else asked.split("+"), listed.mode)
                rough, overlap = bench.roughness(case, field), bench.dice(case, chain)
                start = (judge.sha256, name, case.fixed, case.moving, asked)
                facts = (rough.sdlogj, rough.folding_percent)
                new += [dict(zip(COLUMNS, (*start, each, overlap[value], *facts), strict=True)) for value, each in seen.items()]
            tables.append_rows(results, COLUMNS, new)
            print(f"{name} {case.fixed} {case.moving}: {len(seen)} structures", flush=True)


@dataclass(frozen=True, slots=True)
class Change:
    """What asking for one structure changed on one pair; ``loss`` is the others' mean, NaN if there are none."""

    set: str
    structure: str
    persons: tuple[str, ...]
    gain: float
    loss: float


def changes(rows: Sequence[Row]) -> list[Change]:
    """One for each pair and structure."""
    pairs: dict[tuple[str, str, str], dict[tuple[str, str], float]] = defaultdict(dict)
    for row in rows:
        pairs[row["set"], row["fixed"], row["moving"]][row["asked"], row["structure"]] = float(row["dice"])
    found = []
    for (name, fixed, moving), dice in pairs.items():
        persons = tables.persons_of({"set": name, "fixed": fixed, "moving": moving})
        structures = [structure for asked, structure in dice if asked == ALL]
        for asked in structures:
            losses = [dice[ALL, other] - dice[asked, other] for other in structures if other != asked]
            found.append(Change(name, asked, persons, dice[asked, asked] - dice[ALL, asked], tables.mean(losses)))
    return found


def estimate(of: Sequence[Change], values: Sequence[float]) -> Estimate:
    """Mean over structures of the means over pairs; a structure of two sets counts once in each."""
    groups = [(change.set, change.structure) for change in of]
    return bootstrap_over_persons(values, [change.persons for change in of], groups=groups, strata=[change.set for change in of])


def judged(rows: Sequence[Row]) -> Verdict:
    """The claim, and a table a set."""
    found = changes(rows)
    per_structure: dict[tuple[str, str], list[Change]] = defaultdict(list)
    for change in found:
        per_structure[change.set, change.structure].append(change)
    gains = {key: tables.mean([change.gain for change in of]) for key, of in per_structure.items()}
    estimates = {key: estimate(of, [change.gain for change in of]) for key, of in per_structure.items()}
    adjusted = dict(zip(estimates, holm([one.p for one in estimates.values()]), strict=True))
    tables.print_table(
        ("set", "structure", "pairs", "gain [95 %]", "p (Holm)", "others' loss"),
        [
            (*key, len(of), tables.shown(estimates[key]), adjusted[key], tables.mean([c.loss for c in of if not math.isnan(c.loss)]))
            for key, of in per_structure.items()
        ],
    )
    whole = estimate(found, [change.gain for change in found])
    with_others = [change for change in found if not math.isnan(change.loss)]
    loss = estimate(with_others, [change.loss for change in with_others])
    positive = sum(gain > 0 for gain in gains.values())
    share = positive / len(gains)
    lines = [
        f"mean gain {tables.shown(whole)} over {len(gains)} structures and {whole.persons} persons "
        f"(asked for: >= {LEAST_GAIN}, low end above 0)",
        f"positive for {positive} of {len(gains)} structures, {share:.0%} (asked for: >= {LEAST_SHARE:.0%})",
        f"the others lose {tables.shown(loss)} on average (asked for: <= {MOST_LOSS})",
        *_per_set(found),
        f"SDlogJ inside the labels: {_roughness(rows, False):.3f} when one is asked for, {_roughness(rows, True):.3f} when all are",
        _together(rows, gains),
    ]
    # Of too few persons there is no interval, and NaN contradicts nothing.
    holds = whole.mean >= LEAST_GAIN and not whole.low <= 0 and share >= LEAST_SHARE and loss.mean <= MOST_LOSS
    whole_lists, told = tables.scale(rows)
    return Verdict("Claim 3, control by anatomy", tables.overall(holds, whole_lists), (*lines, told))


def _roughness(rows: Sequence[Row], everything: bool) -> float:
    return tables.mean([float(row["sdlogj"]) for row in rows if (row["asked"] == ALL) is everything])


def _together(rows: Sequence[Row], gains: dict[tuple[str, str], float]) -> str:
    """The point on pairs of structures that were never asked for together."""
    base = {(row["set"], row["fixed"], row["moving"], row["structure"]): float(row["dice"]) for row in rows if row["asked"] == ALL}
    own = [row for row in rows if "+" in row["asked"] and row["structure"] in row["asked"].split("+")]
    if not own:
        return "pairs never asked for together: not measured (these weights were trained without withholding any)"
    joint = tables.mean([float(row["dice"]) - base[row["set"], row["fixed"], row["moving"], row["structure"]] for row in own])
    alone = tables.mean([gains[row["set"], row["structure"]] for row in own])
    part = f"{joint / alone:.0%} of the single gains" if alone > 0 else "no single gain to compare with"
    return f"pairs never asked for together: mean gain {joint:+.4f}, alone {alone:+.4f}: {part} (aim: >= {LEAST_TOGETHER:.0%})"


def _per_set(found: Sequence[Change]) -> list[str]:
    lines = []
    for name in dict.fromkeys(change.set for change in found):
        own = [change for change in found if change.set == name]
        lines.append(f"{name}: mean gain {tables.shown(estimate(own, [change.gain for change in own]))}")
    return lines


def matrix(rows: Sequence[Row], name: str) -> tuple[list[str], FloatArray]:
    """Structures of a set, and mean Dice(column | ask row) - Dice(column | ask all)."""
    values: dict[tuple[str, str], dict[tuple[str, str], float]] = defaultdict(dict)
    for row in rows:
        if row["set"] == name:
            values[row["fixed"], row["moving"]][row["asked"], row["structure"]] = float(row["dice"])
    structures = list(dict.fromkeys(row["structure"] for row in rows if row["set"] == name))
    table = np.full((len(structures), len(structures)), np.nan)
    for i, asked in enumerate(structures):
        for j, structure in enumerate(structures):
            pairs = [dice[asked, structure] - dice[ALL, structure] for dice in values.values() if (asked, structure) in dice]
            table[i, j] = tables.mean(pairs)
    return structures, table


def draw(rows: Sequence[Row], path: Path) -> None:
    """The whole matrix of each set, one colour scale for all."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = {name: matrix(rows, name) for name in dict.fromkeys(row["set"] for row in rows)}
    most = max([0.01, *(float(np.nanmax(np.abs(table))) for _, table in found.values())])
    figure, axes = plt.subplots(1, len(found), figsize=(5 * len(found), 4.6), squeeze=False, layout="constrained")
    for axis, (name, (structures, table)) in zip(axes[0], found.items(), strict=True):
        shown = axis.imshow(table, cmap="RdBu", vmin=-most, vmax=most)
        axis.set(title=name, ylabel="asked for", xlabel="Dice of")
        axis.set_xticks(range(len(structures)), structures, rotation=90, fontsize=7)
        axis.set_yticks(range(len(structures)), structures, fontsize=7)
    figure.colorbar(shown, ax=axes[0].tolist(), label="Dice less that when all are asked for", shrink=0.8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(words: Sequence[str] | None = None) -> int:
    """Measure if asked to, then judge."""
    chosen = tables.measuring_arguments(__doc__, "anatomy").parse_args(words)
    if chosen.measure:
        bench.use_threads(chosen.threads)
        measure(bench.load_judge(chosen.weights), chosen.data, chosen.sets, chosen.cache, chosen.results, chosen.limit)
    rows = tables.read_rows(chosen.results)
    verdict = judged(rows) if rows else None
    picture = chosen.plot or chosen.results.with_suffix(".png")
    return tables.finish(verdict, chosen.results, "--measure", lambda path: draw(rows, path), picture)


if __name__ == "__main__":
    sys.exit(main())
