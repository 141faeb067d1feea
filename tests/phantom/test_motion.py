"""The true deformation: its inverse, its derivative, its limits."""

from __future__ import annotations

import numpy as np
import pytest

from unireg_cli.errors import UsageError
from unireg_cli.phantom.motion import Motion
from unireg_cli.spatial import Affine


def _points(count: int = 500) -> np.ndarray:
    return np.random.default_rng(0).uniform((-170, -110, -160), (170, 110, 200), (count, 3))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("amount", [0.3, 1.0, 1.5])
def test_inverse_undoes_the_map_both_ways(seed: int, amount: float) -> None:
    motion = Motion.random(seed, amount)
    points = _points()
    assert np.abs(motion.invert(motion.map(points)) - points).max() < 1e-5
    assert np.abs(motion.map(motion.invert(points)) - points).max() < 1e-5


def test_one_bump_by_hand() -> None:
    motion = Motion(Affine.from_parts(np.eye(3), np.array([1.0, 0, 0])), np.zeros((1, 3)), np.full((1, 3), 10.0), np.array([[0.0, 4.0, 0]]))
    # At the centre the whole shift, one width away exp(-1/2) of it, far away only the affine.
    mapped = motion.map(np.array([[0.0, 0, 0], [10.0, 0, 0], [0, 0, 200.0]]))
    np.testing.assert_allclose(mapped, [[1, 4, 0], [11, 4 * np.exp(-0.5), 0], [1, 0, 200]], atol=1e-12)
    assert motion.slope_bound == pytest.approx(0.4 * np.exp(-0.5))


@pytest.mark.parametrize("seed", range(6))
def test_nowhere_folds(seed: int) -> None:
    motion, points, step = Motion.random(seed, 1.5), _points(3000), 0.01
    columns = [(motion.map(points + step * axis) - motion.map(points - step * axis)) / (2 * step) for axis in np.eye(3)]
    assert np.linalg.det(np.stack(columns, axis=-1)).min() > 0.2


def test_amount_scales_the_motion_down_to_nothing() -> None:
    points = _points()
    np.testing.assert_array_equal(Motion.random(1, 0.0).displacement(points), 0)
    assert np.abs(Motion.random(1, 0.0).map(points) - points).max() < 1e-12
    small, large = (np.abs(Motion.random(1, amount).map(points) - points).mean() for amount in (0.5, 1.0))
    assert 0.4 * large < small < 0.6 * large


def test_breathing_moves_the_liver_down_more_than_the_loins() -> None:
    dome, loins = Motion.random(0).displacement(np.array([[-60.0, -25, 40], [0, 60, -150]]))
    assert dome[2] < -8 and abs(loins[2]) < 6


def test_a_motion_that_might_fold_is_refused() -> None:
    with pytest.raises(UsageError, match="might fold"):
        Motion.random(0, 4.0)
