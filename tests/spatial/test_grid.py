from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk

from unireg_cli.errors import GeometryError, InputError
from unireg_cli.spatial import Grid

Maker = Callable[[np.ndarray, Grid], sitk.Image]


def test_index_to_point_agrees_with_simpleitk(grid: Grid, sitk_image: Maker) -> None:
    image = sitk_image(np.zeros(grid.shape, np.uint8), grid)
    assert image.GetSize() == grid.size
    for index in [(0, 0, 0), (1, 2, 3), tuple(n - 1 for n in grid.size)]:
        expected = image.TransformIndexToPhysicalPoint(index)
        assert np.allclose((grid.lps_from_index @ (*index, 1))[:3], expected, rtol=0, atol=1e-9)
        assert np.allclose(grid.points_lps()[index[::-1]], expected, rtol=0, atol=1e-9)


def test_point_to_index_agrees_with_simpleitk(grid: Grid, sitk_image: Maker) -> None:
    image = sitk_image(np.zeros(grid.shape, np.uint8), grid)
    for point in np.random.default_rng(1).uniform(-40, 40, (50, 3)):
        expected = image.TransformPhysicalPointToContinuousIndex(point.tolist())
        assert np.allclose((grid.index_from_lps @ (*point, 1))[:3], expected, rtol=0, atol=1e-9)


def test_matrices_are_inverse(grid: Grid) -> None:
    assert np.allclose(grid.index_from_lps @ grid.lps_from_index, np.eye(4), rtol=0, atol=1e-12)


def test_shape_is_reversed_size() -> None:
    grid = Grid((2, 3, 4), (1.0, 2.0, 0.5), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert grid.shape == (4, 3, 2)
    assert grid.voxels == 24
    assert grid.extent_mm.tolist() == [2.0, 6.0, 2.0]
    # Centres run 0..1, 0..4, 0..1.5 mm; half of each is the middle.
    assert grid.center_lps.tolist() == [0.5, 2.0, 0.75]
    assert "2x3x4 voxels of 1x2x0.5 mm" in grid.describe()


def test_corners_are_voxel_edges() -> None:
    grid = Grid((2, 3, 4), (1.0, 2.0, 0.5), (10.0, 20.0, 30.0), (-1, 0, 0, 0, 1, 0, 0, 0, 1))
    corners = grid.corners_lps()
    assert corners.shape == (8, 3)
    # x runs from 10 + 0.5 down to 10 - 1.5; y from 19 to 25; z from 29.75 to 31.75.
    assert corners.min(0).tolist() == [8.5, 19.0, 29.75]
    assert corners.max(0).tolist() == [10.5, 25.0, 31.75]


def test_points_of_some_slices(grid: Grid) -> None:
    assert np.array_equal(grid.points_lps(3, 7), grid.points_lps()[3:7])


@pytest.mark.parametrize("size", [(7, 9, 5), (40, 44, 36), (1, 1, 1)])
def test_resized_keeps_the_field_of_view(grid: Grid, size: tuple[int, int, int]) -> None:
    other = grid.resized(size)
    assert other.size == size
    assert np.allclose(other.corners_lps(), grid.corners_lps(), rtol=0, atol=1e-9)
    assert np.allclose(other.center_lps, grid.center_lps, rtol=0, atol=1e-9)


def test_padded_keeps_voxels_where_they_are(grid: Grid) -> None:
    padded = grid.padded((1, 2, 3), (4, 5, 6))
    assert padded.size == tuple(n + extra for n, extra in zip(grid.size, (5, 7, 9), strict=True))
    assert np.allclose(padded.points_lps()[3:-6, 2:-5, 1:-4], grid.points_lps(), rtol=0, atol=1e-9)
    assert grid.same_space(padded.padded((-1, -2, -3), (-4, -5, -6)))


def test_padded_away_to_nothing_is_an_error(grid: Grid) -> None:
    with pytest.raises(GeometryError, match="size"):
        grid.padded((-grid.size[0], 0, 0), (0, 0, 0))


def test_same_space_tolerance(grid: Grid) -> None:
    smallest = min(grid.spacing)
    near = Grid(grid.size, grid.spacing, (grid.origin[0] + 0.0005 * smallest, *grid.origin[1:]), grid.direction)
    far = Grid(grid.size, grid.spacing, (grid.origin[0] + 0.002 * smallest, *grid.origin[1:]), grid.direction)
    assert grid.same_space(near)
    assert not grid.same_space(far)
    assert grid.same_space(far, tolerance_voxels=0.01)


def test_same_space_sees_size_spacing_and_direction(grids: dict[str, Grid]) -> None:
    grid = grids["LPS"]
    assert not grid.same_space(grid.padded((0, 0, 0), (0, 0, 1)))
    # A spacing off by 0.1 % is 0.02 voxels at the far corner of 20 voxels.
    assert not grid.same_space(Grid(grid.size, (grid.spacing[0] * 1.001, *grid.spacing[1:]), grid.origin, grid.direction))
    assert not grid.same_space(grids["RAS"])


def test_from_matrix_is_the_inverse_of_lps_from_index(grid: Grid) -> None:
    again = Grid.from_matrix(grid.size, grid.lps_from_index)
    assert np.allclose(again.spacing, grid.spacing, rtol=0, atol=1e-12)
    assert np.allclose(again.direction, grid.direction, rtol=0, atol=1e-12)
    assert again.origin == grid.origin


_UNIT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("size", "spacing", "origin", "direction", "message"),
    [
        ((0, 5, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), _UNIT, "size"),
        ((5, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), _UNIT, "size"),
        ((5, 5, 5), (1.0, 0.0, 1.0), (0.0, 0.0, 0.0), _UNIT, "spacing"),
        ((5, 5, 5), (1.0, -1.0, 1.0), (0.0, 0.0, 0.0), _UNIT, "spacing"),
        ((5, 5, 5), (1.0, float("nan"), 1.0), (0.0, 0.0, 0.0), _UNIT, "spacing"),
        ((5, 5, 5), (1.0, 1.0, 1.0), (0.0, float("inf"), 0.0), _UNIT, "origin"),
        ((5, 5, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0.01, 0, 0, 1, 0, 0, 0, 1), "orthonormal"),
        ((5, 5, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.01, 0, 0, 0, 1, 0, 0, 0, 1), "orthonormal"),
        ((5, 5, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.0,) * 9, "orthonormal"),
    ],
)
def test_unusable_geometry_is_refused(size: object, spacing: object, origin: object, direction: object, message: str) -> None:
    with pytest.raises(GeometryError, match=message) as caught:
        Grid(size, spacing, origin, direction)  # type: ignore[arg-type]
    assert isinstance(caught.value, InputError)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_rounding_noise_in_the_direction_is_accepted() -> None:
    assert Grid((5, 5, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 4e-5, 0, -4e-5, 1, 0, 0, 0, 1)).size == (5, 5, 5)


def test_matrix_with_a_zero_column_is_refused() -> None:
    with pytest.raises(GeometryError, match="zero column"):
        Grid.from_matrix((5, 5, 5), np.diag([1.0, 0.0, 1.0, 1.0]))


def test_an_upright_grid_has_the_same_voxels_and_runs_towards_l_a_and_s(grid: Grid) -> None:
    found = grid.upright()
    # Each column's largest part lies on its own axis; in LPS, what runs to the front is negative.
    assert np.abs(found.cosines).argmax(axis=0).tolist() == [0, 1, 2] and (np.diag(found.cosines) * [1, -1, 1]).min() > 0.5
    before, after = (np.sort(np.round(one.points_lps().reshape(-1, 3), 6), axis=0) for one in (grid, found))
    assert np.allclose(before, after, rtol=0, atol=1e-6)
    assert found.upright() == found
