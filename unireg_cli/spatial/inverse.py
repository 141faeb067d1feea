"""The inverse of a displacement field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unireg_cli.spatial.field import DisplacementField, field_from_index, index_from_mm
from unireg_cli.spatial.filters import resize_displacement
from unireg_cli.spatial.sampling import index_lattice, sample_index

# Newton works on this many unconverged voxels at once (9 gradient channels each).
_CHUNK = 500_000
_NEWTON_STEPS = 30
# Fields of more voxels are inverted at half their resolution first.
_LARGE = 300_000
# Voxels at which a round trip is measured.
_SAMPLE = 200_000


def invert_field(field: DisplacementField, *, tolerance_voxels: float = 0.01, guess: Tensor | None = None) -> DisplacementField:
    """v with v(y) = -u(y + v(y)), on the field's own grid.

    The field is the identity outside its buffer; where it fades to zero at its edge it maps its box onto itself, so the
    inverse needs no larger grid (transforms.md 2).

    Args:
        field: the field to invert.
        tolerance_voxels: stop when no voxel is off by more than this (length of the residual in voxels of the grid).
        guess: (3, D, H, W), voxels: a first guess such as composed negated velocities; zero velocity otherwise.

    Source:
        Fixed point: Chen et al., "A simple fixed-point approach to invert a deformation field", Med Phys 2008.
        Newton's step where that converges slowly (large gradients of u).
    """
    return field_from_index(invert_index(index_from_mm(field), tolerance_voxels, guess), field.grid)


def invert_index(displacement: Tensor, tolerance_voxels: float = 0.01, guess: Tensor | None = None, sweeps: int = 12) -> Tensor:
    """As :func:`invert_field` in voxels: (3, D, H, W), channels x, y, z."""
    depth, height, width = displacement.shape[1:]
    if guess is None and depth * height * width > _LARGE:
        # An eighth of the voxels give a guess from which most of the others have no way left to go.
        half = resize_displacement(displacement, (-(-depth // 2), -(-height // 2), -(-width // 2)))
        guess = resize_displacement(invert_index(half, tolerance_voxels, sweeps=sweeps), (depth, height, width))
    places = index_lattice((depth, height, width), device=displacement.device).view(-1, 3)
    packed = displacement.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
    inverse = -displacement.permute(1, 2, 3, 0) if guess is None else guess.permute(1, 2, 3, 0).clone()
    flat = inverse.contiguous().view(-1, 3)
    _sweep(packed, places, flat, tolerance_voxels, sweeps)
    return flat.view(depth, height, width, 3).permute(3, 0, 1, 2).contiguous()


def _sweep(packed: Tensor, places: Tensor, flat: Tensor, tolerance: float, sweeps: int) -> None:
    """Fixed-point sweeps over the voxels of ``flat`` (N, 3) that are still off, then Newton over what is stubborn; in place."""
    open_ = torch.arange(len(flat), device=flat.device)
    for _ in range(sweeps):
        left = []
        for part in torch.split(open_, 4 * _CHUNK):
            value = flat[part]
            landed = -sample_index(packed, places[part] + value).T
            # A value is as far off as it lands from itself. One that is close enough stays, and need not be looked at again.
            off = (landed - value).square_().sum(-1) > tolerance**2
            flat[part[off]] = landed[off]
            left.append(part[off])
        open_ = torch.cat(left)
        if len(open_) < 0.02 * len(flat):
            break
    for part in torch.split(open_, _CHUNK):
        front = _Front(part, places[part], flat[part])
        for _ in range(_NEWTON_STEPS):
            if not _newton_step(packed, front, flat, tolerance):
                break


@dataclass(slots=True)
class _Front:
    """The voxels that Newton still works on: where they are, their guess, and how far off it is."""

    where: Tensor
    position: Tensor
    value: Tensor


def _newton_step(packed: Tensor, front: _Front, flat: Tensor, tolerance: float) -> bool:
    """One damped step for all voxels of the front; writes back, keeps those still off, True if any are left."""
    residual = front.value + sample_index(packed, front.position + front.value).T
    slopes = []
    for axis in range(3):
        # Half a voxel to either side: the slope of the linear interpolant that a reader of the file sees.
        nudge = front.value.new_zeros(3)
        nudge[axis] = 0.5
        ahead = sample_index(packed, front.position + front.value + nudge)
        slopes.append((ahead - sample_index(packed, front.position + front.value - nudge)).T)
    matrix = torch.stack(slopes, dim=-1) + torch.eye(3, device=flat.device)
    safe = torch.linalg.det(matrix) > 1e-3
    matrix[~safe] = torch.eye(3, device=flat.device)
    step = torch.linalg.solve(matrix, residual)
    # No step longer than a voxel: u is only piecewise linear, its slope says nothing further away.
    step = step / step.norm(dim=-1, keepdim=True).clamp_min(1.0)
    trial = front.value - step
    after = trial + sample_index(packed, front.position + trial).T
    worse = after.square().sum(-1) > residual.square().sum(-1)
    trial[worse] = front.value[worse] - 0.5 * step[worse]
    flat[front.where] = trial
    left = (trial + sample_index(packed, front.position + trial).T).square().sum(-1) > tolerance**2
    front.where, front.position, front.value = front.where[left], front.position[left], trial[left]
    return bool(left.any())


@dataclass(frozen=True, slots=True)
class ConsistencyError:
    """|phi_inverse(phi(x)) - x| over the voxels looked at, mm and voxels of the field's grid."""

    mean_mm: float
    p99_mm: float
    mean_voxels: float
    p99_voxels: float


def inverse_consistency(field: DisplacementField, inverse: DisplacementField, inside: np.ndarray | None = None) -> ConsistencyError:
    """Round-trip error of a field and its inverse on the same grid; ``inside`` (D, H, W) limits where it is measured.

    Measured at no more than about 200,000 voxels, evenly spread: enough for a 99th percentile.
    """
    chosen = np.arange(field.grid.voxels) if inside is None or not inside.any() else np.flatnonzero(inside)
    chosen = chosen[:: max(1, len(chosen) // _SAMPLE)]
    start = np.stack(np.unravel_index(chosen, field.grid.shape)[::-1], axis=-1) @ field.grid.lps_from_index[:3, :3].T
    start = start + field.grid.lps_from_index[:3, 3]
    loop = inverse.map(field.map(start)) - start
    mm = np.linalg.norm(loop, axis=-1)
    voxels = np.linalg.norm(loop @ field.grid.index_from_lps[:3, :3].T, axis=-1)
    return ConsistencyError(float(mm.mean()), float(np.percentile(mm, 99)), float(voxels.mean()), float(np.percentile(voxels, 99)))
