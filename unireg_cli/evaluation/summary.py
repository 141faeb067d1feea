"""Means over pairs with intervals over persons, and the difference of two evaluations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from unireg_cli.errors import InputError
from unireg_cli.evaluation.statistics import bootstrap_columns, bootstrap_over_persons, holm, paired_test
from unireg_cli.evaluation.tables import METRICS, finite, key

Rows = Sequence[Mapping[str, Any]]


def persons_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The persons of a row, from the table's one cell."""
    return tuple(str(row["persons"]).split(";"))


def summarise(rows: Rows, structures: Rows, *, draws: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Counts, failures, and means with 95 % intervals of every metric and of every structure."""
    done = [row for row in rows if row["status"] == "done"]
    failures = [{name: row[name] for name in ("fixed", "moving", "error")} for row in rows if row["status"] != "done"]
    columns: dict[str, dict[tuple[str, str], float]] = {}
    for row in done:
        for name in METRICS:
            if finite(row.get(name)):
                columns.setdefault(name, {})[key(row)] = float(row[name])
    names: dict[tuple[str, str], tuple[str, str]] = {}
    for row in structures:
        for metric in ("dice", "hd95", "assd"):
            if finite(row.get(metric)):
                names[f"{row['name']}", metric] = (str(row["name"]), metric)
                columns.setdefault(f"{row['name']}\n{metric}", {})[key(row)] = float(row[metric])
    means = _intervals(done, columns, draws, seed)
    parts: dict[str, dict[str, Any]] = {}
    for name, metric in names.values():
        parts.setdefault(name, {})[metric] = means[f"{name}\n{metric}"]
    return {
        "pairs": len(rows),
        "done": len(done),
        "failed": len(failures),
        "persons": len({person for row in done for person in persons_of(row)}),
        "lost_structures": int(sum(float(row.get("lost") or 0) for row in done)),
        "draws": draws,
        "metrics": {name: means[name] for name in METRICS if name in means},
        "structures": parts,
        "failures": failures,
    }


def _intervals(done: Rows, columns: Mapping[str, Mapping[tuple[str, str], float]], draws: int, seed: int) -> dict[str, dict[str, Any]]:
    if not done or not columns:
        return {}
    table = np.array([[values.get(key(row), np.nan) for values in columns.values()] for row in done])
    estimates = bootstrap_columns(table, [persons_of(row) for row in done], draws=draws, seed=seed)
    return {
        name: {**asdict(one), "pairs": int(np.isfinite(table[:, n]).sum()), "median": float(np.nanmedian(table[:, n]))}
        for n, (name, one) in enumerate(zip(columns, estimates, strict=True))
    }


def compare(first: Rows, second: Rows, *, names: tuple[str, str] = ("A", "B"), draws: int = 4000, seed: int = 0) -> dict[str, Any]:
    """Paired differences second - first over the pairs that both have finished, metric by metric.

    ``p`` is the bootstrap's over persons, ``p_holm`` corrected for the metrics; ``p_wilcoxon`` is given where no two pairs share a person.

    Raises:
        InputError: no pair that both have finished.
    """
    a, b = ({key(row): row for row in rows if row["status"] == "done"} for rows in (first, second))
    common = [pair for pair in a if pair in b]
    if not common:
        raise InputError(f"no pair is finished in both {names[0]} and {names[1]}; compare tables of the same data set")
    owners = Counter(person for pair in common for person in set(persons_of(a[pair])))
    independent = max(owners.values()) == 1
    found: dict[str, dict[str, Any]] = {}
    for metric in METRICS:
        pairs = [pair for pair in common if finite(a[pair].get(metric)) and finite(b[pair].get(metric))]
        if not pairs:
            continue
        one, two = (np.array([float(rows[pair][metric]) for pair in pairs]) for rows in (a, b))
        estimate = bootstrap_over_persons((two - one).tolist(), [persons_of(a[pair]) for pair in pairs], draws=draws, seed=seed)
        wilcoxon = paired_test(two.tolist(), one.tolist()) if independent else None
        found[metric] = {"pairs": len(pairs), "first": one.mean(), "second": two.mean(), **asdict(estimate), "p_wilcoxon": wilcoxon}
    for entry, corrected in zip(found.values(), holm([entry["p"] for entry in found.values()]), strict=True):
        entry["p_holm"] = corrected
    left_out = len(set(a) ^ set(b)) + len({key(row) for rows in (first, second) for row in rows if row["status"] != "done"})
    return {"first": names[0], "second": names[1], "pairs": len(common), "left_out": left_out, "independent": independent, "metrics": found}
