"""From the optimiser's displacement to a written field: no fold, no tear at any edge, and an inverse."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unireg_cli.spatial import DisplacementField, Grid
from unireg_cli.spatial.field import field_from_index
from unireg_cli.spatial.filters import gaussian, resize_displacement
from unireg_cli.spatial.jacobian import index_determinant

# Where three faces meet, the slopes of the three fades (smoothsteps) times their lengths sum to at most this.
_FADE_SLOPE = 2.41
# The margin is longer than it must be by this factor, so that the map stays monotonic there and clear of folding.
_FADE_ROOM = 1.1
# Determinants below this are smoothed away before writing.
_LEAST_DETERMINANT = 0.02


def finish_field(displacement: Tensor, network_grid: Grid, fixed_grid: Grid, spacing: str) -> tuple[DisplacementField, int]:
    """The field to be written: faded out beyond the network grid, at the spacing asked for, without folds."""
    faded, wide = fade_out(displacement, network_grid)
    if spacing != "auto":
        faded, wide = at_spacing(faded, wide, fixed_grid if spacing == "full" else float(spacing))
    faded, mended = remove_folds(faded)
    return field_from_index(faded, wide), mended


def fade_out(displacement: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
    """The field on a larger grid on which it falls smoothly to zero at the edge.

    ITK takes a displacement field for the identity outside its buffer, so a field that is not zero at its edge tears
    the image there. Beyond the network grid the edge value continues and fades out; the margin of each side grows with
    the displacement there (2.7 times the outward part, so that the fade cannot fold).

    Args:
        displacement: (3, D, H, W), voxels of ``grid``, channels x, y, z.
        grid: the network grid.

    Returns:
        The displacement on the padded grid, and that grid.
    """
    low, high = _margins(displacement)
    wide = grid.padded(low, high)
    for axis, (before, after) in enumerate(zip(low, high, strict=True)):
        array_axis = 3 - axis
        count = displacement.shape[array_axis]
        place = torch.arange(-before, count + after, device=displacement.device)
        displacement = displacement.index_select(array_axis, place.clamp(0, count - 1))
        beyond = torch.where(place < 0, -place / before, (place - (count - 1)) / after).clamp_(0, 1)
        weight = 1 - beyond * beyond * (3 - 2 * beyond)
        displacement *= weight.view([-1 if n == array_axis else 1 for n in range(4)])
    return displacement, wide


def _margins(displacement: Tensor) -> tuple[list[int], list[int]]:
    """Voxels to add below and above each axis (x, y, z)."""
    low: list[int] = []
    high: list[int] = []
    for axis in range(3):
        for side, margins in ((0, low), (-1, high)):
            face = displacement.select(3 - axis, side)
            outward = float((-face[axis] if side == 0 else face[axis]).amax())
            shear = float(face.abs().amax())
            margins.append(max(3, math.ceil(_FADE_ROOM * _FADE_SLOPE * max(outward, 0.0)) + 1, math.ceil(shear)))
    return low, high


def remove_folds(displacement: Tensor, rounds: int = 60) -> tuple[Tensor, int]:
    """The displacement with every Jacobian determinant above a small positive number, and how many voxels were too low.

    Local smoothing where it is needed, with a soft edge: elsewhere not a bit is changed.
    """
    low = index_determinant(displacement) < _LEAST_DETERMINANT
    found = int(low.sum())
    if not found:
        return displacement, 0
    region = torch.zeros_like(displacement[0])
    for _ in range(rounds):
        # Once in, a voxel stays in, and the region grows while folds remain.
        region = torch.maximum(region, low.float())
        soft = gaussian(region, (1.5,) * 3).mul_(4).clamp_(0, 1)
        displacement = displacement + soft * (gaussian(displacement, (1.2,) * 3) - displacement)
        low = index_determinant(displacement) < _LEAST_DETERMINANT
        if not bool(low.any()):
            break
    return displacement, found


def at_spacing(displacement: Tensor, grid: Grid, spacing: float | Grid) -> tuple[Tensor, Grid]:
    """The faded field with voxels of about ``spacing`` mm, or of the size of another grid's, over the same field of view."""
    wanted = [spacing] * 3 if isinstance(spacing, int | float) else list(spacing.spacing)
    size = [max(4, round(extent / edge)) for extent, edge in zip(grid.extent_mm.tolist(), wanted, strict=True)]
    target = grid.resized(size)
    changed = resize_displacement(displacement, target.shape)
    # Resizing keeps voxel edges, not centres: the outermost layer is near zero but must be zero.
    for axis in (1, 2, 3):
        changed.select(axis, 0).zero_()
        changed.select(axis, -1).zero_()
    return changed, target
