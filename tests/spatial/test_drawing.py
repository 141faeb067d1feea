from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy import ndimage

from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.drawing import draw, draw_channels, index_map, known_inside, map_lattice
from unireg_cli.spatial.sampling import index_lattice


def texture(grid: Grid, seed: int = 0) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=grid.shape), 1.0).astype(np.float32)


def turned(center: np.ndarray) -> Affine:
    angle = np.radians(17)
    linear = 0.9 * np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0.1, 1]])
    return Affine.from_parts(linear, (2.3, -1.7, 1.1), center)


def itk_drawn(
    values: np.ndarray, grid: Grid, target: Grid, affine: Affine, sitk_image: Callable, outside: float, *, repeat: bool = False
) -> np.ndarray:
    map_ = sitk.AffineTransform(3)
    map_.SetMatrix(affine.matrix[:3, :3].ravel().tolist())
    map_.SetTranslation(affine.matrix[:3, 3].tolist())
    reference = sitk_image(np.zeros(target.shape, np.float32), target)
    image = sitk_image(values, grid)
    return sitk.GetArrayFromImage(sitk.Resample(image, reference, map_, sitk.sitkLinear, outside, sitk.sitkFloat32, repeat))


def test_draw_is_what_itk_resamples(grid: Grid, sitk_image: Callable) -> None:
    values = texture(grid)
    affine = turned(grid.center_lps)
    # No finer and no coarser than the image, moved by parts of a voxel: nothing is smoothed.
    matrix = grid.lps_from_index.copy()
    matrix[:3, 3] += matrix[:3, :3] @ (0.3, -0.4, 0.2)
    target = Grid.from_matrix(grid.size, matrix)
    smooth = np.abs(index_map(grid, target, affine)[:3, :3]).max(axis=1) > 1
    drawn, known = draw(torch.from_numpy(values), grid, target, affine)
    expected = itk_drawn(values, grid, target, affine, sitk_image, 0.0)
    inside = itk_drawn(np.ones_like(values), grid, target, affine, sitk_image, 0.0) > 0.5
    assert 0.3 < inside.mean() < 1
    assert (known.numpy().astype(bool) != inside).mean() < 1e-4
    if not smooth.any():
        assert np.abs(drawn.numpy() - expected)[inside].max() < 2e-5


def test_a_coarser_target_sees_the_image_smoothed_to_its_voxels(sitk_image: Callable) -> None:
    grid = Grid.from_arrays((30, 28, 26), (1.0, 1.0, 1.0), (3.0, -4.0, 5.0), np.eye(3))
    target = grid.resized((10, 14, 26))
    values = texture(grid)
    drawn, known = draw(torch.from_numpy(values), grid, target, Affine.identity())
    # Voxels of 3, 2 and 1: sigma 0.5 sqrt(step^2 - 1) of the fine voxel.
    sigma = [0.0, 0.5 * 3**0.5, 0.5 * 8**0.5]
    smooth = ndimage.gaussian_filter(values.astype(np.float64), sigma, mode="nearest", truncate=4).astype(np.float32)
    expected = itk_drawn(smooth, grid, target, Affine.identity(), sitk_image, 0.0)
    assert known.all()
    # The two kernels are cut at different widths.
    assert np.abs(drawn.numpy() - expected).max() < 0.01 * np.abs(values).max()


def test_outside_the_edge_values_repeat() -> None:
    grid = Grid.from_arrays((4, 5, 6), (1.0,) * 3, (0.0,) * 3, np.eye(3))
    values = texture(grid)
    wide = grid.padded((2, 1, 3), (1, 2, 0))
    drawn, known = draw(torch.from_numpy(values), grid, wide, Affine.identity())
    assert np.allclose(drawn, np.pad(values, ((3, 0), (1, 2), (2, 1)), mode="edge"), rtol=0, atol=1e-5)
    assert np.array_equal(known, np.pad(np.ones(values.shape), ((3, 0), (1, 2), (2, 1))))


def test_known_is_half_a_voxel_around_the_centres() -> None:
    places = torch.tensor([[-0.6, 0, 0], [-0.4, 0, 0], [3.4, 2, 1], [3.6, 2, 1], [1, 2.6, 1], [1, 2.4, 1], [1, 1, -0.7], [1, 1, 1.3]])
    assert known_inside(places, (4, 3, 2)).tolist() == [0, 1, 1, 0, 0, 1, 0, 1]


def test_index_map_goes_through_millimetres(grid: Grid, grids: dict[str, Grid]) -> None:
    image, affine = grids["oblique"], turned(np.array([1.0, 2.0, 3.0]))
    index = np.array([[0.0, 0, 0], [3, 5, 7], [10.5, -2, 4.25]])
    points = affine.map(index @ grid.lps_from_index[:3, :3].T + grid.lps_from_index[:3, 3])
    expected = points @ image.index_from_lps[:3, :3].T + image.index_from_lps[:3, 3]
    matrix = index_map(image, grid, affine)
    assert np.allclose(index @ matrix[:3, :3].T + matrix[:3, 3], expected, rtol=0, atol=1e-9)
    assert np.allclose(map_lattice(torch.from_numpy(index).float(), matrix), expected, rtol=0, atol=1e-4)
    assert map_lattice(index_lattice((2, 3, 4)), matrix).shape == (2, 3, 4, 3)


def test_map_lattice_keeps_places_exact_where_a_training_step_is_in_reduced_precision() -> None:
    lattice = index_lattice((1, 1, 300)).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        index = map_lattice(lattice, np.diag([1.0, 1.0, 1.0, 1.0]) + np.eye(4, k=3) * 0.25)
    # bfloat16 has steps of two from 256 on.
    assert index.dtype == torch.float32
    assert index[0, 0, 257].tolist() == [257.25, 0.0, 0.0]


@pytest.mark.parametrize("coarser", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_grids_with_axes_in_another_order_and_direction_are_read_axis_by_axis_and_alike(order: tuple[int, int, int], coarser: bool) -> None:
    grid = Grid.from_arrays((14, 12, 10), (1.0, 1.5, 2.0), (3.0, -4.0, 5.0), np.eye(3))
    turn = np.eye(3)[:, order] * (-1, 1, -1)
    edges = np.array([2.9, 2.1, 3.3] if coarser else [0.9, 1.1, 0.8])
    matrix = np.eye(4)
    matrix[:3, :3] = turn * edges
    size = (6, 7, 5) if coarser else (13, 11, 12)
    matrix[:3, 3] = grid.center_lps + np.array([0.3, -0.2, 0.4]) - matrix[:3, :3] @ ((np.asarray(size) - 1) / 2)
    target = Grid.from_matrix(size, matrix)
    values = torch.from_numpy(np.stack([texture(grid, seed) for seed in (0, 1)]))
    found, known = draw_channels(values, grid, target, Affine.identity())
    # A displacement of nothing takes the way for grids that are turned against each other.
    expected, inside = draw_channels(values, grid, target, Affine.identity(), torch.zeros(3, *target.shape))
    assert found.shape == (2, *target.shape) and torch.allclose(found, expected, rtol=0, atol=1e-5)
    assert torch.equal(known, inside) and 0 < float(known.mean()) <= 1
