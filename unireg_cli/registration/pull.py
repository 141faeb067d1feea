"""What the user knows, as a force on the displacement: structures onto structures, landmarks onto landmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from unireg_cli.registration.alignment import coarser
from unireg_cli.registration.landmarks import spread
from unireg_cli.registration.maps import StructureMaps
from unireg_cli.registration.segmentations import Structures, codes_on
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.drawing import draw_channels
from unireg_cli.spatial.filters import central_difference, gaussian, resize_displacement
from unireg_cli.spatial.sampling import index_lattice, sample_index

Before = Callable[[Grid], Tensor]

# Smoothing of a structure's mask, voxels of the level: borders are felt from 2.5 times as far.
_BLUR, _FELT = 2.0, 2.5
# Share of a smoothed mask beyond which it is as good as 0 or 1.
_LEAST = 0.0062
# Keeps a force finite where a smoothed border has hardly a slope.
_FLOOR = 0.1
# Damping of a step between structure maps, by their squared difference and by a constant.
_DAMPING, _FLAT = 0.5, 2e-3
# Width of a landmark's pull, in the level's largest voxel edge.
_WIDTH = 3.0


class Pull(Protocol):
    """A force at one scale."""

    def velocity(self, displacement: Tensor, width: float) -> tuple[float, Tensor]:
        """How far off the guides still are on average (voxels), and the step (3, D, H, W) in voxels that would bring them home.

        The step is nowhere longer than a voxel and smoothed by a Gaussian of ``width`` voxels, see :func:`settled`.
        """


def shortened(velocity: Tensor, most: float = 1.0) -> Tensor:
    """Vectors (3, D, H, W) longer than ``most`` cut to that length."""
    return velocity * (most / velocity.square().sum(dim=0).sqrt_().clamp_min_(most))


def settled(step: Tensor, widths: tuple[float, float, float], most: float = 1.0) -> Tensor:
    """A step (3, D, H, W) as it may be taken: no longer than ``most``, then smoothed by ``widths`` (z, y, x), all in voxels."""
    return gaussian(shortened(step, most), widths)


@dataclass(frozen=True, slots=True, eq=False)
class _Border:
    """One structure at one scale: distances from its border (voxels, inside positive, clipped) in a box of both lattices."""

    fixed: Tensor
    """(D', H', W') in ``place``."""
    place: tuple[slice, slice, slice]
    moving: Tensor
    """(2, D', H', W'): distances, and where the moving map is known."""
    corner: Tensor
    """First voxel (x, y, z) of ``moving`` on the fixed lattice."""


class StructurePull:
    """Brings the borders of structures onto each other.

    The smoothed mask s of a plane at distance d is Phi(d / blur): its inverse gives back d, with a fraction of a voxel's
    precision and only near the border. Gauss-Newton on (d_fixed - d_moved)^2, with the mean slope of both.
    """

    def __init__(self, structures: Structures, affine: Affine, grid: Grid, before: Before | None, device: torch.device) -> None:
        margin = [max(2, n // 8) for n in grid.size]
        wide = grid.padded(margin, margin)
        fixed, moving = (torch.from_numpy(one.voxels).to(device) for one in (structures.fixed, structures.moving))
        first = codes_on(fixed, structures.fixed.grid, grid, Affine.identity())
        second = codes_on(moving, structures.moving.grid, wide, affine, None if before is None else before(wide))
        self.shape = grid.shape
        self.lattice = index_lattice(grid.shape, device=device)
        self.borders = [border for code in structures.steering_codes if (border := _border(first, second, code, margin)) is not None]

    def velocity(self, displacement: Tensor, width: float) -> tuple[float, Tensor]:
        """Mean distance between borders, and the step that closes it; see :class:`Pull`."""
        push = displacement.new_zeros(3, *self.shape)
        slope = displacement.new_full(self.shape, _FLOOR)
        off = []
        for border in self.borders:
            inside = (slice(None), *border.place)
            where = self.lattice[border.place] + displacement[inside].permute(1, 2, 3, 0) - border.corner
            moved, known = sample_index(border.moving, where)
            apart = (border.fixed - moved).mul_(known)
            slopes = central_difference(moved + border.fixed).mul_(0.5)
            push[inside] += slopes * apart
            slope[border.place] += slopes.square().sum(dim=0)
            near = border.fixed.abs() < _BLUR
            off.append(float(apart[near].abs().mean()) if bool(near.any()) else 0.0)
        return sum(off) / max(len(off), 1), settled(push.div_(slope), (width,) * 3)


def _border(fixed: Tensor, moving: Tensor, code: int, margin: list[int]) -> _Border | None:
    """One structure, or None where a scale is too coarse to show it in both images."""
    here, seen = _box(fixed == code), _box(moving == code)
    if here is None or seen is None:
        return None
    reach = round(_BLUR * _FELT) + 2
    shift = [margin[2], margin[1], margin[0]]
    low = [max(0, min(a, b - s) - reach) for (a, _), (b, _), s in zip(here, seen, shift, strict=True)]
    high = [min(n, max(a, b - s) + reach + 1) for (_, a), (_, b), s, n in zip(here, seen, shift, fixed.shape, strict=True)]
    first = [max(0, a - reach) for a, _ in seen]
    last = [min(n, b + reach + 1) for (_, b), n in zip(seen, moving.shape, strict=True)]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return None
    place = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    there = moving[first[0] : last[0], first[1] : last[1], first[2] : last[2]]
    known = (there >= 0).float()
    corner = fixed.new_tensor([a - s for a, s in zip(first, shift, strict=True)][::-1], dtype=torch.float32)
    return _Border(_distance(fixed[place] == code), place, torch.stack((_distance(there == code, known), known)), corner)


def _distance(inside: Tensor, known: Tensor | None = None) -> Tensor:
    """About the distance from the border of a mask, voxels, inside positive, no further than it is felt."""
    share = gaussian(inside.float(), (_BLUR,) * 3)
    if known is not None and not bool(known.all()):
        # What the image does not show is neither inside nor outside.
        share = share / gaussian(known, (_BLUR,) * 3).clamp_min_(1e-3)
    distance: Tensor = torch.special.ndtri(share.clamp_(_LEAST, 1 - _LEAST))
    return distance.mul_(_BLUR)


def _box(inside: Tensor) -> list[tuple[int, int]] | None:
    """First and last index along each array axis; None for an empty mask."""
    found = []
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        places = inside.any(dim=others[1]).any(dim=others[0]).nonzero()[:, 0]
        if not len(places):
            return None
        found.append((int(places[0]), int(places[-1])))
    return found


class LandmarkPull:
    """Draws x_i + u(x_i) to the place where the moving landmark is, with a Gaussian reach that follows the voxel size."""

    def __init__(self, places: Tensor, targets: Tensor, weights: Tensor, grid: Grid) -> None:
        """``places`` and ``targets`` (N, 3) in voxels of ``grid``."""
        self.shape = grid.shape
        self.places, self.targets, self.weights = places, targets, weights
        width = _WIDTH * max(grid.spacing)
        self.sigma = tuple(width / edge for edge in grid.spacing)

    def velocity(self, displacement: Tensor, width: float) -> tuple[float, Tensor]:
        """Weighted mean distance of the landmarks from their targets, and the step; see :class:`Pull`."""
        left = self.targets - self.places - sample_index(displacement, self.places).T
        off = float((left.norm(dim=1) * self.weights).sum() / self.weights.sum())
        return off, settled(spread(self.places, left, self.weights, self.sigma, self.shape), (width,) * 3)


class Pulls:
    """Several forces as one."""

    def __init__(self, parts: list[Pull]) -> None:
        self.parts = parts

    def velocity(self, displacement: Tensor, width: float) -> tuple[float, Tensor]:
        """Sums; see :class:`Pull`."""
        found = [part.velocity(displacement, width) for part in self.parts]
        return sum(off for off, _ in found), torch.stack([step for _, step in found]).sum(dim=0)


class MapPull:
    """Lays the moving structure maps onto the fixed ones.

    Gauss-Newton on the squared difference of all channels, with the mean slope of both maps, damped by the difference itself so that
    steps stay short where the maps tell little. Maps are no finer than the lattice they were made on: at finer scales the step
    is found on fewer voxels.

    Source:
        Thirion, "Image matching as a diffusion process: an analogy with Maxwell's demons", Medical Image Analysis 1998.
    """

    def __init__(self, maps: StructureMaps, affine: Affine, grid: Grid, before: Before | None, strength: float) -> None:
        self.shape = grid.shape
        own = coarser(grid, maps.grid.voxels) if grid.voxels > maps.grid.voxels else grid
        margin = [max(2, n // 8) for n in own.size]
        wide = own.padded(margin, margin)
        shares = maps.shares[:, None, None, None]
        self.fixed = draw_channels(maps.fixed, maps.grid, own, Affine.identity())[0] * shares
        self.slopes = central_difference(self.fixed)
        moving = maps.moved(affine, wide, None if before is None else before(wide)) * shares
        # Channels last: the values of a voxel are read together.
        self.moving = moving.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
        self.lattice = index_lattice(own.shape, device=moving.device) + moving.new_tensor([float(m) for m in margin])
        self.strength = strength

    def velocity(self, displacement: Tensor, width: float) -> tuple[float, Tensor]:
        """How far apart the maps are, in voxels of their own slope, and the step that closes it; see :class:`Pull`."""
        depth, height, across = self.fixed.shape[1:]
        own = resize_displacement(displacement, (depth, height, across))
        moved = sample_index(self.moving, self.lattice + own.permute(1, 2, 3, 0))
        apart = self.fixed - moved
        slopes = central_difference(moved).add_(self.slopes).mul_(0.5)
        push = torch.einsum("acdhw,cdhw->adhw", slopes, apart)
        steep, far = slopes.square_().sum(dim=(0, 1)), apart.square_().sum(dim=0)
        off = float((far.sum() / steep.sum().clamp_min(1e-6)).sqrt())
        push.mul_(self.strength).div_(steep + far * _DAMPING + _FLAT)
        # Smoothed where it was found: on the level's own voxels, which may be many more, it would take as long as the images' part.
        part = (depth / self.shape[0], height / self.shape[1], across / self.shape[2])
        push = settled(push, (width * part[0], width * part[1], width * part[2]), min(part))
        return off, resize_displacement(push, self.shape)
