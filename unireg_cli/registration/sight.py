"""One image as the segmenter sees it: on a lattice of its own, whatever it is registered with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unireg_cli.model.network import Network
from unireg_cli.model.segmenter import Segmenter
from unireg_cli.registration.alignment import View
from unireg_cli.registration.network_grid import Box, network_grid, reach
from unireg_cli.registration.prediction import rounds
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.drawing import draw
from unireg_cli.spatial.sampling import index_lattice
from unireg_cli.types import FloatArray

# Every other voxel of each axis says well enough which structures are there.
_STRIDE = 2
# What both images show is looked for this much further on each side, as a share of its extent: the affine may be off.
_SHARED_MARGIN = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What the segmenter found in an image, on ``grid``, half its lattice.

    ``counts`` (K,): at how many voxels, every so many along each axis, each structure is the likeliest; ``centres`` (K, 3) their mean
    position, LPS mm, anything for a structure without any; ``certainty`` (K,) its mean probability there, 0 without any.
    """

    features: Tensor
    known: Tensor
    grid: Grid
    counts: Tensor
    centres: FloatArray
    certainty: Tensor

    @property
    def familiarity(self) -> float:
        """Mean probability of the likeliest structure over all voxels that are of one; 0 without any."""
        return float((self.counts * self.certainty).sum() / self.counts.sum().clamp_min(1))


def see(network: Network, segmenter: Segmenter, view: View, box: Box) -> Sight:
    """A normalised image, looked at within ``box`` on an upright lattice."""
    device = view.values.device
    lattice = network_grid(view.grid, box, view.grid, network.settings.sight_voxels).upright()
    lattice = lattice.padded((0, 0, 0), [-n % network.settings.divisor for n in lattice.size])
    half = lattice.resized([n // 2 for n in lattice.size])
    values, inside = draw(view.values, view.grid, lattice, Affine.identity())
    known = torch.nn.functional.avg_pool3d(inside[None, None], 2)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=rounds(lattice, network, device)):
        features = segmenter(values[None, None], known).float()
    thin = (slice(None, None, _STRIDE),) * 3
    everything = torch.arange(len(segmenter.bias), device=device)
    logits = segmenter.logits(features[(slice(None), slice(None), *thin)], everything)[0]
    highest, likeliest = logits.max(dim=0)
    likeliest = torch.where(known[0, 0][thin] > 0.5, likeliest, 0).reshape(-1)
    size = len(everything) + 1
    counts = torch.bincount(likeliest, minlength=size)[1:]
    sure = torch.bincount(likeliest, weights=(highest - torch.logsumexp(logits, dim=0)).exp().reshape(-1), minlength=size)[1:]
    places = index_lattice(half.shape, device=device)[thin].reshape(-1, 3)
    sums = torch.stack([torch.bincount(likeliest, weights=places[:, axis], minlength=size)[1:] for axis in range(3)], dim=1)
    middle = (sums / counts.clamp_min(1)[:, None]).double().cpu().numpy()
    centres = middle @ half.lps_from_index[:3, :3].T + half.lps_from_index[:3, 3]
    return Sight(features, known[0, 0], half, counts, centres, sure / counts.clamp_min(1))


def shared_box(grid: Grid, body: Box, other: Grid, other_body: Box, own_from_other: Affine) -> Box:
    """The part of an image's body that another image's body may reach through an affine; all of it if none seems to.

    Args:
        grid: of the image.
        body: first and last index (x, y, z) of what is not air in it.
        other: grid of the other image.
        other_body: the same of it.
        own_from_other: points of the other image -> points of this one, LPS mm.
    """
    low, high = reach(grid, other, other_body, own_from_other)
    margin = _SHARED_MARGIN * (high - low)
    first = np.maximum(np.floor(low - margin).astype(int), body[0]).tolist()
    last = np.minimum(np.ceil(high + margin).astype(int), body[1]).tolist()
    if any(a >= b for a, b in zip(first, last, strict=True)):
        return body
    return (first[0], first[1], first[2]), (last[0], last[1], last[2])
