"""Composition of displacements and integration of stationary velocities, in voxels of one grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unireg_cli.spatial.sampling import index_lattice, sample_index


def warp(volume: Tensor, displacement: Tensor, lattice: Tensor | None = None, *, border: bool = True) -> Tensor:
    """volume(x + u(x)) on u's own grid.

    Args:
        volume: (C, D, H, W) float32 on the same lattice as ``displacement``.
        displacement: (3, D, H, W), channels x, y, z, voxels.
        lattice: ``index_lattice`` of the shape, to save making it again.
        border: repeat edge values outside (else zeros).
    """
    if lattice is None:
        lattice = index_lattice(tuple(displacement.shape[1:]), device=displacement.device)  # type: ignore[arg-type]
    return sample_index(volume, lattice + displacement.permute(1, 2, 3, 0), border=border)


def compose(outer: Tensor, inner: Tensor, lattice: Tensor | None = None, *, border: bool = True) -> Tensor:
    """Displacement of (id + outer) o (id + inner) = id + inner + outer(x + inner); all (3, D, H, W), voxels."""
    return warp(_packed(outer), inner, lattice, border=border).add_(inner)


def _packed(displacement: Tensor) -> Tensor:
    """The same in other memory, the components of a voxel side by side: they are read from one cache line, twice as fast as planes."""
    return displacement.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)


def integrate(velocity: Tensor, *, largest_step: float = 0.25, lattice: Tensor | None = None) -> Tensor:
    """exp(v): displacement at time 1 of the flow of a stationary velocity, by a midpoint step of a fraction of it, then squared.

    Args:
        velocity: (3, D, H, W), voxels per unit time.
        largest_step: the velocity is halved until no voxel moves further than this in a step; the first two steps are one, by the
            midpoint rule, and what it gives is squared once less.

    Source:
        Arsigny et al., "A log-Euclidean framework for statistics on diffeomorphisms", MICCAI 2006 (scaling and squaring).
    """
    longest = float(velocity.abs().amax())
    if longest > 0 and lattice is None:
        lattice = index_lattice(tuple(velocity.shape[1:]), device=velocity.device)  # type: ignore[arg-type]
    return exponential(velocity, longest, largest_step, lattice) if longest > 0 else torch.clone(velocity)


def exponential(velocity: Tensor, reach: float, largest_step: float, lattice: Tensor | None = None) -> Tensor:
    """exp(v) as :func:`integrate`, for a velocity known to be nowhere longer than ``reach``.

    The number of squarings follows from the bound and not from the values: nothing waits for the device, and it can be differentiated.
    """
    halvings = max(0, math.ceil(math.log2(reach / largest_step)))
    if not halvings:
        return velocity.clone()
    # Twice the largest step at once, by the velocity half-way: as much work as one squaring, and right to the second order.
    step = velocity * 0.5 ** (halvings - 1)
    displacement = warp(_packed(step), 0.5 * step, lattice)
    for _ in range(halvings - 1):
        displacement = compose(displacement, displacement, lattice)
    return displacement
