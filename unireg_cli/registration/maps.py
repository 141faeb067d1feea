"""Where the network believes every structure to be in both images, packed into a few channels that can be laid onto each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unireg_cli.model.network import Network
from unireg_cli.model.segmenter import Segmenter
from unireg_cli.registration.alignment import View
from unireg_cli.registration.network_grid import Box, network_grid
from unireg_cli.registration.prediction import gains_from_bfloat16
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.affine import fit_affine
from unireg_cli.spatial.drawing import draw, draw_channels
from unireg_cli.spatial.sampling import index_lattice
from unireg_cli.types import FloatArray

# Voxels of the lattice on which both images are shown, about.
_VOXELS = 1_200_000
# So many structures have a channel each; of more, every channel carries a random half against the other half.
_CHANNELS = 16
# Every other voxel of each axis says well enough which structures are there.
_STRIDE = 2
# A structure counts if it is the likeliest at so many of those voxels in both images, in volumes no more than this apart.
_LEAST_VOXELS, _MOST_APART = 2, 4.0
# Slices looked at in one go: the probabilities of a hundred structures need not all be in memory.
_SLAB = 8
# How strongly an affine between centres of structures is held near a shift, mm; the one that makes the maps agree best is taken.
_PULLS_MM = (20.0, 40.0, 80.0)
# What it must gain, and how much it may stretch or shrink any direction.
_LEAST_GAIN, _MOST_STRETCHED = 0.005, 1.7


@dataclass(frozen=True, slots=True, eq=False)
class StructureMaps:
    """Probabilities of the structures that both images show, (C, D, H, W) each on ``grid``; the moving image through its affine.

    ``structures`` are vocabulary ids; ``centres`` (2, K, 3) where they are in fixed and aligned moving, LPS mm of the fixed space, and
    ``weights`` (K,) how much each counts: those that were not asked for less.
    """

    fixed: Tensor
    moving: Tensor
    grid: Grid
    structures: tuple[int, ...]
    centres: FloatArray
    weights: FloatArray

    def agreement(self, further: Affine | None = None) -> float:
        """How much the maps are alike: 1 if equal, 0 if they share nothing; with the moving ones read through ``further``."""
        moving = self.moving if further is None else draw_channels(self.moving, self.grid, self.grid, further)[0]
        apart, all_of_both = (self.fixed - moving).square().sum(), self.fixed.square().sum() + moving.square().sum()
        return 1 - float(apart / all_of_both.clamp_min(1e-6))


def map_structures(
    network: Network, fixed: View, moving: View, body: Box, affine: Affine, asked: Sequence[int] = (), others: float = 0.3
) -> StructureMaps | None:
    """Look for every structure that the segmenter was taught; None if it was taught none, or if both images show none.

    Args:
        network: in inference mode.
        fixed: normalised fixed image.
        moving: normalised moving image.
        body: box of the fixed image's body.
        affine: fixed -> moving points, LPS mm.
        asked: ids of structures to favour, none for all alike.
        others: weight of all others then.
    """
    segmenter = network.segmenter
    if segmenter is None:
        return None
    ids, device = network.settings.segmented, fixed.values.device
    lattice = network_grid(fixed.grid, body, moving.grid, _VOXELS).upright()
    lattice = lattice.padded((0, 0, 0), [-n % network.settings.divisor for n in lattice.size])
    half = lattice.resized([n // 2 for n in lattice.size])
    everything = torch.arange(len(ids), device=device)
    sights = [_look(segmenter, view, lattice, half, through) for view, through in ((fixed, Affine.identity()), (moving, affine))]
    counts = torch.stack([sight.counts for sight in sights])
    least, most = counts.amin(dim=0), counts.amax(dim=0)
    kept = everything[(least >= _LEAST_VOXELS) & (most <= _MOST_APART * least)]
    if not len(kept):
        return None
    chosen = tuple(ids[int(k)] for k in kept)
    weights = torch.tensor([1.0 if not asked or id in asked else others for id in chosen], device=device)
    codes = _codes(len(kept), device) * weights
    packed = [_packed(segmenter, sight, kept, codes) for sight in sights]
    centres = np.stack([sight.centres[kept].double().cpu().numpy() for sight in sights])
    return StructureMaps(packed[0], packed[1], half, chosen, centres, weights.double().cpu().numpy())


def brought_together(maps: StructureMaps, affine: Affine) -> tuple[Affine, str] | None:
    """A better affine by the centres of the structures, and what it gains in words; None if it gains nothing.

    ``affine`` is the one that the maps were made with.
    """
    best, before = None, maps.agreement()
    value = before + _LEAST_GAIN
    for pull in _PULLS_MM:
        further = fit_affine(maps.centres[0], maps.centres[1], pull, maps.weights)
        stretched = np.linalg.svd(further.matrix[:3, :3], compute_uv=False)
        if stretched.max() > _MOST_STRETCHED or stretched.min() < 1 / _MOST_STRETCHED:
            continue
        found = maps.agreement(further)
        if found > value:
            best, value = further, found
    if best is None:
        return None
    words = f"corrected by the centres of {len(maps.structures)} structures, whose maps agree by {value:.3f} instead of {before:.3f}"
    return Affine(affine.matrix @ best.matrix), words


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """One image as the segmenter sees it, and at how many voxels, every so many along each axis, each structure is the likeliest."""

    features: Tensor
    known: Tensor
    counts: Tensor
    centres: Tensor
    """(K, 3) mean position of those voxels, LPS mm; anything for a structure without any."""


def _look(segmenter: Segmenter, view: View, lattice: Grid, half: Grid, affine: Affine) -> _Sight:
    device = view.values.device
    values, inside = draw(view.values, view.grid, lattice, affine)
    known = torch.nn.functional.avg_pool3d(inside[None, None], 2)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=gains_from_bfloat16(device)):
        features = segmenter(values[None, None], known).float()
    thin = (slice(None, None, _STRIDE),) * 3
    everything = torch.arange(len(segmenter.bias), device=device)
    likeliest = segmenter.logits(features[(slice(None), slice(None), *thin)], everything)[0].argmax(dim=0)
    likeliest = torch.where(known[0, 0][thin] > 0.5, likeliest, 0).reshape(-1)
    size = len(everything) + 1
    counts = torch.bincount(likeliest, minlength=size)[1:]
    places = index_lattice(half.shape, device=device)[thin].reshape(-1, 3)
    sums = torch.stack([torch.bincount(likeliest, weights=places[:, axis], minlength=size)[1:] for axis in range(3)], dim=1)
    middle = (sums / counts.clamp_min(1)[:, None]).cpu().numpy()
    centres = middle @ half.lps_from_index[:3, :3].T + half.lps_from_index[:3, 3]
    return _Sight(features, known[0, 0], counts, torch.from_numpy(centres).to(device, torch.float32))


def _codes(count: int, device: torch.device) -> Tensor:
    """What each structure adds to each channel, (C, K): one channel each, or signs by chance, the same every time."""
    if count <= _CHANNELS:
        return torch.eye(count, device=device)
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (_CHANNELS, count), generator=generator) * 2.0 - 1.0
    return signs.to(device) / math.sqrt(_CHANNELS)


def _packed(segmenter: Segmenter, sight: _Sight, structures: Tensor, codes: Tensor) -> Tensor:
    """Probabilities times codes, (C, D, H, W), a few slices at a time."""
    found = []
    for begin in range(0, sight.features.shape[2], _SLAB):
        slab = slice(begin, begin + _SLAB)
        shares = torch.softmax(segmenter.logits(sight.features[:, :, slab], structures)[0], dim=0)
        found.append(torch.einsum("ck,kdhw->cdhw", codes, shares[1:]) * sight.known[slab])
    packed: Tensor = torch.cat(found, dim=1)
    return packed
