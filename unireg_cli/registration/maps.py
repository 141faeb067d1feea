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
from unireg_cli.spatial.drawing import draw_channels
from unireg_cli.types import FloatArray

# So many structures have a channel each; of more, every channel carries a random half against the other half. Structures that were asked
# for share no channel with others, and have at most so many.
_CHANNELS, _ASKED_CHANNELS = 16, 8
# Weight of the channels of all others where some were asked for.
_OTHERS = 0.3
# A structure counts if it is the likeliest at so many of the voxels looked at in both images, in volumes no more than this apart.
_LEAST_VOXELS, _MOST_APART = 2, 4.0
# Mean probability of a structure where it is the likeliest, from which on it is believed at all, and altogether. Where there is none, the
# white matter of a brain in an abdomen say, it lies at 0.4 to 0.75; where there is one, at 0.8 to 0.95 (tune pairs). From 0.6 to 0.8
# abdomen_mr has 0.01 of Dice less with --fast, the others the same.
_UNSURE, _CERTAIN = 0.5, 0.7
# Mean trust from which on maps lead. The hundred parcels of a brain are found with a Dice of 0.62 (trust about 0.4), and registration alone
# brings them together as well: on two tune pairs with maps that lead --fast loses 0.001 of Dice and the default 0.017. Other sets' mean
# trust is 0.6 and more.
_LEADING = 0.5
# Maps of organs that slide along each other are soft from the first of these reliances on, and altogether so from the second: those of
# abdomen_mr have 0.76 to 0.85. Those of abdomen_ct, 0.66, gain nothing by it.
_SLIDING, _SLIDES = (0.70, 0.75), "abdomen"
# Slices looked at in one go: the probabilities of a hundred structures need not all be in memory.
_SLAB = 8


@dataclass(frozen=True, slots=True, eq=False)
class StructureMaps:
    """Probabilities of the structures that both images show, (C, D, H, W), each image's on a ``grid`` of its own.

    ``structures`` are vocabulary ids; ``centres`` (2, K, 3) where they are in fixed and moving, LPS mm of each image, and
    ``weights`` (K,) how much each centre counts: by the cube root of its volume and the segmenter's trust. ``shares`` (C,): what each
    channel counts in a deformation, less for structures that were not asked for; an affine is of the whole and takes all alike.
    ``reliance``: how far the structures are relied on in the mean, 0 to 1. ``leading``: whether they are sure enough to be laid together
    before the network and after it, and not only to pull beside the images. ``sliding``: if most are organs of the abdomen, which slide
    along each other, how far they are relied on enough to show it, 0 to 1; else 0. ``asked_reliance``: that of the structures that were
    asked for; None if all were, or if none of them is seen in both images. ``sought`` (D, H, W): how probably each voxel of the fixed
    ``grid`` is of one of these, sure or not; None if all were asked for, or none that the segmenter was taught. ``familiarity``: that of
    the image that is less familiar to the segmenter, see ``Sight``; 0 to 1.
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
    sliding: float
    familiarity: float
    asked_reliance: float | None = None
    sought: Tensor | None = None

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
    certainty = torch.stack([sight.certainty for sight in sights]).amin(dim=0)
    belief = ((certainty - _UNSURE) / (_CERTAIN - _UNSURE)).clamp(0, 1)
    trusted = segmenter.trust * belief
    kept = torch.arange(len(ids), device=device)[there & (most <= _MOST_APART * least) & (trusted > 0)]
    if not len(kept):
        return None
    chosen = tuple(ids[int(k)] for k in kept)
    trust = trusted[kept]
    wanted = torch.tensor([id in asked for id in chosen], device=device)
    codes, of_asked = _codes(wanted)
    some = bool(wanted.any())
    # Large structures say best where they are, but not in proportion to their volume.
    weights = trust * least[kept] ** (1 / 3)
    packed = [_packed(segmenter, sight, kept, codes * trust) for sight in sights]
    centres = np.stack([sight.centres[kept.cpu().numpy()] for sight in sights])
    # What is hardly believed to be there says little about the rest.
    reliance = float(trust.sum() / belief[kept].sum())
    sliding = torch.tensor([id in network.known.members[_SLIDES] for id in chosen], device=device)
    among = torch.tensor([[float(id in asked) for id in ids]], device=device)
    return StructureMaps(
        *(packed[0], packed[1], sights[0].grid, sights[1].grid, chosen, centres, weights.double().cpu().numpy()),
        shares=torch.where(of_asked, 1.0, _OTHERS) if some else torch.ones(len(of_asked), device=device),
        reliance=reliance,
        leading=reliance >= _LEADING,
        sliding=_how_far(reliance, _SLIDING) if trust[sliding].sum() > trust.sum() / 2 else 0.0,
        familiarity=min(sight.familiarity for sight in sights),
        asked_reliance=float(trust[wanted].mean()) if some else None,
        sought=_packed(segmenter, sights[0], torch.arange(len(ids), device=device), among)[0] if bool(among.any()) else None,
    )


def _how_far(value: float, ends: tuple[float, float]) -> float:
    """0 up to the first of the ends, 1 from the second on, and in proportion between them."""
    return min(1.0, max(0.0, (value - ends[0]) / (ends[1] - ends[0])))


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
