"""How sure a mean over pairs is when pairs share persons, and what is left of several comparisons. Pure numpy and scipy, no files."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from unireg_cli.types import AnyArray, FloatArray

# Draws at once: bounds the weights to about 50 MB for a thousand rows.
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its interval from resampled persons; ``p`` is two-sided, against a mean of 0.

    ``low``, ``high`` and ``p`` are NaN where the persons are too few to say (one alone, or one pair).
    """

    mean: float
    low: float
    high: float
    p: float
    persons: int


def bootstrap_over_persons(
    values: Sequence[float],
    persons: Sequence[Sequence[str]],
    *,
    groups: Sequence[Hashable] | None = None,
    strata: Sequence[Hashable] | None = None,
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
) -> Estimate:
    """Mean of rows and its percentile interval, resampling persons and not rows.

    A row counts as often as the product of the draws of its persons: a pair of two people is only there when both are. That is
    wider than resampling pairs, which would count a person of many pairs many times.

    Args:
        values: one number a row.
        persons: the person or persons of each row.
        groups: the statistic is the mean over groups of each group's mean; default: all rows are one group.
        strata: persons are exchanged only with others of their stratum, for instance their data set.
        level: of the interval.
        draws: how many.
        seed: of the draws.

    Raises:
        ValueError: no rows, lists of different lengths, a number that is not finite, or a person in two strata.
    """
    numbers = np.asarray(values, np.float64)
    lists = [given for given in (persons, groups, strata) if given is not None]
    if not len(numbers) or any(len(given) != len(numbers) for given in lists):
        raise ValueError("values, persons, groups and strata need one entry for each of at least one row")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{int((~np.isfinite(numbers)).sum())} of {len(numbers)} values are not finite")
    member, blocks = _members(persons, strata or [0] * len(numbers))
    of_group = _one_hot(groups or [0] * len(numbers))
    mean = float(_grouped_means(np.ones((1, len(numbers))), numbers, of_group)[0])
    # What is the same in every draw has no spread that could be seen: one pair, or one person.
    if len({frozenset(own) for own in persons}) <= len(blocks) or max(map(len, blocks)) < 2:
        return Estimate(mean, np.nan, np.nan, np.nan, member.shape[1])
    random = np.random.default_rng(seed)
    means = np.concatenate(
        [
            _grouped_means(_row_weights(_draw(blocks, member.shape[1], min(_CHUNK, draws - start), random), member), numbers, of_group)
            for start in range(0, draws, _CHUNK)
        ]
    )
    means = means[np.isfinite(means)]
    if not len(means):
        return Estimate(mean, np.nan, np.nan, np.nan, member.shape[1])
    low, high = np.percentile(means, (50 * (1 - level), 50 * (1 + level)))
    # One is added above and below: no number of draws shows that something never happens.
    tail = min((means <= 0).sum(), (means >= 0).sum())
    return Estimate(mean, float(low), float(high), float(min(1.0, 2 * (tail + 1) / (len(means) + 1))), member.shape[1])


def bootstrap_columns(
    table: FloatArray, persons: Sequence[Sequence[str]], *, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> list[Estimate]:
    """As :func:`bootstrap_over_persons` for every column of a table (rows, columns), all from the same draws.

    A cell that is NaN is not there: the column's mean is over the others, its persons are theirs.

    Raises:
        ValueError: no rows, rows and persons of different numbers, or a column without a number.
    """
    values = np.asarray(table, np.float64)
    there = np.isfinite(values)
    if values.ndim != 2 or not len(values) or len(persons) != len(values) or not there.any(axis=0).all():
        raise ValueError("a table needs at least one row, persons for each row, and a number in each column")
    member, blocks = _members(persons, [0] * len(values))
    weights = _row_weights(_draw(blocks, member.shape[1], draws, np.random.default_rng(seed)), member)
    total, weight = weights @ np.where(there, values, 0.0), weights @ there
    means = np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)
    return [_estimate(values[own, n], [persons[row] for row in np.flatnonzero(own)], means[:, n], level) for n, own in enumerate(there.T)]


def _estimate(values: FloatArray, persons: Sequence[Sequence[str]], means: FloatArray, level: float) -> Estimate:
    count = len({person for own in persons for person in own})
    means = means[np.isfinite(means)]
    if len({frozenset(own) for own in persons}) < 2 or not len(means):
        return Estimate(float(values.mean()), np.nan, np.nan, np.nan, count)
    low, high = np.percentile(means, (50 * (1 - level), 50 * (1 + level)))
    tail = min((means <= 0).sum(), (means >= 0).sum())
    return Estimate(float(values.mean()), float(low), float(high), float(min(1.0, 2 * (tail + 1) / (len(means) + 1))), count)


def _members(persons: Sequence[Sequence[str]], strata: Sequence[Hashable]) -> tuple[AnyArray, list[list[int]]]:
    """(rows, persons) bool, and the columns of each stratum."""
    columns: dict[str, int] = {}
    home: dict[str, Hashable] = {}
    for own, stratum in zip(persons, strata, strict=True):
        if not own:
            raise ValueError("a row has no person")
        for person in own:
            columns.setdefault(person, len(columns))
            if home.setdefault(person, stratum) != stratum:
                raise ValueError(f"person {person!r} is in the strata {home[person]!r} and {stratum!r}")
    member = np.zeros((len(persons), len(columns)), bool)
    for row, own in enumerate(persons):
        member[row, [columns[person] for person in own]] = True
    blocks: dict[Hashable, list[int]] = {}
    for person, column in columns.items():
        blocks.setdefault(home[person], []).append(column)
    return member, list(blocks.values())


def _draw(blocks: Sequence[Sequence[int]], persons: int, draws: int, random: np.random.Generator) -> AnyArray:
    """How often each person is drawn: (draws, persons)."""
    counts = np.zeros((draws, persons))
    for block in blocks:
        counts[:, block] = random.multinomial(len(block), np.full(len(block), 1 / len(block)), size=draws)
    return counts


def _row_weights(counts: AnyArray, member: AnyArray) -> AnyArray:
    """Product of the counts of each row's persons: (draws, rows)."""
    weights = np.ones((len(counts), len(member)))
    for row, own in enumerate(member):
        for column in np.flatnonzero(own):
            weights[:, row] *= counts[:, column]
    return weights


def _one_hot(groups: Sequence[Hashable]) -> FloatArray:
    order = {group: column for column, group in enumerate(dict.fromkeys(groups))}
    table = np.zeros((len(groups), len(order)))
    table[np.arange(len(groups)), [order[group] for group in groups]] = 1
    return table


def _grouped_means(weights: AnyArray, values: FloatArray, of_group: FloatArray) -> FloatArray:
    """Mean over groups of weighted means (draws,); groups that nobody was drawn for are left out, NaN if that is all of them."""
    total, weight = (weights * values) @ of_group, weights @ of_group
    there = weight > 0
    means = np.divide(total, weight, out=np.zeros_like(total), where=there).sum(axis=1)
    count = there.sum(axis=1)
    result: FloatArray = np.divide(means, count, out=np.full(len(means), np.nan), where=count > 0)
    return result


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for several comparisons, in the order given; NaN stays NaN and is not counted.

    Source:
        S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    given = np.asarray(p_values, np.float64)
    known = np.flatnonzero(~np.isnan(given))
    adjusted = np.full(len(given), np.nan)
    order = known[np.argsort(given[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(given[order] * factors))
    return [float(p) for p in adjusted]


def paired_test(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test on the differences of paired numbers, which must not share persons.

    Where they do, use the ``p`` of :func:`bootstrap_over_persons` on the differences. 1 if all differences are 0.

    Raises:
        ValueError: lists of different lengths, or none.
    """
    from scipy.stats import wilcoxon

    if len(first) != len(second) or not len(first):
        raise ValueError(f"paired lists have one length above 0, found {len(first)} and {len(second)}")
    # Rounded, because 0.3 - 0.2 and 0.2 - 0.1 are one rank.
    differences = np.round(np.asarray(first, np.float64) - np.asarray(second, np.float64), 12)
    return 1.0 if not differences.any() else float(wilcoxon(differences).pvalue)


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Rank correlation; NaN if one of the two is constant.

    Raises:
        ValueError: lists of different lengths, or fewer than two numbers.
    """
    from scipy.stats import rankdata

    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"a correlation needs two lists of one length above 1, found {len(first)} and {len(second)}")
    a, b = (rankdata(values) - (len(first) + 1) / 2 for values in (first, second))
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread > 0 else float("nan")
