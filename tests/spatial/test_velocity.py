from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from unireg_cli.spatial import DisplacementField, Grid
from unireg_cli.spatial.field import index_from_mm
from unireg_cli.spatial.jacobian import index_determinant
from unireg_cli.spatial.sampling import index_lattice
from unireg_cli.spatial.velocity import compose, exponential, integrate, warp

SHAPE = (25, 23, 27)


def linear_velocity(matrix: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """v(x) = matrix (x - centre) in voxels, and x - centre, both (3, D, H, W)."""
    centre = (torch.tensor(SHAPE[::-1]) - 1) / 2
    offset = (index_lattice(SHAPE) - centre).permute(3, 0, 1, 2)
    return torch.einsum("ab,bdhw->adhw", torch.from_numpy(matrix.astype(np.float32)), offset), offset


def test_exp_of_zero_is_the_identity() -> None:
    velocity = torch.zeros(3, 4, 5, 6)
    displacement = integrate(velocity)
    assert torch.equal(displacement, velocity)
    displacement += 1
    assert not velocity.any()


def test_exp_of_a_constant_is_a_shift() -> None:
    shift = torch.tensor([3.0, -1.5, 0.75])
    displacement = integrate(shift[:, None, None, None].expand(3, *SHAPE))
    assert torch.allclose(displacement, shift[:, None, None, None].expand(3, *SHAPE), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([0.25, -0.2, 0.1]),
        np.array([[0.0, 0.2, 0.0], [0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]),
        0.4 * np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]]),
        0.3 * np.array([[0.0, -0.8, 0.4], [0.8, 0, -0.5], [-0.4, 0.5, 0]]),
        np.array([[0.1, -0.2, 0.05], [0.15, -0.1, 0.1], [-0.05, 0.1, 0.15]]),
    ],
    ids=["stretch", "shear", "rotation about z", "oblique rotation", "general"],
)
def test_exp_of_a_linear_velocity_is_the_matrix_exponential(matrix: np.ndarray) -> None:
    velocity, offset = linear_velocity(matrix)
    expected = torch.einsum("ab,bdhw->adhw", torch.from_numpy((expm(matrix) - np.eye(3)).astype(np.float32)), offset)
    # The flow of the outer voxels leaves the volume, where the velocity no longer grows.
    inside = (..., slice(7, -7), slice(7, -7), slice(7, -7))
    assert (integrate(velocity)[inside] - expected[inside]).abs().max() < 0.001
    assert (integrate(velocity, largest_step=0.02)[inside] - expected[inside]).abs().max() < 1e-5


def test_rotation_keeps_volume_and_radius() -> None:
    velocity, offset = linear_velocity(0.4 * np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]]))
    displacement = integrate(velocity)
    inside = (..., slice(7, -7), slice(7, -7), slice(7, -7))
    assert (index_determinant(displacement)[inside] - 1).abs().max() < 0.02
    assert ((offset + displacement).norm(dim=0) - offset.norm(dim=0))[inside].abs().max() < 0.03


def test_exp_of_minus_v_is_the_inverse(grid: Grid, wavy_field: Callable[..., DisplacementField]) -> None:
    velocity = index_from_mm(wavy_field(grid, 2.5))
    there, back = integrate(velocity), integrate(-velocity)
    assert there.norm(dim=0).max() > 0.5
    for loop in (compose(back, there).norm(dim=0), compose(there, back).norm(dim=0)):
        # Up to two voxels on grids of ten to thirty: linear interpolation of so short a wave, not the integration, sets the rest.
        assert loop.max() < 0.25
        assert loop.mean() < 0.015


def test_exp_of_minus_v_undoes_a_linear_flow() -> None:
    velocity, _ = linear_velocity(np.array([[0.1, -0.2, 0.05], [0.15, -0.1, 0.1], [-0.05, 0.1, 0.15]]))
    there, back = integrate(velocity, largest_step=0.5), integrate(-velocity, largest_step=0.5)
    # No interpolation error in a linear flow, and the midpoint step's first error is the same in both directions.
    assert compose(back, there)[..., 7:-7, 7:-7, 7:-7].norm(dim=0).max() < 1e-4


def test_a_midpoint_step_by_hand() -> None:
    # v = x / 2: from x = 8 half of the way, 2, leads to 10, where v = 5.
    velocity = torch.zeros(3, *SHAPE)
    velocity[0] = index_lattice(SHAPE)[..., 0] / 2
    found = exponential(velocity, 4.0, 2.0)[0, 3, 3]
    assert float(found[8]) == pytest.approx(5.0, abs=1e-5)
    # Two of half the length: each leads from x to x + (x + x / 8) / 4 = 1.28125 x.
    assert float(exponential(velocity, 4.0, 1.0)[0, 3, 3][8]) == pytest.approx(8 * 1.28125**2 - 8, abs=1e-5)


def test_exp_does_not_fold_where_the_displacement_itself_would() -> None:
    x = index_lattice(SHAPE)[..., 0]
    velocity = torch.zeros(3, *SHAPE)
    velocity[0] = -6 * torch.sin(2 * torch.pi * x / (SHAPE[2] - 1))
    assert index_determinant(velocity).min() < 0
    assert index_determinant(integrate(velocity)).min() > 0


def test_compose_order_by_hand() -> None:
    # The outer map stretches x by 2 about 0, the inner moves x by 1: outer(inner(x)) = 2 (x + 1), so u = x + 2.
    lattice = index_lattice((4, 4, 9)).permute(3, 0, 1, 2)
    outer, inner = torch.zeros(3, 4, 4, 9), torch.zeros(3, 4, 4, 9)
    outer[0] = lattice[0]
    inner[0] = 1.0
    assert torch.allclose(compose(outer, inner)[0, ..., :8], (lattice[0] + 2)[..., :8], rtol=0, atol=1e-5)
    # The other way round: 2 x + 1, so u = x + 1.
    assert torch.allclose(compose(inner, outer)[0], lattice[0] + 1, rtol=0, atol=1e-5)
    assert (inner[0] == 1).all()


def test_warp_reads_where_the_displacement_points() -> None:
    values = index_lattice((4, 5, 6)).permute(3, 0, 1, 2)[:1] * 10
    displacement = torch.zeros(3, 4, 5, 6)
    displacement[0] = 1.5
    assert torch.allclose(warp(values, displacement)[0, 2, 2], torch.tensor([15.0, 25, 35, 45, 50, 50]), rtol=0, atol=1e-4)
    assert torch.allclose(warp(values, displacement, border=False)[0, 2, 2, 4:], torch.tensor([25.0, 0.0]), rtol=0, atol=1e-4)
