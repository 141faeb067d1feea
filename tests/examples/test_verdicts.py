"""Numbers of claims 3 and 5 from made-up rows, derived by hand."""

from __future__ import annotations

from pathlib import Path

import anatomy
import numpy as np
import pytest
import smoothness
import tables

_ORGANS = ("liver", "spleen", "pancreas")


def _pairs(name: str) -> list[tuple[str, str]]:
    """A ring: every scan in two pairs."""
    count = tables.PAIRS[name]
    return [(f"scan{k}", f"scan{(k + 1) % count}") for k in range(count)]


def test_anatomy_gain_and_loss_of_one_pair_by_hand() -> None:
    dice = {"all": (0.5, 0.6, 0.7), "liver": (0.6, 0.5, 0.7), "spleen": (0.4, 0.65, 0.7), "pancreas": (0.5, 0.6, 0.9)}
    rows = [
        {"set": "abdomen_ct", "fixed": "a", "moving": "b", "asked": asked, "structure": structure, "dice": str(value)}
        for asked, values in dice.items()
        for structure, value in zip(_ORGANS, values, strict=True)
    ]
    found = {change.structure: change for change in anatomy.changes(rows)}
    assert found["liver"].gain == pytest.approx(0.1) and found["liver"].loss == pytest.approx((0.1 + 0.0) / 2)
    assert found["spleen"].gain == pytest.approx(0.05) and found["spleen"].loss == pytest.approx((0.1 + 0.0) / 2)
    assert found["pancreas"].gain == pytest.approx(0.2) and found["pancreas"].loss == pytest.approx(0.0)
    assert found["liver"].persons == ("abdomen_ct/a", "abdomen_ct/b")
    names, table = anatomy.matrix(rows, "abdomen_ct")
    assert names == ["liver", "spleen", "pancreas"]
    np.testing.assert_allclose(table, [[0.1, -0.1, 0], [-0.1, 0.05, 0], [0, 0, 0.2]], atol=1e-12)


def _smoothness_rows(rough: list[float]) -> list[tables.Row]:
    return [
        {"set": name, "fixed": fixed, "moving": moving, "smoothness": str(value), "sdlogj": str(sdlogj)}
        for name in tables.SETS
        for fixed, moving in _pairs(name)
        for value, sdlogj in zip(smoothness.VALUES, rough, strict=True)
    ]


@pytest.mark.parametrize(
    ("rough", "holds"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4, 0.35, 0.3], True),
        # One exchange of neighbours: Spearman 1 - 6 x 2 / (9 x 80) = 0.983.
        ([0.8, 0.9, 0.7, 0.6, 0.5, 0.45, 0.4, 0.35, 0.2], True),
        # Monotonic, but of half the range.
        ([0.9, 0.8, 0.7, 0.69, 0.68, 0.67, 0.66, 0.65, 0.6], False),
        # Of the whole range, but the first half rises.
        ([0.5, 0.6, 0.7, 0.8, 0.9, 0.4, 0.3, 0.2, 0.1], False),
    ],
)
def test_smoothness_claim_needs_order_and_range(rough: list[float], holds: bool) -> None:
    assert smoothness.judged(_smoothness_rows(rough)).holds is holds


def test_smoothness_claim_fails_by_a_single_pair() -> None:
    rows = _smoothness_rows([0.9, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4, 0.35, 0.2])
    rows[8]["sdlogj"] = "0.31"
    verdict = smoothness.judged(rows)
    assert verdict.holds is False and "on 47 of 48 pairs" in verdict.lines[1]


def test_rows_of_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    tables.append_rows(path, ("weights", "dice"), [{"weights": "one", "dice": 0.25}])
    assert tables.of_weights(tables.read_rows(path), "one", path) == [{"weights": "one", "dice": "0.25"}]
    with pytest.raises(tables.UsageError, match="other weights"):
        tables.of_weights(tables.read_rows(path), "two", path)
    with pytest.raises(tables.InputError, match="expected the columns"):
        tables.append_rows(path, ("weights", "sdlogj"), [])
