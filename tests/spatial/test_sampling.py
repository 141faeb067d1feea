from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from unireg_cli.spatial.sampling import index_lattice, inside_buffer, sample_index, sample_normalised


def volume(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def test_lattice_is_x_y_z_in_the_last_axis() -> None:
    lattice = index_lattice((2, 3, 4))
    assert lattice.shape == (2, 3, 4, 3)
    assert lattice[1, 2, 3].tolist() == [3.0, 2.0, 1.0]


def test_voxel_centres_read_their_voxels() -> None:
    values = volume(2, 5, 6, 7)
    assert torch.allclose(sample_index(values, index_lattice((5, 6, 7))), values, rtol=0, atol=1e-5)


def test_trilinear_by_hand() -> None:
    values = torch.zeros(1, 2, 2, 2)
    values[0, 1, 0, 1] = 8.0  # x = 1, y = 0, z = 1
    point = torch.tensor([[0.5, 0.25, 0.75]])
    # 0.5 along x, 0.75 along y (it is at 0), 0.75 along z.
    assert sample_index(values, point).tolist() == [[8.0 * 0.5 * 0.75 * 0.75]]


# 4096 points or fewer go in one piece; 8 x 25 x 24 and 4,800 points are cut; 4,801 and 7 x 27 x 25 do not divide by 8.
@pytest.mark.parametrize("lead", [(), (5,), (4096,), (4800,), (4801,), (8, 25, 24), (16, 20, 17), (7, 27, 25), (2, 3, 800), (80, 60)])
def test_agrees_with_scipy_for_any_list_of_points(lead: tuple[int, ...]) -> None:
    values = volume(3, 9, 11, 13)
    index = np.random.default_rng(1).uniform((0, 0, 0), (12, 10, 8), (*lead, 3)).astype(np.float32)
    found = sample_index(values, torch.from_numpy(index)).numpy()
    coordinates = np.moveaxis(index[..., ::-1], -1, 0).reshape(3, -1).astype(float)
    expected = np.stack([ndimage.map_coordinates(channel.astype(float), coordinates, order=1) for channel in values.numpy()])
    assert found.shape == (3, *lead)
    assert np.allclose(found.reshape(3, -1), expected, rtol=0, atol=2e-5)


def test_border_repeats_the_edge_and_zeros_fade() -> None:
    values = torch.arange(1.0, 5.0).reshape(1, 1, 1, 4).expand(1, 3, 3, 4).contiguous()
    points = torch.tensor([[-2.0, 1.0, 1.0], [-0.5, 1.0, 1.0], [3.25, 1.0, 1.0], [9.0, 1.0, 1.0]])
    assert sample_index(values, points).tolist() == [[1.0, 1.0, 4.0, 4.0]]
    assert torch.allclose(sample_index(values, points, border=False), torch.tensor([[0.0, 0.5, 3.0, 0.0]]), rtol=0, atol=1e-5)


def test_single_voxel_axis_reads_its_voxel() -> None:
    values = volume(1, 1, 4, 5)
    points = torch.tensor([[2.0, 3.0, z] for z in (-0.4, 0.0, 0.3)])
    assert torch.allclose(sample_index(values, points), values[:, 0, 3, 2].expand(1, 3), rtol=0, atol=1e-6)


def test_normalised_corners_are_voxel_centres() -> None:
    values = volume(1, 4, 5, 6)
    corners = torch.tensor([[-1.0, -1.0, -1.0], [1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    assert sample_normalised(values, corners)[0].tolist() == [values[0, 0, 0, 0], values[0, 0, 0, 5], values[0, 3, 4, 5]]


def test_no_points() -> None:
    assert sample_index(volume(3, 4, 5, 6), torch.zeros(0, 3)).shape == (3, 0)


def test_inside_is_half_a_voxel_around_the_centres() -> None:
    size = (4, 5, 6)
    points = np.array([[-0.5, 0, 0], [-0.51, 0, 0], [3.49, 0, 0], [3.5, 0, 0], [0, 4.49, 5.49], [0, 0, 5.5], [0, -0.5, -0.5]])
    assert inside_buffer(points, size).tolist() == [True, False, True, False, True, False, True]
