"""Float32 images redrawn on other grids for the optimiser: fast, smoothed against aliasing, affine maps only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from unireg_cli.spatial.affine import Affine
from unireg_cli.spatial.filters import apply_matrix, gaussian, reading_matrix
from unireg_cli.spatial.grid import Grid
from unireg_cli.spatial.sampling import index_lattice, sample_index
from unireg_cli.types import FloatArray

# Voxels of the image by which axes of two grids may part from one end to the other and still be taken for the same.
_STRAY = 1e-3


def index_map(image: Grid, target: Grid, affine: Affine) -> FloatArray:
    """4 x 4: index on ``target`` -> continuous index on ``image``; ``affine`` maps target points to image points, LPS mm."""
    return np.asarray(image.index_from_lps @ affine.matrix @ target.lps_from_index)


def map_lattice(lattice: Tensor, matrix: FloatArray) -> Tensor:
    """Voxel indices (..., 3) through a 4 x 4 index map, float32."""
    linear = torch.as_tensor(np.ascontiguousarray(matrix[:3, :3].T), dtype=lattice.dtype, device=lattice.device)
    offset = torch.as_tensor(matrix[:3, 3], dtype=lattice.dtype, device=lattice.device)
    kind = lattice.device.type
    # Autocast would round places to bfloat16, whole voxels from 128 on.
    with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
        return torch.addmm(offset, lattice.reshape(-1, 3), linear).reshape(lattice.shape)


def draw(values: Tensor, grid: Grid, target: Grid, affine: Affine, displacement: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One image (D, H, W), see :func:`draw_channels`."""
    found, known = draw_channels(values[None], grid, target, affine, displacement)
    return found[0], known


def draw_channels(
    values: Tensor, grid: Grid, target: Grid, affine: Affine, displacement: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``values`` (C, D, H, W) on ``grid`` pulled onto ``target`` through ``affine``, and where it is known (1) or outside (0).

    With a ``displacement`` u (3, D, H, W), voxels of the target, the image is read at affine(x + u(x)). Where the target is coarser
    the image is smoothed first to the target's voxel size. Outside the image edge values repeat.
    """
    matrix = index_map(grid, target, affine)
    step = np.abs(matrix[:3, :3]).max(axis=1)
    sigma = [0.5 * math.sqrt(max(s * s - 1, 0.0)) for s in step]
    found = read_by_axes(values, grid, target, matrix, sigma) if displacement is None else None
    if found is not None:
        return found
    smooth = gaussian(values, (sigma[2], sigma[1], sigma[0]))
    lattice = index_lattice(target.shape, device=values.device)
    if displacement is not None:
        lattice = lattice + displacement.permute(1, 2, 3, 0)
    index = map_lattice(lattice, matrix)
    return sample_index(smooth, index), known_inside(index, grid.size)


def _aligned_axes(matrix: FloatArray, target: Grid) -> tuple[int, int, int] | None:
    """Which axis of the target runs along each axis x, y, z of the image; None if the grids are turned against each other."""
    size = np.abs(matrix[:3, :3])
    partner = size.argmax(axis=1).tolist()
    if sorted(partner) != [0, 1, 2]:
        return None
    others = size.copy()
    others[range(3), partner] = 0
    # From end to end of the target it may stray by so little.
    stray = float((others * np.asarray(target.size)).max())
    return (partner[0], partner[1], partner[2]) if stray < _STRAY else None


def read_by_axes(
    values: Tensor, grid: Grid, target: Grid, matrix: FloatArray, sigma: Sequence[float] = (0.0, 0.0, 0.0)
) -> tuple[Tensor, Tensor] | None:
    """``values`` (C, D, H, W) on ``grid`` at the voxels of ``target``, and where ``inside_buffer`` holds; None if the axes do not agree.

    Smoothing and reading are one matrix for each axis, and what shrinks is smaller from axis to axis.

    Args:
        values: float32.
        grid: theirs.
        target: where they are read; edge values repeat outside.
        matrix: :func:`index_map` of the two.
        sigma: of a Gaussian before, voxels of ``grid`` along x, y, z.
    """
    partner = _aligned_axes(matrix, target)
    if partner is None:
        return None
    inside = []
    # What shrinks most comes first.
    for axis in sorted(range(3), key=lambda own: target.size[partner[own]] / grid.size[own]):
        own = partner[axis]
        place = matrix[axis, own] * np.arange(target.size[own]) + matrix[axis, 3]
        reading = reading_matrix(place, grid.size[axis], sigma[axis]).to(values.device, torch.float32)
        values = apply_matrix(values, reading, -1 - axis)
        shape = [-1 if own == other else 1 for other in (2, 1, 0)]
        inside.append(torch.from_numpy((place >= -0.5) & (place < grid.size[axis] - 0.5)).view(shape).to(values.device))
    order = [3 - axis for axis in sorted(range(3), key=lambda own: -partner[own])]
    return values.permute(0, *order).contiguous(), (inside[0] & inside[1] & inside[2]).to(values.dtype)


def known_inside(index_xyz: Tensor, size: tuple[int, int, int]) -> Tensor:
    """1 where a continuous index is within half a voxel of the image's voxel centres, else 0: (..., 3) -> (...), float32."""
    # Distance from the middle, axis by axis, against half the extent: no (..., 3) boolean is made.
    known: Tensor | None = None
    for axis in range(3):
        half = size[axis] / 2
        inside = (index_xyz[..., axis] - (half - 0.5)).abs() < half
        known = inside if known is None else known & inside
    assert known is not None  # three axes, always
    return known.to(index_xyz.dtype)
