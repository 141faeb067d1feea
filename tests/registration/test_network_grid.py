"""The lattice on which the network sees a pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unireg_cli.registration.network_grid import Box, body_box, network_grid
from unireg_cli.spatial import Grid


def whole(grid: Grid) -> Box:
    return (0, 0, 0), (grid.size[0] - 1, grid.size[1] - 1, grid.size[2] - 1)


def index_in(outer: Grid, points: np.ndarray) -> np.ndarray:
    matrix = outer.index_from_lps
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


def test_every_orientation_keeps_axes_middle_and_margin(grid: Grid) -> None:
    lattice = network_grid(grid, whole(grid), grid, 2_000)
    assert np.allclose(lattice.cosines, grid.cosines)
    assert np.allclose(lattice.center_lps, grid.center_lps)
    # Every edge lies outside the image's by the margin: 4 percent of the extent, or two voxels where that is more.
    wanted = grid.extent_mm + 2 * np.maximum(0.04 * grid.extent_mm, 2 * max(lattice.spacing))
    assert np.all(lattice.extent_mm > 1.07 * grid.extent_mm) and np.all(lattice.extent_mm < 1.1 * wanted)


def test_voxels_are_about_cubic_and_as_many_as_asked_for() -> None:
    fixed = Grid.from_arrays((200, 180, 60), (1.0, 1.0, 3.0), (0.0,) * 3, np.eye(3))
    lattice = network_grid(fixed, whole(fixed), fixed, 100_000)
    assert max(lattice.spacing) / min(lattice.spacing) < 1.05
    # The margin of the shortest edge may be two voxels instead of four percent, nothing else adds any.
    assert 0.9 * 100_000 < lattice.voxels < 1.2 * 100_000


def test_no_voxel_is_much_finer_than_both_images() -> None:
    fixed = Grid.from_arrays((30, 30, 30), (2.0, 2.0, 2.0), (0.0,) * 3, np.eye(3))
    other = Grid.from_arrays((30, 30, 30), (1.0, 4.0, 4.0), (0.0,) * 3, np.eye(3))
    alone, pair = network_grid(fixed, whole(fixed), fixed, 10**8), network_grid(fixed, whole(fixed), other, 10**8)
    assert alone.spacing == pytest.approx((1.4,) * 3, rel=0.02)
    assert pair.spacing == pytest.approx((0.7,) * 3, rel=0.02)


def test_the_box_of_the_body_is_what_counts(grid: Grid) -> None:
    box: Box = ((5, 6, 3), (14, 15, 7))
    lattice = network_grid(grid, box, grid, 1_000)
    middle = np.array([[9.5, 10.5, 5.0]]) @ grid.lps_from_index[:3, :3].T + np.asarray(grid.origin)
    assert np.allclose(lattice.center_lps, middle)
    corners = index_in(lattice, np.array([box[0], box[1]], float) @ grid.lps_from_index[:3, :3].T + np.asarray(grid.origin))
    assert np.all(corners[0] > 1) and np.all(corners[1] < np.asarray(lattice.size) - 2)


def test_a_single_slice_gets_a_lattice() -> None:
    flat = Grid.from_arrays((50, 40, 1), (1.0, 1.0, 5.0), (0.0,) * 3, np.eye(3))
    lattice = network_grid(flat, whole(flat), flat, 10_000)
    assert min(lattice.size) >= 4 and lattice.voxels < 60_000


def test_box_of_a_body_is_given_in_x_y_z() -> None:
    inside = torch.zeros(10, 12, 14, dtype=torch.bool)
    inside[2:5, 3:9, 4:11] = True
    assert body_box(inside) == ((4, 3, 2), (10, 8, 4))


def test_single_bright_voxels_do_not_count() -> None:
    inside = torch.zeros(30, 30, 30, dtype=torch.bool)
    inside[10:20, 10:20, 10:20] = True
    inside[0, 0, 0] = inside[29, 29, 29] = True
    # One voxel of a slice of 900 is 0.0011 of it.
    assert body_box(inside) == ((10, 10, 10), (19, 19, 19))
    assert body_box(inside, share=0.0) == ((0, 0, 0), (29, 29, 29))


def test_an_empty_image_is_taken_whole() -> None:
    assert body_box(torch.zeros(3, 4, 5, dtype=torch.bool)) == ((0, 0, 0), (4, 3, 2))
