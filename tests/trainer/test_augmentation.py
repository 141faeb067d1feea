"""Random views: how far they go at most, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import polar

from trainer.augmentation import Augmentation, Views, random_affine, random_bend, uniform
from unireg_cli.errors import UsageError
from unireg_cli.spatial import Grid
from unireg_cli.spatial.inverse import invert_index
from unireg_cli.spatial.jacobian import index_determinant
from unireg_cli.spatial.velocity import compose

GRID = Grid.from_arrays((30, 24, 20), (2.0, 2.0, 2.5), (-29.0, -23.0, -24.0), np.eye(3))
SHAPE = (32, 32, 32)
STILL = Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_uniform_numbers_fill_their_range() -> None:
    draw = generator()
    numbers = np.array([uniform(draw, -3, 5) for _ in range(2000)])
    assert numbers.min() >= -3 and numbers.max() < 5
    assert numbers.mean() == pytest.approx(1, abs=0.2) and numbers.std() == pytest.approx(8 / 12**0.5, abs=0.1)


def test_affines_stay_in_their_ranges() -> None:
    middle = np.array([10.0, -20.0, 30.0])
    turns, scales, shifts = [], [], []
    for seed in range(200):
        matrix = random_affine(10, 0.12, 3.0, middle, generator(seed))
        rotation, stretch = polar(matrix[:3, :3])
        turns.append(np.rad2deg(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
        scales.append(np.log(np.diag(stretch)))
        shifts.append(matrix[:3, :3] @ middle + matrix[:3, 3] - middle)
        assert np.allclose(stretch, np.diag(np.diag(stretch)), atol=1e-9) and np.allclose(matrix[3], [0, 0, 0, 1])
    for found, most in ((np.array(turns), 10), (np.abs(scales), 0.12), (np.abs(shifts), 3.0)):
        assert 0.9 * most < found.max() <= most * (1 + 1e-6)


def test_bends_are_as_long_as_they_may_be_and_not_longer() -> None:
    longest = []
    for seed in range(40):
        bend = random_bend((20, 24, 32), 0.05, generator(seed))
        assert bend.shape == (3, 20, 24, 32)
        longest.append(float(bend.square().sum(dim=0).amax()) ** 0.5)
    # A share from a fifth to all of 5 % of the shortest edge.
    assert 0.2 <= min(longest) < 0.35 and 0.85 < max(longest) <= 1.0 + 1e-5


@pytest.mark.parametrize("shape", [SHAPE, (16, 40, 64)])
def test_bends_can_be_inverted(shape: tuple[int, int, int]) -> None:
    for seed in range(20):
        bend = random_bend(shape, 0.05, generator(seed))
        slopes = torch.stack([torch.diff(bend, dim=axis).abs().amax() for axis in (1, 2, 3)])
        assert float(slopes.max()) < 0.5
        assert float(index_determinant(bend).min()) > 0
    # What is left is the interpolation of the inverse, at the kinks where the bend's straight pieces meet.
    loop = compose(invert_index(bend), bend)[:, 3:-3, 3:-3, 3:-3].norm(dim=0)
    assert float(loop.mean()) < 0.02 and float(loop.max()) < 0.2


def test_nothing_asked_for_is_nothing_done() -> None:
    placed = Views(STILL).place(GRID, SHAPE, generator())
    assert np.allclose(placed.fixed, np.eye(4)) and np.allclose(placed.moving, np.eye(4)) and placed.shift is None
    image = torch.rand(4, 4, 4)
    assert Views(STILL).seen(image, generator()) is image


def test_both_images_are_seen_from_one_place_and_the_moving_one_is_jittered() -> None:
    settings = Augmentation(jitter_angle=4, jitter_scale=0, jitter_shift=0.0, bend_probability=0)
    placed = Views(settings).place(GRID, SHAPE, generator(3))
    between = np.linalg.inv(placed.fixed) @ placed.moving
    turn = np.rad2deg(np.arccos(np.clip((np.trace(between[:3, :3]) - 1) / 2, -1, 1)))
    assert 0 < turn <= 4 and np.linalg.det(between) == pytest.approx(1)
    # About the middle of the lattice without its padding.
    middle = np.append(GRID.center_lps, 1)
    assert np.allclose(between @ middle, middle)
    assert not np.allclose(placed.fixed, np.eye(4))


def test_a_known_motion_is_the_bend_alone() -> None:
    placed = Views(Augmentation(bend_probability=0), known_motion=True).place(GRID, SHAPE, generator())
    assert placed.shift is not None and placed.shift.shape == (3, *SHAPE)
    assert np.array_equal(placed.fixed, placed.moving)
    assert 0.2 * 0.05 * 32 <= float(placed.shift.norm(dim=0).max()) <= 0.05 * 32 + 1e-4


def test_bends_are_as_frequent_as_asked_for() -> None:
    draw = generator()
    views = Views(Augmentation(bend_probability=0.3))
    bent = sum(views.place(GRID, (4, 4, 4), draw).shift is not None for _ in range(400))
    assert 90 < bent < 150


def test_intensities_change_and_stay_in_range() -> None:
    image, draw = torch.rand(8, 8, 8, generator=generator(1)), generator()
    seen = [Views(Augmentation(intensity_probability=0.5)).seen(image, draw) for _ in range(100)]
    changed = [other for other in seen if other is not image]
    assert 30 < len(changed) < 70
    assert all(not torch.equal(other, image) and torch.equal(other, other.clamp(0, 1)) for other in changed)


def test_same_generator_same_view() -> None:
    one, other = (Views(Augmentation(bend_probability=1)).place(GRID, SHAPE, generator(5)) for _ in range(2))
    assert np.array_equal(one.moving, other.moving)
    assert one.shift is not None and other.shift is not None and torch.equal(one.shift, other.shift)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_ranges_are_numbers_and_not_negative(value: float) -> None:
    with pytest.raises(UsageError, match=rf"augmentation\.bend must not be negative or beyond all numbers, found {value}"):
        Augmentation(bend=value)
