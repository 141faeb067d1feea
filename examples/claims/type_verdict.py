"""Claim 4 from its rows: differences between the types, pair by pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import tables
from tables import Row, Verdict

from unireg_cli.evaluation.statistics import Estimate, bootstrap_over_persons, holm

LINE = ("liver", "intra")
METHODS = ("network", "default")
INTER, INTRA, AS_ROUGH = ("network", "", "inter"), ("network", "", "intra"), ("as rough", "", "inter")
_NOTHING = Estimate(math.nan, math.nan, math.nan, math.nan, 0)


def judged(rows: Sequence[Row]) -> Verdict:
    """The claim, and its three tables."""
    sets = list(dict.fromkeys(row["set"] for row in rows if row["kind"] == "known"))
    errors = {name: contrast(_of(rows, "known", name), "tre", INTRA, INTER) for name in sets}
    _print_known(rows, errors)
    pooled = contrast(_of(rows, "known"), "tre", INTRA, INTER)
    hearts = _of(rows, "real")
    own, real = (contrast(hearts, "dice", INTRA, other) for other in (INTER, AS_ROUGH))
    line = {method: contrast(_of(rows, "line"), "tre_liver", (method, *LINE), (method, "", "inter")) for method in METHODS}
    _print_line(rows)
    below = sum(estimate.mean < 0 for estimate in errors.values())
    real_pairs = len({row["fixed"] for row in hearts if row["method"] == AS_ROUGH[0]})
    ways = {"intra": INTRA, "inter": INTER, "inter as rough": AS_ROUGH}
    rough = ", ".join(f"{word} {_mean(hearts, 'sdlogj', way):.3f}" for word, way in ways.items())
    # What was not measured is NaN, and NaN contradicts nothing.
    fails = pooled.mean >= 0 or pooled.high >= 0 or below < len(sets) or real.mean < 0 or line["default"].mean >= 0
    whole = set(sets) == set(tables.SETS) and real_pairs >= tables.PAIRS["cardiac_mr"] and line["default"].persons > 0
    lines = (
        f"synthetic intra pairs, network only: error intra - inter {tables.shown(pooled, 3)} mm (claimed below 0); below 0 on {below} of "
        f"{len(sets)} sets" + ("" if set(sets) == set(tables.SETS) else f", {len(tables.SETS) - len(sets)} not measured"),
        f"real ED/ES hearts, network only: Dice intra - inter {_told(real, 4)} where both are equally rough (claimed >= 0)",
        f"  each at its own smoothness: {_told(own, 4)}; SDlogJ {rough}",
        f"owner's line, network only: error inside the liver, liver/intra - all/inter {_told(line['network'], 3)} mm",
        f"owner's line, as the tool runs by default: {_told(line['default'], 3)} mm (claimed below 0)",
        f"{len({(row['set'], row['fixed'], row['moving']) for row in rows if row['kind'] == 'known'})} synthetic pairs, "
        f"{real_pairs} real ones of {tables.PAIRS['cardiac_mr']}",
    )
    return Verdict("Claim 4, control by type", tables.overall(not fails, whole), lines)


def _told(estimate: Estimate, digits: int) -> str:
    return tables.shown(estimate, digits) if estimate.persons else "not measured"


def _of(rows: Sequence[Row], kind: str, set_name: str | None = None) -> list[Row]:
    return [row for row in rows if row["kind"] == kind and set_name in (None, row["set"])]


def contrast(rows: Sequence[Row], column: str, one: tuple[str, str, str], other: tuple[str, str, str]) -> Estimate:
    """Mean over sets of the difference of a column between two ways (method, anatomy, mode) on the same pairs."""
    found: dict[tuple[str, str, str], dict[tuple[str, str, str], float]] = {}
    for row in rows:
        if row[column]:
            key = (row["set"], row["fixed"], row["moving"])
            found.setdefault(key, {})[row["method"], row["anatomy"], row["mode"]] = float(row[column])
    both = {key: of[one] - of[other] for key, of in found.items() if one in of and other in of}
    if not both:
        return _NOTHING
    # The second image of a synthetic pair is of the same person as the first.
    persons = [(tables.person_of(name, fixed),) for name, fixed, _ in both]
    names = [name for name, _, _ in both]
    return bootstrap_over_persons(list(both.values()), persons, groups=names, strata=names)


def _mean(rows: Sequence[Row], column: str, way: tuple[str, str, str]) -> float:
    return tables.mean([float(row[column]) for row in rows if (row["method"], row["anatomy"], row["mode"]) == way and row[column]])


def _print_known(rows: Sequence[Row], errors: dict[str, Estimate]) -> None:
    corrected = dict(zip(errors, holm([estimate.p for estimate in errors.values()]), strict=True))
    lines = []
    for name, estimate in errors.items():
        own = _of(rows, "known", name)
        ways = (("affine", "", ""), INTER, INTRA)
        rough = [_mean(own, "sdlogj", way) for way in ways[1:]]
        lines.append((name, *(_mean(own, "tre", way) for way in ways), tables.shown(estimate, 3), f"{corrected[name]:.3f}", *rough))
    heads = ("synthetic pairs, error mm", "affine", "inter", "intra", "intra - inter", "p (Holm)", "SDlogJ inter", "SDlogJ intra")
    tables.print_table(heads, lines)


def _print_line(rows: Sequence[Row]) -> None:
    own = _of(rows, "line")
    ways = list(dict.fromkeys((row["method"], row["anatomy"], row["mode"]) for row in own))
    lines = []
    for method, anatomy, mode in ways:
        numbers = [_mean(own, column, (method, anatomy, mode)) for column in ("tre_liver", "tre", "dice_liver", "dice")]
        lines.append((" ".join((method, anatomy or ("all" if mode else ""), mode)).strip(), *numbers))
    tables.print_table(("breathing abdomen CT", "error in the liver, mm", "error, mm", "liver Dice", "Dice"), lines)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Error under intra against error under inter, a dot a pair; the real pairs' Dice; the owner's line."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for axis, kind, column in ((axes[0], "known", "tre"), (axes[1], "real", "dice")):
        for name in dict.fromkeys(row["set"] for row in _of(rows, kind)):
            values: dict[tuple[str, str], dict[str, float]] = {}
            for row in _of(rows, kind, name):
                # Of real pairs the equally rough ones.
                if kind == "real" and (row["method"], "", row["mode"]) == INTER:
                    continue
                values.setdefault((row["fixed"], row["moving"]), {})[row["mode"]] = float(row[column])
            points = [(of["inter"], of["intra"]) for of in values.values() if {"inter", "intra"} <= of.keys()]
            if points:
                axis.plot(*zip(*points, strict=True), ".", label=name)
        low, high = axis.get_xlim()
        axis.plot((low, high), (low, high), "k-", linewidth=0.5)
        axis.set(xlabel="inter", ylabel="intra")
        if len(axis.lines) > 1:
            axis.legend(fontsize=7)
    axes[0].set_title("synthetic intra pairs: error, mm")
    axes[1].set_title("real hearts, ED/ES: Dice where equally rough")
    line = _of(rows, "line")
    ways = list(dict.fromkeys((row["method"], row["anatomy"], row["mode"]) for row in line))
    axes[2].barh([" ".join(word for word in way if word) for way in ways], [_mean(line, "tre_liver", way) for way in ways])
    axes[2].set_title("breathing CT: error in the liver, mm")
    figure.savefig(path, dpi=110)
    plt.close(figure)
