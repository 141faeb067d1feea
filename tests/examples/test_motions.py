"""Known motions: what they move by hand, that nothing folds, and that the truth undoes them."""

from __future__ import annotations

import motions
import numpy as np
import pytest

from unireg_cli.spatial import Affine

_CENTER, _REACH = np.array([20.0, -30.0, 10.0]), np.array([300.0, 280.0, 260.0])


def _made(kind: str, seed: int) -> motions.Motion:
    random = np.random.default_rng(seed)
    if kind == "breathing":
        return motions.breathing(_CENTER, _REACH, random)
    if kind == "beating":
        return motions.beating(_CENTER, 35.0, np.array([0.0, 0.0, 1.0]), random)
    return motions.head(_CENTER, _REACH * 0.6 if kind == "head" else np.array([35.0, 50.0, 32.0]), random)


@pytest.mark.parametrize("kind", ["breathing", "beating", "head", "crop"])
@pytest.mark.parametrize("seed", range(5))
def test_truth_undoes_the_motion_and_nothing_folds(kind: str, seed: int) -> None:
    motion = _made(kind, seed)
    points = _CENTER + np.random.default_rng(9).uniform(-0.5, 0.5, (2000, 3)) * _REACH
    assert np.abs(motion.fixed_from_moving(motion.moving_from_fixed(points)) - points).max() < 1e-5
    step = 0.01
    columns = [(motion.fixed_from_moving(points + step * e) - motion.fixed_from_moving(points - step * e)) / (2 * step) for e in np.eye(3)]
    slopes = np.stack(columns, axis=-1)
    assert np.linalg.det(slopes).min() > 0.2
    # The bound holds: the rigid part keeps lengths, so the rest is the slope of the bumps.
    rest = motion.rigid.invert().matrix[:3, :3] @ slopes - np.eye(3)
    assert np.linalg.norm(rest, ord=2, axis=(1, 2)).max() <= motion.steepness + 1e-6


def test_bump_by_hand() -> None:
    push = motions.Bump(np.zeros(3), np.full(3, 10.0), np.array([0.0, 0.0, 4.0]), np.zeros(3))
    np.testing.assert_allclose(push.at(np.array([[0.0, 0, 0], [10.0, 0, 0]])), [[0, 0, 4], [0, 0, 4 * np.exp(-0.5)]])
    assert push.steepness == pytest.approx(0.4 * np.exp(-0.5))
    grow = motions.Bump(np.zeros(3), np.full(3, 10.0), np.zeros(3), np.full(3, 0.2))
    np.testing.assert_allclose(grow.at(np.array([[10.0, 0, 0]])), [[2 * np.exp(-0.5), 0, 0]])
    with pytest.raises(ValueError, match="might fold"):
        motions.Motion(Affine.identity(), (motions.Bump(np.zeros(3), np.full(3, 5.0), np.array([0.0, 0.0, 9.0]), np.zeros(3)),))


@pytest.mark.parametrize("seed", range(4))
def test_breath_moves_down_most_at_the_diaphragm_and_compresses_below(seed: int) -> None:
    motion = _made("breathing", seed)
    motion = motions.Motion(Affine.identity(), motion.bumps)
    line = motion.bumps[0].center + np.outer(np.linspace(0, -150, 31), [0, 0, 1.0])
    moved = motion.moving_from_fixed(line) - line
    # LPS: down is towards the feet, -z. The dome goes deepest, the pelvis stays.
    assert -17 < moved[0, 2] < -6
    assert moved[:, 2].argmin() <= 4
    assert abs(moved[-1, 2]) < 0.2 * abs(moved[0, 2])
    lengths = np.diff((line + moved)[:, 2]) / np.diff(line[:, 2])
    # Shorter than before somewhere below the dome.
    assert lengths.min() < 0.9


@pytest.mark.parametrize("seed", range(4))
def test_systole_shrinks_the_ventricle_more_across_than_along(seed: int) -> None:
    motion = motions.Motion(Affine.identity(), _made("beating", seed).bumps[:1])
    wall = _CENTER + np.array([[20.0, 0, 0], [0, 20.0, 0], [0, 0, 20.0]])
    radii = np.linalg.norm(motion.moving_from_fixed(wall) - _CENTER, axis=1)
    assert (radii[:2] < 18.5).all() and (radii[:2] < radii[2]).all() and radii[2] < 20
