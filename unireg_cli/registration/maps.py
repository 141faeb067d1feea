"""Where the network believes every structure to be in both images, packed into a few channels that can be laid onto each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from unireg_cli.model.network import Network
from unireg_cli.model.segmenter import Segmenter
from unireg_cli.registration.alignment import View, coarser
from unireg_cli.registration.network_grid import Box
from unireg_cli.registration.sight import Sight, see, shared_box
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.affine import fit_affine
from unireg_cli.spatial.drawing import draw_channels
from unireg_cli.spatial.filters import central_difference
from unireg_cli.types import FloatArray

# So many structures have a channel each; of more, every channel carries a random half against the other half. Structures that were asked
# for share no channel with others, and have at most so many.
_CHANNELS, _ASKED_CHANNELS = 16, 8
# Weight of the channels of all others where some were asked for.
_OTHERS = 0.3
# A structure counts if it is the likeliest at so many of the voxels looked at in both images, in volumes no more than this apart.
_LEAST_VOXELS, _MOST_APART = 2, 4.0
# Mean trust from which on maps lead. The hundred parcels of a brain are found with a Dice of 0.59 (trust about 0.3), and registration alone
# brings them together as well: on two tune pairs with maps that lead --fast lost 0.008 of Dice and the default 0.017; where they only pull
# the default gained 0.003. Other sets' mean trust is 0.5 and more.
_LEADING = 0.4
# Slices looked at in one go: the probabilities of a hundred structures need not all be in memory.
_SLAB = 8
# How strongly an affine between centres of structures is held near a shift, mm; the one that makes the maps agree best is taken.
_PULLS_MM = (40.0, 80.0, 160.0)
# Then the maps themselves are laid onto each other: voxels they are looked at on, about, and most steps of the descent.
_FIT_VOXELS, _FIT_STEPS = 20_000, 12
# What damps a step, as a share of the normal equations' diagonal.
_FIT_DAMPING = 0.02
# What it must gain, and how much it may stretch or shrink any direction.
_LEAST_GAIN, _MOST_STRETCHED = 0.005, 1.7
# Distances from the middle are measured in this, so that turns and shifts are numbers of one size.
_SCALE_MM = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class StructureMaps:
    """Probabilities of the structures that both images show, (C, D, H, W), each image's on a ``grid`` of its own.

    ``structures`` are vocabulary ids; ``centres`` (2, K, 3) where they are in fixed and moving, LPS mm of each image, and
    ``weights`` (K,) how much each centre counts: by the cube root of its volume and the segmenter's trust. ``shares`` (C,): what each
    channel counts in a deformation, less for structures that were not asked for; an affine is of the whole and takes all alike.
    ``reliance``: how far the structures are relied on in the mean, 0 to 1. ``leading``: whether they are sure enough to be laid together
    before the network and after it, and not only to pull beside the images. ``asked_reliance``: that of the structures that were
    asked for; None if all were, or if none of them is seen in both images.
    """

    fixed: Tensor
    moving: Tensor
    grid: Grid
    moving_grid: Grid
    structures: tuple[int, ...]
    centres: FloatArray
    weights: FloatArray
    shares: Tensor
    reliance: float
    leading: bool
    asked_reliance: float | None = None

    def moved(self, affine: Affine, grid: Grid, displacement: Tensor | None = None) -> Tensor:
        """The moving maps read at affine(x + u(x)) on a grid of the fixed space; ``displacement`` u (3, D, H, W) in its voxels."""
        return draw_channels(self.moving, self.moving_grid, grid, affine, displacement)[0]

    def agreement(self, affine: Affine) -> float:
        """How much the maps are alike under ``affine`` (fixed -> moving points, LPS mm): 1 if equal, 0 if they share nothing."""
        moving = self.moved(affine, self.grid)
        apart, all_of_both = (self.fixed - moving).square().sum(), self.fixed.square().sum() + moving.square().sum()
        return 1 - float(apart / all_of_both.clamp_min(1e-6))

    def alike(self) -> StructureMaps:
        """The same with all structures counting alike, whatever was asked for."""
        return replace(self, shares=torch.ones_like(self.shares))

    def asked(self) -> StructureMaps | None:
        """The channels of the structures that were asked for; None if there are none, or if they are not sure enough to lead."""
        if self.asked_reliance is None or self.asked_reliance < _LEADING:
            return None
        own = self.shares == 1
        return replace(self, fixed=self.fixed[own], moving=self.moving[own], shares=self.shares[own], reliance=self.asked_reliance)

    def coarse(self, voxels: int) -> StructureMaps:
        """The same on about so many voxels."""
        grids = coarser(self.grid, voxels), coarser(self.moving_grid, voxels)
        sides = (self.fixed, self.grid, grids[0]), (self.moving, self.moving_grid, grids[1])
        fixed, moving = (draw_channels(side, own, grid, Affine.identity())[0] for side, own, grid in sides)
        return replace(self, fixed=fixed, moving=moving, grid=grids[0], moving_grid=grids[1])


def map_structures(
    network: Network, views: tuple[View, View], bodies: tuple[Box, Box], affine: Affine, asked: Sequence[int] = ()
) -> StructureMaps | None:
    """Look for every structure that the segmenter was taught; None if it was taught none, or if both images show none.

    Args:
        network: in inference mode.
        views: normalised fixed and moving image.
        bodies: box of each image's body.
        affine: fixed -> moving points, LPS mm; it only says which part of each image the other one may show.
        asked: ids of structures to favour, none for all alike.
    """
    segmenter = network.segmenter
    if segmenter is None:
        return None
    ids, device = network.settings.segmented, views[0].values.device
    sights = []
    for own, other, through in ((0, 1, affine.invert()), (1, 0, affine)):
        box = shared_box(views[own].grid, bodies[own], views[other].grid, bodies[other], through)
        sights.append(see(network, segmenter, views[own], box))
    counts = torch.stack([sight.counts * float(np.prod(sight.grid.spacing)) for sight in sights])
    least, most = counts.amin(dim=0), counts.amax(dim=0)
    there = torch.stack([sight.counts for sight in sights]).amin(dim=0) >= _LEAST_VOXELS
    kept = torch.arange(len(ids), device=device)[there & (most <= _MOST_APART * least) & (segmenter.trust > 0)]
    if not len(kept):
        return None
    chosen = tuple(ids[int(k)] for k in kept)
    trust = segmenter.trust[kept]
    wanted = torch.tensor([id in asked for id in chosen], device=device)
    codes, of_asked = _codes(wanted)
    some = bool(wanted.any())
    # Large structures say best where they are, but not in proportion to their volume.
    weights = trust * least[kept] ** (1 / 3)
    packed = [_packed(segmenter, sight, kept, codes * trust) for sight in sights]
    centres = np.stack([sight.centres[kept.cpu().numpy()] for sight in sights])
    reliance = float(trust.mean())
    return StructureMaps(
        *(packed[0], packed[1], sights[0].grid, sights[1].grid, chosen, centres, weights.double().cpu().numpy()),
        shares=torch.where(of_asked, 1.0, _OTHERS) if some else torch.ones(len(of_asked), device=device),
        reliance=reliance,
        leading=reliance >= _LEADING,
        asked_reliance=float(trust[wanted].mean()) if some else None,
    )


def brought_together(maps: StructureMaps, affine: Affine) -> tuple[Affine, str] | None:
    """A better affine by the structures' centres and maps, and what it gains in words; None if it gains nothing."""
    before = maps.agreement(affine)
    # Held near a shift of what the affine does already.
    aligned = affine.invert().map(maps.centres[1])
    tries = [affine, *(affine.after(fit_affine(maps.centres[0], aligned, pull, maps.weights)) for pull in _PULLS_MM)]
    start = max((one for one in tries if _harmless(affine, one)), key=maps.agreement)
    found = [one for one in (start, _fitted(maps, start)) if _harmless(affine, one)]
    best = max(found, key=maps.agreement)
    after = maps.agreement(best)
    if after < before + _LEAST_GAIN:
        return None
    words = f"corrected by {len(maps.structures)} structures that both images show: their maps agree by {after:.3f} instead of {before:.3f}"
    return best, words


def _harmless(before: Affine, after: Affine) -> bool:
    """Whether the change turns nothing over and stretches no direction much."""
    change = np.linalg.solve(before.matrix[:3, :3], after.matrix[:3, :3])
    stretched = np.linalg.svd(change, compute_uv=False)
    bounded = stretched.max() < _MOST_STRETCHED and stretched.min() > 1 / _MOST_STRETCHED
    return bool(bounded and np.linalg.det(change) > 0)


def _fitted(maps: StructureMaps, start: Affine) -> Affine:
    """Damped Gauss-Newton on the squared difference of all channels, as long as they agree better; in millimetres about the middle."""
    small = maps.coarse(_FIT_VOXELS)
    fixed, moving, grid = small.fixed, small.moving, small.grid
    both = replace(small, moving=torch.cat((moving, central_difference(moving).flatten(0, 1))))
    # Slopes along LPS axes, per millimetre.
    lps_from_voxel = torch.as_tensor(np.linalg.inv(small.moving_grid.lps_from_index[:3, :3]).T, dtype=moving.dtype, device=moving.device)
    middle = grid.center_lps
    points = torch.as_tensor(grid.points_lps() - middle, dtype=moving.dtype, device=moving.device).reshape(-1, 3)
    places = torch.cat((points / _SCALE_MM, torch.ones_like(points[:, :1])), dim=1)
    best, value = start, small.agreement(start)
    for _ in range(_FIT_STEPS):
        seen = both.moved(best, grid)
        apart = (fixed - seen[: len(fixed)]).flatten(1)
        along = torch.einsum("ab,bcn->acn", lps_from_voxel, seen[len(fixed) :].view(3, len(fixed), -1))
        force = torch.einsum("acn,cn->an", along, apart)
        normal = torch.einsum("acn,bcn->abn", along, along)
        matrix = torch.einsum("abn,ni,nj->aibj", normal, places, places).reshape(12, 12).double()
        matrix += torch.diag(matrix.diagonal()) * _FIT_DAMPING
        step = torch.linalg.solve(matrix, torch.einsum("an,ni->ai", force, places).reshape(12).double()).view(3, 4).cpu().numpy()
        linear = best.matrix[:3, :3] + step[:, :3] / _SCALE_MM
        trial = Affine.from_parts(linear, best.map(middle) - middle + step[:, 3], middle)
        found = small.agreement(trial)
        if found <= value:
            break
        best, value = trial, found
    return best


def _codes(wanted: Tensor) -> tuple[Tensor, Tensor]:
    """What each structure adds to each channel, (C, K), and which channels are of ``wanted`` (K,) structures, (C,)."""
    asked, others = int(wanted.sum()), int((~wanted).sum())
    mine = min(asked, _ASKED_CHANNELS if others else _CHANNELS)
    rest = min(others, _CHANNELS - mine)
    codes = torch.zeros(mine + rest, len(wanted), device=wanted.device)
    codes[:mine, wanted], codes[mine:, ~wanted] = _signs(mine, asked, wanted.device), _signs(rest, others, wanted.device)
    return codes, torch.arange(mine + rest, device=wanted.device) < mine


def _signs(channels: int, count: int, device: torch.device) -> Tensor:
    """(channels, count): one channel for each of ``count``, or signs by chance, the same every time."""
    if count <= channels:
        return torch.eye(count, device=device)
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (channels, count), generator=generator) * 2.0 - 1.0
    return signs.to(device) / math.sqrt(channels)


def _packed(segmenter: Segmenter, sight: Sight, structures: Tensor, codes: Tensor) -> Tensor:
    """Probabilities times codes, (C, D, H, W), a few slices at a time."""
    found = []
    for begin in range(0, sight.features.shape[2], _SLAB):
        slab = slice(begin, begin + _SLAB)
        shares = torch.softmax(segmenter.logits(sight.features[:, :, slab], structures)[0], dim=0)
        found.append(torch.einsum("ck,kdhw->cdhw", codes, shares[1:]) * sight.known[slab])
    packed: Tensor = torch.cat(found, dim=1)
    return packed
