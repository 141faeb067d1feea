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
from unireg_cli.registration.network_grid import Box, network_grid
from unireg_cli.registration.prediction import gains_from_bfloat16
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.affine import fit_affine
from unireg_cli.spatial.drawing import draw, draw_channels
from unireg_cli.spatial.filters import central_difference
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
    """Probabilities of the structures that both images show, (C, D, H, W) each on ``grid``; the moving image through its affine.

    ``structures`` are vocabulary ids; ``centres`` (2, K, 3) where they are in fixed and aligned moving, LPS mm of the fixed space, and
    ``weights`` (K,) how much each centre counts: by the cube root of its volume and the segmenter's trust, those not asked for less.
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
    kept = everything[(least >= _LEAST_VOXELS) & (most <= _MOST_APART * least) & (segmenter.trust > 0)]
    if not len(kept):
        return None
    chosen = tuple(ids[int(k)] for k in kept)
    shares = torch.tensor([1.0 if not asked or id in asked else others for id in chosen], device=device) * segmenter.trust[kept]
    codes = _codes(len(kept), device) * shares
    # Large structures say best where they are, but not in proportion to their volume.
    weights = shares * least[kept] ** (1 / 3)
    packed = [_packed(segmenter, sight, kept, codes) for sight in sights]
    centres = np.stack([sight.centres[kept].double().cpu().numpy() for sight in sights])
    return StructureMaps(packed[0], packed[1], half, chosen, centres, weights.double().cpu().numpy())


def brought_together(maps: StructureMaps, affine: Affine) -> tuple[Affine, str] | None:
    """A better affine by the structures' centres and maps, and what it gains in words; None if it gains nothing.

    ``affine`` is the one that the maps were made with.
    """
    before = maps.agreement()
    tries = [Affine.identity(), *(fit_affine(maps.centres[0], maps.centres[1], pull, maps.weights) for pull in _PULLS_MM)]
    start = max((one for one in tries if _harmless(one)), key=maps.agreement)
    found = [one for one in (start, _fitted(maps, start)) if _harmless(one)]
    best = max(found, key=maps.agreement)
    after = maps.agreement(best)
    if after < before + _LEAST_GAIN:
        return None
    words = f"corrected by {len(maps.structures)} structures that both images show: their maps agree by {after:.3f} instead of {before:.3f}"
    return Affine(affine.matrix @ best.matrix), words


def _harmless(further: Affine) -> bool:
    """Whether it turns nothing over and stretches no direction much."""
    stretched = np.linalg.svd(further.matrix[:3, :3], compute_uv=False)
    bounded = stretched.max() < _MOST_STRETCHED and stretched.min() > 1 / _MOST_STRETCHED
    return bool(bounded and np.linalg.det(further.matrix[:3, :3]) > 0)


def _fitted(maps: StructureMaps, start: Affine) -> Affine:
    """Damped Gauss-Newton on the squared difference of all channels, as long as they agree better; in millimetres about the middle."""
    grid = coarser(maps.grid, _FIT_VOXELS)
    (fixed, _), (moving, _) = (draw_channels(side, maps.grid, grid, Affine.identity()) for side in (maps.fixed, maps.moving))
    small = replace(maps, fixed=fixed, moving=moving, grid=grid)
    slopes = central_difference(moving).flatten(0, 1)
    # Slopes along LPS axes, per millimetre.
    lps_from_voxel = torch.as_tensor(np.linalg.inv(grid.lps_from_index[:3, :3]).T, dtype=moving.dtype, device=moving.device)
    middle = grid.center_lps
    points = torch.as_tensor(grid.points_lps() - middle, dtype=moving.dtype, device=moving.device).reshape(-1, 3)
    places = torch.cat((points / _SCALE_MM, torch.ones_like(points[:, :1])), dim=1)
    best, value = start, small.agreement(start)
    for _ in range(_FIT_STEPS):
        seen, _ = draw_channels(torch.cat((moving, slopes)), grid, grid, best)
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
