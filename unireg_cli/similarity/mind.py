"""Modality-independent descriptors (MIND-SSC) and their squared difference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unireg_cli.similarity.lncc import Score
from unireg_cli.spatial.filters import box_sum

# The six neighbours of a voxel (z, y, x) and the twelve pairs of them that are not opposite each other.
_NEIGHBOURS = ((0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0))
_PAIRS = tuple((a, b) for a in range(6) for b in range(a + 1, 6) if a // 2 != b // 2)


def descriptors(values: Tensor, radius: int = 1, reach: int = 2) -> Tensor:
    """Self-similarity context of every voxel: (D, H, W) -> (12, D, H, W), each in (0, 1].

    Patch distances between pairs of neighbours ``reach`` voxels away, divided by their local mean and put through
    exp(-x): what is left is the shape of the neighbourhood, whatever contrast drew it.

    Source:
        Heinrich et al., "Towards realtime multimodal fusion for image-guided interventions using self-similarities",
        MICCAI 2013.
    """
    shifted = [_shift(values, [reach * s for s in offset]) for offset in _NEIGHBOURS]
    windows = (radius,) * 3
    distances = torch.stack([box_sum((shifted[a] - shifted[b]).square_(), windows) for a, b in _PAIRS])
    distances -= distances.amin(dim=0)
    spread = distances.mean(dim=0)
    typical = spread.mean()
    # Bounded as in the paper, so that flat regions and sharp edges keep a sane scale.
    spread = spread.clamp(typical * 1e-3 + 1e-12, typical * 1e3 + 1e-12)
    return distances.div_(spread).neg_().exp_()


def _shift(values: Tensor, offset: list[int]) -> Tensor:
    """values(x + offset), edge values repeated; offset in (z, y, x) voxels."""
    for axis, step in enumerate(offset):
        if step:
            count = values.shape[axis]
            index = (torch.arange(count, device=values.device) + step).clamp_(0, count - 1)
            values = values.index_select(axis, index)
    return values


@dataclass(frozen=True, slots=True)
class DescriptorDistance:
    """How much of the fixed descriptors' structure is matched: their distance from flat less their distance from the moved.

    Flat surroundings (all channels 1) add nothing to either sum, so neither gaining nor losing background pays.
    """

    def score_and_gradient(self, fixed: Tensor, moved: Tensor, weight: Tensor) -> tuple[Score, Tensor]:
        """Weighted sum over voxels and its derivative by ``moved``; images (C, D, H, W), weight (D, H, W)."""
        difference = fixed - moved
        return self._sums(fixed, difference, weight), difference.mul_(weight * (2.0 / len(fixed)))

    def score(self, fixed: Tensor, moved: Tensor, weight: Tensor) -> Score:
        """As :meth:`score_and_gradient`, the sums alone."""
        return self._sums(fixed, fixed - moved, weight)

    @staticmethod
    def _sums(fixed: Tensor, difference: Tensor, weight: Tensor) -> Score:
        attainable = float(((1 - fixed).square_().mean(dim=0) * weight).sum())
        return Score(attainable - float((difference.square().mean(dim=0) * weight).sum()), attainable)
