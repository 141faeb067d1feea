from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import brentq

import unireg_cli.spatial.inverse as inverse_module
from unireg_cli.spatial import DisplacementField, Grid
from unireg_cli.spatial.field import field_from_index, index_from_mm
from unireg_cli.spatial.inverse import inverse_consistency, invert_field, invert_index
from unireg_cli.spatial.jacobian import index_determinant
from unireg_cli.spatial.sampling import index_lattice, sample_index

FieldMaker = Callable[..., DisplacementField]


def residual(displacement: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """|v(y) + u(y + v(y))| in voxels."""
    lattice = index_lattice(tuple(displacement.shape[1:]))  # type: ignore[arg-type]
    return (inverse + sample_index(displacement, lattice + inverse.permute(1, 2, 3, 0))).norm(dim=0)


def sine_stretch(length: int, slope: float) -> tuple[torch.Tensor, float]:
    """u_x = a sin(2 pi x / (length - 1)) with largest slope ``slope``; zero at both ends."""
    wave = 2 * np.pi / (length - 1)
    displacement = torch.zeros(3, 6, 7, length)
    displacement[0] = (slope / wave) * torch.sin(wave * torch.arange(length, dtype=torch.float32))
    return displacement, wave


def scaling_bump(size: int, gain: float, width: float) -> torch.Tensor:
    """u = gain (x - c) exp(-|x - c|^2 / (2 width^2)): stretches the middle by 1 + gain, fades outwards."""
    offset = (index_lattice((size, size, size)) - (size - 1) / 2).permute(3, 0, 1, 2)
    return gain * offset * torch.exp(-offset.square().sum(0) / (2 * width**2))


def plain_fixed_point(displacement: torch.Tensor, sweeps: int) -> torch.Tensor:
    lattice = index_lattice(tuple(displacement.shape[1:]))  # type: ignore[arg-type]
    inverse = -displacement
    for _ in range(sweeps):
        inverse = -sample_index(displacement, lattice + inverse.permute(1, 2, 3, 0))
    return inverse


def test_inverse_of_the_identity(grid: Grid) -> None:
    field = DisplacementField(np.zeros((*grid.shape, 3), np.float32), grid)
    assert not field.invert().vectors_mm.any()


def test_inverse_of_a_constant_is_its_negative(grid: Grid) -> None:
    vectors = np.zeros((*grid.shape, 3), np.float32)
    vectors[...] = (3.0, -2.0, 1.0)
    inverse = invert_field(DisplacementField(vectors, grid))
    assert inverse.grid == grid
    assert np.abs(inverse.vectors_mm + vectors).max() < 1e-5


def test_sine_stretch_has_the_known_inverse() -> None:
    displacement, wave = sine_stretch(64, 0.85)
    inverse = invert_index(displacement)
    assert residual(displacement, inverse).max() < 0.02
    slope = 0.85
    for y in range(64):
        x = brentq(lambda place, target: place + slope / wave * np.sin(wave * place) - target, -20, 83, args=(float(y),))
        # The field is sampled once a voxel: curvature over a voxel (0.85 wave / 8 < 0.011) over the smallest slope, 0.15.
        assert abs(float(inverse[0, 2, 3, y]) - (x - y)) < 0.08
    assert inverse[1:].abs().max() < 1e-6


def test_nearly_folded_field_is_inverted() -> None:
    displacement, _ = sine_stretch(64, 0.85)
    assert 0.14 < index_determinant(displacement).min() < 0.17
    assert residual(displacement, invert_index(displacement)).max() < 0.02


def test_scaling_bump_has_the_known_inverse() -> None:
    gain, width, size = 1.5, 7.0, 41
    displacement = scaling_bump(size, gain, width)
    inverse = invert_index(displacement)
    centre = (size - 1) // 2
    for distance in range(1, centre):
        radius = brentq(lambda r, reach: r * (1 + gain * np.exp(-(r**2) / (2 * width**2))) - reach, 0, 40, args=(float(distance),))
        assert abs(float(inverse[0, centre, centre, centre + distance]) - (radius - distance)) < 0.1
        assert abs(float(inverse[2, centre - distance, centre, centre]) - (distance - radius)) < 0.1


def test_converges_where_the_plain_fixed_point_does_not() -> None:
    displacement = scaling_bump(27, 1.5, 4.5)
    assert index_determinant(displacement).min() > 0.1
    assert residual(displacement, plain_fixed_point(displacement, 30)).max() > 0.5
    assert residual(displacement, invert_index(displacement)).max() < 0.02


def test_smooth_fields_on_all_orientations(grid: Grid, wavy_field: FieldMaker) -> None:
    field = wavy_field(grid, 2.5)
    displacement = index_from_mm(field)
    assert index_determinant(displacement).min() > 0.1
    assert residual(displacement, index_from_mm(field.invert())).max() < 0.02


def test_points_come_back(grid: Grid, wavy_field: FieldMaker) -> None:
    field = wavy_field(grid, 2.5)
    points = grid.points_lps()
    back = field.map(field.invert().map(points))
    # At voxel centres of the inverse's grid nothing but the solver's tolerance is left.
    assert np.abs(back - points).max() < 0.02 * max(grid.spacing)


def test_guess_leads_to_the_same_inverse(grid: Grid, wavy_field: FieldMaker) -> None:
    displacement = index_from_mm(wavy_field(grid, 2.5))
    plain = invert_index(displacement)
    guess = plain + 0.3
    kept = guess.clone()
    guessed = invert_index(displacement, guess=guess)
    assert torch.equal(guess, kept)
    assert residual(displacement, guessed).max() < 0.02
    assert (guessed - plain).abs().max() < 0.05


def test_tolerance_is_kept(grid: Grid, wavy_field: FieldMaker) -> None:
    displacement = index_from_mm(wavy_field(grid, 2.5))
    assert residual(displacement, invert_index(displacement, tolerance_voxels=0.001)).max() < 0.002


def test_consistency_of_a_pair_and_of_a_wrong_pair() -> None:
    grid = Grid((12, 12, 12), (1.0, 2.0, 4.0), (0.0, 0.0, 0.0), (-1, 0, 0, 0, 1, 0, 0, 0, 1))
    there = torch.zeros(3, 12, 12, 12)
    there[2] = 0.25
    field, back = field_from_index(there, grid), field_from_index(-there, grid)
    assert inverse_consistency(field, back).p99_voxels < 1e-5
    # Applied twice instead of undone: half a voxel along the 4 mm axis everywhere.
    wrong = inverse_consistency(field, field)
    assert np.allclose((wrong.mean_voxels, wrong.p99_voxels, wrong.mean_mm, wrong.p99_mm), (0.5, 0.5, 2.0, 2.0), rtol=0, atol=1e-5)


def test_consistency_looks_only_inside() -> None:
    grid = Grid((10, 10, 10), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    there = torch.zeros(3, 10, 10, 10)
    there[0, :, :5] = 1.0
    inside = np.zeros((10, 10, 10), bool)
    inside[:, 5:] = True
    still = field_from_index(torch.zeros_like(there), grid)
    assert inverse_consistency(field_from_index(there, grid), still, inside).mean_mm == 0.0
    assert np.isclose(inverse_consistency(field_from_index(there, grid), still).mean_mm, 0.5)


def test_large_fields_of_odd_size_are_inverted_to_the_tolerance() -> None:
    # 71 x 73 x 69 voxels: begun at half the resolution, which halves none of the axes evenly.
    displacement = torch.nn.functional.pad(scaling_bump(67, 0.8, 9.0), (3, 1, 2, 4, 1, 1))
    assert displacement[0].numel() > inverse_module._LARGE
    found = invert_index(displacement)
    assert float(residual(displacement, found).max()) < 0.01
    assert float((found - invert_index(displacement, guess=-displacement)).norm(dim=0).max()) < 0.05
