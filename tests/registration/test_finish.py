from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scenes import cube

from unireg_cli.registration.finish import at_spacing, fade_out, remove_folds
from unireg_cli.spatial import DisplacementField, Grid
from unireg_cli.spatial.field import field_from_index, index_from_mm
from unireg_cli.spatial.jacobian import index_determinant
from unireg_cli.spatial.sampling import index_lattice

FieldMaker = Callable[..., DisplacementField]
SHAPE = (12, 14, 16)
GRID = Grid.from_arrays(SHAPE[::-1], (1.5, 2.0, 3.0), (-20.0, 5.0, 7.0), np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]]))


def constant(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None, None, None].expand(3, *SHAPE).contiguous()


def edge(values: torch.Tensor) -> torch.Tensor:
    """The outermost layer of (3, D, H, W), flat."""
    return torch.cat([values.select(axis, side).flatten() for axis in (1, 2, 3) for side in (0, -1)])


def inside(wide: Grid, grid: Grid) -> tuple[slice, ...]:
    """Where ``grid`` lies in ``wide``: slices of (D, H, W)."""
    offset = wide.index_from_lps[:3, :3] @ np.asarray(grid.origin) + wide.index_from_lps[:3, 3]
    start = np.rint(offset).astype(int)
    assert np.allclose(offset, start, rtol=0, atol=1e-6)
    return tuple(slice(int(s), int(s) + n) for s, n in zip(start[::-1], grid.shape, strict=True))


@pytest.mark.parametrize(
    "values", [(0.0, 0.0, 0.0), (10.0, 0.0, 0.0), (0.0, -10.0, 0.0), (0.3, 0.0, 10.0), (10.0, -8.0, 6.0), (-10.0, -10.0, -10.0)]
)
def test_a_shifted_field_of_view_fades_without_a_fold(values: tuple[float, float, float]) -> None:
    displacement = constant(*values)
    kept = displacement.clone()
    faded, wide = fade_out(displacement, GRID)
    assert torch.equal(displacement, kept)
    assert tuple(faded.shape[1:]) == wide.shape
    assert wide.spacing == GRID.spacing and wide.direction == GRID.direction
    assert torch.equal(faded[(slice(None), *inside(wide, GRID))], kept)
    assert not edge(faded).any()
    assert float(index_determinant(faded).min()) > 0
    # No jump from voxel to voxel either: the fade is spread over its margin.
    for axis in (1, 2, 3):
        assert float(faded.diff(dim=axis).abs().max()) <= max(1.0, 0.6 * max(map(abs, values)))


def test_a_stretch_that_pushes_out_at_every_face_does_not_fold() -> None:
    middle = (torch.tensor(SHAPE[::-1]) - 1) / 2
    displacement = 0.9 * (index_lattice(SHAPE) - middle).permute(3, 0, 1, 2).contiguous()
    faded, wide = fade_out(displacement, GRID)
    assert float(displacement.abs().max()) > 6
    assert float(index_determinant(faded).min()) > 0
    assert torch.equal(faded[(slice(None), *inside(wide, GRID))], displacement)


def test_a_wave_at_the_edge_does_not_fold(grid: Grid, wavy_field: FieldMaker) -> None:
    field = wavy_field(grid, 3.0, fade=False)
    displacement = index_from_mm(field)
    faded, wide = fade_out(displacement, grid)
    assert not edge(faded).any()
    least = float(index_determinant(displacement).min())
    assert least > 0.1
    assert float(index_determinant(faded).min()) > 0
    # Points keep their way: the same millimetres on the larger grid.
    points = np.random.default_rng(0).uniform(1, np.asarray(grid.size) - 2, (50, 3)) @ grid.lps_from_index[:3, :3].T + grid.origin
    assert np.allclose(field_from_index(faded, wide).map(points), field.map(points), rtol=0, atol=1e-4)


def test_folds_are_mended_and_nothing_else_is_touched() -> None:
    place = index_lattice((30, 32, 34)).permute(3, 0, 1, 2)
    distance = (place - torch.tensor([12.0, 14.0, 13.0])[:, None, None, None]).square().sum(0)
    displacement = torch.zeros(3, 30, 32, 34)
    # Slope -2.4 / sqrt(e) at one side of the bump's middle: folds there.
    displacement[0] = 4.8 * torch.exp(-distance / (2 * 2.0**2))
    displacement[1] = 0.01 * place[0]
    folded = index_determinant(displacement) <= 0
    assert 10 < int(folded.sum()) < 300
    mended, found = remove_folds(displacement)
    assert found >= int(folded.sum())
    assert float(index_determinant(mended).min()) > 0
    far = distance > 14.0**2
    assert torch.equal(mended[:, far], displacement[:, far])
    # Smoothed, not wiped out.
    assert float(mended[0].max()) > 1.0


def test_a_field_without_folds_is_handed_back() -> None:
    displacement = constant(1.0, 2.0, 3.0)
    same, found = remove_folds(displacement)
    assert same is displacement and found == 0


@pytest.mark.parametrize("spacing", ["finer", "full", "coarser"])
def test_another_spacing_is_the_same_field(spacing: str, wavy_field: FieldMaker) -> None:
    grid = cube(32, 2.0)
    displacement = index_from_mm(wavy_field(grid, 3.0))
    wanted: float | Grid = {"finer": 1.0, "full": cube(48, 1.25), "coarser": 3.1}[spacing]
    changed, target = at_spacing(displacement, grid, wanted)
    edge_mm = wanted if isinstance(wanted, float) else wanted.spacing[0]
    assert target.spacing == pytest.approx((edge_mm,) * 3, rel=0.05)
    assert np.allclose(target.corners_lps(), grid.corners_lps(), rtol=0, atol=1e-6)
    assert not edge(changed).any()
    before, after = field_from_index(displacement, grid), field_from_index(changed, target)
    points = np.random.default_rng(1).uniform(-22, 22, (200, 3))
    assert np.abs(after.map(points) - before.map(points)).max() < 0.25
