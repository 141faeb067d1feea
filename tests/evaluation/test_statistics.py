"""Intervals over persons, Holm's correction and rank correlation, against numbers derived by hand or by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from unireg_cli.evaluation.statistics import bootstrap_over_persons, holm, paired_test, spearman


def test_rows_of_their_own_persons_give_the_plain_bootstrap() -> None:
    values = np.random.default_rng(1).normal(0.5, 1, 40)
    found = bootstrap_over_persons(values.tolist(), [[str(n)] for n in range(40)], draws=20_000)
    oracle = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)).confidence_interval
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=0.02)
    assert found.persons == 40


def test_pairs_that_share_persons_say_less() -> None:
    # Twelve rows of one person are one observation: with three persons the mean is as uncertain as a mean of three numbers.
    values = [0.0] * 12 + [1.0] * 12 + [2.0] * 12
    shared = bootstrap_over_persons(values, [[str(n // 12)] for n in range(36)])
    apart = bootstrap_over_persons(values, [[str(n)] for n in range(36)])
    assert (shared.low, shared.high) == (0.0, 2.0)
    assert apart.high - apart.low < 0.6


def test_a_pair_counts_by_both_of_its_persons() -> None:
    # Of a, b and c, a draw holds the pair ab only if it holds both; ab + bc alone when b stands twice: never below the least value.
    three = bootstrap_over_persons([0.0, 0.5, 1.0], [["a", "b"], ["b", "c"], ["c", "a"]])
    assert (three.mean, three.low, three.high) == (0.5, 0.0, 1.0)
    # One pair, and one person however often, say nothing about others.
    for persons in ([["a", "b"], ["b", "a"]], [["a"], ["a"]]):
        alone = bootstrap_over_persons([0.3, 0.4], persons)
        assert alone.mean == pytest.approx(0.35) and np.isnan([alone.low, alone.high, alone.p]).all()


def test_groups_count_alike_and_strata_keep_their_persons() -> None:
    # Three rows of 0 and one of 1: the mean of the two groups' means is a half, whoever is drawn.
    found = bootstrap_over_persons([0, 0, 0, 1], [["a"], ["b"], ["c"], ["d"]], groups=["x", "x", "x", "y"], strata=["x", "x", "x", "y"])
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)
    loose = bootstrap_over_persons([0, 0, 0, 1], [["a"], ["b"], ["c"], ["d"]], groups=["x", "x", "x", "y"])
    assert loose.low == 0.0
    with pytest.raises(ValueError, match="strata"):
        bootstrap_over_persons([0, 1], [["a"], ["a"]], strata=["x", "y"])


def test_p_value_is_small_only_for_what_is_not_zero() -> None:
    random = np.random.default_rng(3)
    persons = [[str(n)] for n in range(30)]
    assert bootstrap_over_persons(random.normal(1, 0.5, 30).tolist(), persons).p == pytest.approx(2 / 4001)
    noise = random.normal(0, 1, 30)
    assert bootstrap_over_persons((noise - noise.mean()).tolist(), persons).p > 0.8


@pytest.mark.parametrize(
    ("values", "persons", "match"),
    [
        ([], [], "at least one row"),
        ([1.0], [["a"], ["b"]], "one entry"),
        ([np.nan, 1.0], [["a"], ["b"]], "1 of 2"),
        ([1.0], [[]], "no person"),
    ],
)
def test_bad_rows_are_refused(values: list[float], persons: list[list[str]], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        bootstrap_over_persons(values, persons)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 = 0.04, 0.06, 0.06, 0.04; never below the one before.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    known, unknown = holm([0.02, float("nan")])
    assert known == 0.02 and np.isnan(unknown)
    assert holm([]) == []


def test_paired_test_is_wilcoxons() -> None:
    first, second = [1.1, 1.2, 1.3, 1.4, 1.5, 1.6], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    # All six differences positive: 2 / 2^6.
    assert paired_test(first, second) == pytest.approx(2 / 64)
    assert paired_test(second, second) == 1.0
    with pytest.raises(ValueError, match="one length"):
        paired_test([1.0], [])


def test_spearman_by_hand_and_by_scipy() -> None:
    assert spearman([1, 2, 3, 4], [10, 20, 40, 30]) == pytest.approx(0.8)
    first, second = [1.0, 2.0, 2.0, 5.0, 4.0], [3.0, 1.0, 1.0, 9.0, 2.0]
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    assert np.isnan(spearman([1, 2, 3], [5, 5, 5]))
