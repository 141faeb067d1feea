from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import cube

from unireg_cli.errors import InputError, UsageError
from unireg_cli.registration.landmarks import Landmarks, check_landmarks, moved_points, pulled_back, spline, spread
from unireg_cli.spatial import Grid, Image
from unireg_cli.spatial.jacobian import index_determinant

GRID = Grid.from_arrays((24, 22, 20), (4.0, 4.0, 5.0), (-46.0, -42.0, -47.5), np.eye(3))


def pairs(shift: np.ndarray, count: int = 10, noise: float = 0.0, seed: int = 0) -> Landmarks:
    numbers = np.random.default_rng(seed)
    fixed = numbers.uniform(-30, 30, (count, 3))
    return Landmarks(fixed, fixed + shift + noise * numbers.normal(size=(count, 3)), np.ones(count))


def test_counts_and_weights_must_fit() -> None:
    points = np.zeros((3, 3))
    with pytest.raises(InputError, match=r"a\.csv has 3 points and b\.csv 2"):
        Landmarks(points, points[:2], np.ones(3), ("a.csv", "b.csv"))
    for weights in (np.zeros(3), -np.ones(3), np.ones(2)):
        with pytest.raises(UsageError, match="weights"):
            Landmarks(points, points, weights)


@pytest.mark.parametrize("side", [0, 1])
def test_a_landmark_outside_its_image_is_named(side: int) -> None:
    points = [np.zeros((2, 3)), np.zeros((2, 3))]
    points[side][1] = (0.0, 0.0, 99.0)
    image = Image(np.zeros(GRID.shape), GRID, "image.nii")
    with pytest.raises(InputError, match=r"[ab]\.csv: point 2 at \(0\.0, 0\.0, 99\.0\) mm LPS lies outside image\.nii; check --space"):
        check_landmarks(Landmarks(points[0], points[1], np.ones(2), ("a.csv", "b.csv")), image, image)


def test_one_landmark_is_spread_as_a_gaussian_says() -> None:
    found = spread(torch.tensor([[3.0, 4.0, 5.0]]), torch.tensor([[1.0, -2.0, 4.0]]), torch.tensor([3.0]), (2.0, 2.0, 2.0), (9, 8, 7))
    # At the landmark itself w / (1 + w), two voxels away w g / (1 + w g) with g = exp(-1/2).
    assert found[:, 5, 4, 3].tolist() == pytest.approx([0.75, -1.5, 3.0])
    weight = 3 * np.exp(-0.5)
    assert found[:, 5, 4, 5].tolist() == pytest.approx((np.array([1.0, -2.0, 4.0]) * weight / (1 + weight)).tolist(), rel=1e-5)


def test_landmarks_that_agree_move_everything_alike() -> None:
    shift = np.array([6.0, -3.0, 4.0])
    landmarks = pairs(shift, noise=0.5)
    found = spline(landmarks, landmarks.moving_lps, None, GRID, torch.device("cpu"))
    others = np.random.default_rng(5).uniform(-20, 20, (50, 3))
    assert np.linalg.norm(moved_points(others, found, GRID) - others - shift, axis=1).mean() < 1.5
    assert float(index_determinant(found).min()) > 0


def test_a_bend_is_followed_between_the_landmarks_and_what_comes_after_is_taken_into_account() -> None:
    def bend(points: np.ndarray) -> np.ndarray:
        return points + np.stack([0 * points[:, 0], 0 * points[:, 0], 10 * np.exp(-(points[:, 0] ** 2) / (2 * 25**2))], axis=1)

    fixed = np.random.default_rng(1).uniform(-38, 38, (30, 3))
    landmarks = Landmarks(fixed, bend(fixed), np.ones(30))
    after = torch.zeros(3, *GRID.shape)
    after[2] = 0.8  # voxels of 5 mm: 4 mm along z
    others = np.random.default_rng(2).uniform(-25, 25, (50, 3))
    for before in (None, after):
        found = spline(landmarks, landmarks.moving_lps, before, GRID, torch.device("cpu"))
        moved = moved_points(others, found, GRID)
        if before is not None:
            moved = moved_points(moved, before, GRID)
        assert np.linalg.norm(moved - bend(others), axis=1).mean() < 1.0 < np.linalg.norm(others - bend(others), axis=1).mean() / 4
        assert float(index_determinant(found).min()) > 0


def test_a_weight_of_nothing_does_not_steer() -> None:
    fixed = np.array([[0.0, 0, 0], [20.0, 0, 0], [-20.0, 0, 0], [0, 20.0, 0]])
    moving = fixed + np.array([[0.0, 0, 40.0], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    found = spline(Landmarks(fixed, moving, np.array([0.0, 1, 1, 1])), moving, None, GRID, torch.device("cpu"))
    assert not found.any()


def test_points_are_pulled_back_through_a_known_displacement() -> None:
    grid = cube(20, 3.0)
    displacement = torch.zeros(3, *grid.shape)
    displacement[0] = torch.linspace(-1, 1, 20)  # a stretch along x
    points = np.random.default_rng(0).uniform(-15, 15, (9, 3))
    found = pulled_back(points, lambda _: displacement, grid)
    assert np.abs(moved_points(found, displacement, grid) - points).max() < 1e-3
