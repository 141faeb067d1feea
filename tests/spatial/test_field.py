from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk

from unireg_cli.errors import TransformFileError
from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid
from unireg_cli.spatial.field import field_from_index, index_from_mm

Twin = Callable[[Chain], sitk.Transform]


def noise_field(grid: Grid) -> DisplacementField:
    """Rough on purpose, and not zero at its edge: every voxel's place and every component counts."""
    return DisplacementField(np.random.default_rng(7).normal(0, 3, (*grid.shape, 3)).astype(np.float32), grid)


def points_at(grid: Grid, index: np.ndarray) -> np.ndarray:
    return index @ grid.lps_from_index[:3, :3].T + grid.lps_from_index[:3, 3]


def off_from_simpleitk(field: DisplacementField, points: np.ndarray, twin: Twin) -> float:
    transform = twin(Chain((field,)))
    expected = np.array([transform.TransformPoint(p) for p in points.tolist()])
    return float(np.abs(field.map(points) - expected).max())


def test_inside_agrees_with_simpleitk(grid: Grid, sitk_transform: Twin) -> None:
    index = np.random.default_rng(0).uniform(0, np.asarray(grid.size) - 1, (1000, 3))
    assert off_from_simpleitk(noise_field(grid), points_at(grid, index), sitk_transform) < 1e-3


def test_half_voxel_rim_agrees_with_simpleitk(grid: Grid, sitk_transform: Twin) -> None:
    rng = np.random.default_rng(1)
    size = np.asarray(grid.size)
    index = rng.uniform(-0.49, size - 0.51, (1000, 3))
    axis = rng.integers(0, 3, 1000)
    low = rng.random(1000) < 0.5
    index[np.arange(1000), axis] = np.where(low, rng.uniform(-0.49, 0, 1000), size[axis] - 1 + rng.uniform(0, 0.49, 1000))
    points = points_at(grid, index)
    field = noise_field(grid)
    assert off_from_simpleitk(field, points, sitk_transform) < 1e-3
    assert (np.abs(field.map(points) - points).max(axis=1) > 1e-6).all()


def test_outside_is_the_identity(grid: Grid, sitk_transform: Twin) -> None:
    rng = np.random.default_rng(2)
    size = np.asarray(grid.size)
    index = rng.uniform(-0.49, size - 0.51, (1000, 3))
    axis = rng.integers(0, 3, 1000)
    beyond = rng.uniform(0.51, 20, 1000)
    index[np.arange(1000), axis] = np.where(rng.random(1000) < 0.5, -beyond, size[axis] - 1 + beyond)
    points = points_at(grid, index)
    assert np.array_equal(noise_field(grid).map(points), points)
    assert off_from_simpleitk(noise_field(grid), points, sitk_transform) < 1e-9


def test_single_slice_field_agrees_with_simpleitk(grid: Grid, sitk_transform: Twin) -> None:
    thin = grid.resized((grid.size[0], grid.size[1], 1))
    index = np.random.default_rng(3).uniform(-0.45, np.asarray(thin.size) - 0.55, (300, 3))
    assert off_from_simpleitk(noise_field(thin), points_at(thin, index), sitk_transform) < 1e-3


def test_vectors_are_lps_whatever_the_direction(grid: Grid) -> None:
    vectors = np.zeros((*grid.shape, 3), np.float32)
    vectors[...] = (1.0, 2.0, 3.0)
    moved = DisplacementField(vectors, grid).map(grid.center_lps) - grid.center_lps
    assert np.allclose(moved, (1.0, 2.0, 3.0), rtol=0, atol=1e-5)


def test_one_displaced_voxel_by_hand() -> None:
    grid = Grid((3, 4, 5), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), (-1, 0, 0, 0, 1, 0, 0, 0, 1))
    vectors = np.zeros((5, 4, 3, 3), np.float32)
    vectors[3, 2, 1] = (8.0, 0.0, 0.0)
    field = DisplacementField(vectors, grid)
    # Voxel (1, 2, 3) lies at x = -2, y = 2, z = 3; half a voxel along x half of it is left.
    assert field.map(np.array([-2.0, 2.0, 3.0])).tolist() == [6.0, 2.0, 3.0]
    assert field.map(np.array([-3.0, 2.0, 3.0])).tolist() == [1.0, 2.0, 3.0]


def test_more_points_than_one_chunk(monkeypatch: pytest.MonkeyPatch, grid: Grid) -> None:
    field = noise_field(grid)
    whole = field.map(grid.points_lps())
    monkeypatch.setattr("unireg_cli.spatial.field._CHUNK", 100)
    assert whole.shape == (*grid.shape, 3)
    assert np.allclose(field.map(grid.points_lps()), whole, rtol=0, atol=1e-5)


def test_no_points(grid: Grid) -> None:
    assert noise_field(grid).map(np.zeros((0, 3))).shape == (0, 3)


def test_index_frame_round_trip(grid: Grid) -> None:
    field = noise_field(grid)
    again = field_from_index(index_from_mm(field), grid)
    assert np.abs(again.vectors_mm - field.vectors_mm).max() < 1e-5


def test_index_frame_by_hand() -> None:
    # Index x runs along -y in steps of 2 mm, index y along +x in steps of 4 mm.
    grid = Grid((2, 2, 2), (2.0, 4.0, 1.0), (0.0, 0.0, 0.0), (0, 1, 0, -1, 0, 0, 0, 0, 1))
    vectors = np.zeros((2, 2, 2, 3), np.float32)
    vectors[...] = (4.0, 6.0, 5.0)
    assert index_from_mm(DisplacementField(vectors, grid))[:, 0, 0, 0].tolist() == [-3.0, 1.0, 5.0]


def test_wrong_shape_is_refused(grid: Grid) -> None:
    with pytest.raises(TransformFileError, match="needs shape"):
        DisplacementField(np.zeros((*grid.size, 3), np.float32), grid)
    with pytest.raises(TransformFileError, match="needs shape"):
        DisplacementField(np.zeros((3, *grid.shape), np.float32), grid)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_values_are_refused(grid: Grid, value: float) -> None:
    vectors = np.zeros((*grid.shape, 3), np.float32)
    vectors[1, 2, 3, 0] = value
    with pytest.raises(TransformFileError, match="NaN or infinite"):
        DisplacementField(vectors, grid)


def test_description_says_the_reach(grid: Grid) -> None:
    vectors = np.zeros((*grid.shape, 3), np.float32)
    vectors[1, 2, 3] = (3.0, 0.0, 4.0)
    assert "up to 5.0 mm" in DisplacementField(vectors, grid).describe()


TURNS = [np.eye(3), np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, -1]]), np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1]])]


@pytest.mark.parametrize("cosines", TURNS)
def test_slices_of_a_grid_are_mapped_as_their_points_are(cosines: np.ndarray) -> None:
    random = np.random.default_rng(0)
    own = Grid.from_arrays((20, 18, 16), (6.0, 5.0, 7.0), (2.0, 2.0, 2.0), np.eye(3))
    field = DisplacementField(random.normal(0, 3, (*own.shape, 3)).astype(np.float32), own)
    # Larger than the field; along its axes in any order, or turned.
    size, spacing = np.array([51, 65, 71]), np.array([3.0, 2.5, 2.0])
    grid = Grid.from_arrays(size.tolist(), spacing, own.center_lps + 0.1 - cosines @ (spacing * (size - 1) / 2), cosines)
    for chain in (Chain((field,)), Chain((field, Affine.from_parts(0.9 * np.eye(3), (1, 2, 3)))), Chain((Affine.identity(), field))):
        found = chain.map_slices(grid, 5, 40)
        np.testing.assert_allclose(found, chain.map(grid.points_lps(5, 40)), rtol=0, atol=1e-4)
    outside = np.abs(grid.points_lps() - field.map_slices(grid, 0, 71)).max(axis=-1) == 0
    assert 0.1 < outside.mean() < 0.9
