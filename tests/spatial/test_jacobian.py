from __future__ import annotations

import numpy as np
import pytest
import torch

from unireg_cli.spatial import DisplacementField, Grid
from unireg_cli.spatial.field import field_from_index
from unireg_cli.spatial.jacobian import determinant, index_determinant, regularity
from unireg_cli.spatial.sampling import index_lattice


def linear_field(grid: Grid, matrix: np.ndarray) -> DisplacementField:
    """x + u(x) = matrix (x - c) + c in LPS mm."""
    offset = grid.points_lps() - grid.center_lps
    return DisplacementField((offset @ (matrix - np.eye(3)).T).astype(np.float32), grid)


def test_identity_has_determinant_one(grid: Grid) -> None:
    field = DisplacementField(np.zeros((*grid.shape, 3), np.float32), grid)
    assert (determinant(field) == 1).all()


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([1.3, 0.8, 1.1]),
        np.diag([1.3, 1.0, 1.0]),
        np.array([[1.1, 0.2, -0.1], [0.1, 0.9, 0.3], [-0.2, 0.1, 1.2]]),
        np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]),
    ],
    ids=["stretch", "one axis", "general", "rotation"],
)
def test_linear_map_has_the_determinant_of_its_matrix(grid: Grid, matrix: np.ndarray) -> None:
    found = determinant(linear_field(grid, matrix))
    assert found.shape == grid.shape
    assert np.allclose(found, np.linalg.det(matrix), rtol=0, atol=1e-4)


def test_mirror_is_folded_everywhere(grid: Grid) -> None:
    found = determinant(linear_field(grid, np.diag([-1.0, 1.0, 1.0])))
    assert np.allclose(found, -1, rtol=0, atol=1e-4)
    assert regularity(found).folding_percent == 100.0


def test_sine_field_by_hand(grid: Grid) -> None:
    # u = a sin(k i) along index axis x, in voxels: central differences turn cos(k i) into cos(k i) sin(k) / k.
    wave, height = 2 * np.pi / 16, 1.6
    x = index_lattice(grid.shape)[..., 0]
    displacement = torch.zeros(3, *grid.shape)
    displacement[0] = height * torch.sin(wave * x)
    found = determinant(field_from_index(displacement, grid))
    expected = 1 + height * np.sin(wave) * np.cos(wave * x.numpy())
    assert np.allclose(found[..., 1:-1], expected[..., 1:-1], rtol=0, atol=1e-4)
    # At the ends the difference is one-sided.
    assert np.allclose(found[..., 0], 1 + height * np.sin(wave), rtol=0, atol=1e-4)


def test_mixed_axes_by_hand() -> None:
    # u_x = 0.5 y and u_y = 0.5 x: the matrix [[1, .5], [.5, 1]] has determinant 0.75.
    lattice = index_lattice((3, 4, 5)).permute(3, 0, 1, 2)
    displacement = torch.zeros(3, 3, 4, 5)
    displacement[0], displacement[1] = 0.5 * lattice[1], 0.5 * lattice[0]
    assert torch.allclose(index_determinant(displacement), torch.full((3, 4, 5), 0.75), rtol=0, atol=1e-6)


def test_fold_is_found_where_it_is() -> None:
    # Voxel 5 jumps past voxel 7: the line folds there and nowhere else.
    displacement = torch.zeros(3, 4, 4, 12)
    displacement[0, ..., 5] = 2.5
    line = index_determinant(displacement)[2, 2]
    assert line.tolist() == [1, 1, 1, 1, 2.25, 1, -0.25, 1, 1, 1, 1, 1]


def test_single_slice_has_no_slope_across() -> None:
    lattice = index_lattice((1, 6, 7)).permute(3, 0, 1, 2)
    displacement = torch.zeros(3, 1, 6, 7)
    displacement[0] = 0.3 * lattice[0]
    assert torch.allclose(index_determinant(displacement), torch.full((1, 6, 7), 1.3), rtol=0, atol=1e-5)


def test_two_voxels_have_the_slope_between_them() -> None:
    displacement = torch.zeros(3, 2, 3, 3)
    displacement[2, 1] = 0.5
    assert torch.allclose(index_determinant(displacement), torch.full((2, 3, 3), 1.5), rtol=0, atol=1e-6)


def test_regularity_by_hand() -> None:
    # Logs 0, 1, -1 and log(0.001) = -6.907755 for the fold: mean -1.726939, mean square 12.429270.
    found = regularity(np.array([1.0, np.e, 1 / np.e, -1.0]))
    assert found.folding_percent == 25.0
    assert np.isclose(found.sdlogj, np.sqrt(12.429270 - 1.726939**2), rtol=1e-5)
    assert (found.minimum, found.maximum) == (-1.0, np.e)


def test_regularity_inside_a_mask() -> None:
    values = np.array([[2.0, 2.0], [0.0, 5.0]])
    found = regularity(values, np.array([[True, True], [False, False]]))
    assert (found.folding_percent, found.sdlogj, found.minimum, found.maximum) == (0.0, 0.0, 2.0, 2.0)
    assert regularity(values).folding_percent == 25.0


def test_regularity_of_nothing_is_that_of_the_identity() -> None:
    found = regularity(np.ones((2, 2)), np.zeros((2, 2), bool))
    assert (found.folding_percent, found.sdlogj, found.minimum, found.maximum) == (0.0, 0.0, 1.0, 1.0)
