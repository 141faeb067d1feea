"""Squared local normalised cross-correlation with a closed-form gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unireg_cli.spatial.filters import box_sum

# Slices of a volume whose statistics are made at once.
_SLAB = 32


@dataclass(frozen=True, slots=True)
class Score:
    """A similarity summed over voxels, and the sum that a perfect match would reach on the same voxels."""

    total: float
    attainable: float


@dataclass(frozen=True, slots=True)
class Lncc:
    """cc^2 summed over the voxels of a fixed image, cc the correlation of two images in a small window.

    ``radius`` is the window's half width in voxels, (z, y, x). ``floor`` is the variance (of images scaled to about
    [0, 1]) that a window must clearly exceed to count as structure: constant windows score 0 instead of noise.
    Square, so a locally inverted contrast also counts as alike.

    Source:
        Cachier et al., "Iconic feature based nonrigid registration", CVIU 2003; gradient derived by hand: with window
        sums S, a = 2 c/(vf vm) and b = a c/vm, d/dm(y) = w(y) (f S[a] - m S[b] + S[b mean_m - a mean_f]).
    """

    radius: tuple[int, int, int] = (2, 2, 2)
    floor: float = 1e-4

    def score_and_gradient(self, fixed: Tensor, moved: Tensor, weight: Tensor) -> tuple[Score, Tensor]:
        """Weighted sum of cc^2 over all voxels (mean over channels) and its derivative by every voxel of ``moved``.

        Attainable is what the best thinkable moved image would give: voxels of ``fixed`` without structure add nothing to
        either sum.

        Args:
            fixed: (C, D, H, W) float32 scaled to about [0, 1].
            moved: same shape, the warped moving image.
            weight: (D, H, W), 0..1: where both images are known; taken as constant in the derivative.
        """
        gradient = torch.empty_like(moved)
        total = attainable = 0.0
        for inner, outer in self._slabs(moved.shape[-3]):
            kept = slice(inner.start - outer.start, inner.stop - outer.start)
            part, slope = self._slab(fixed[:, outer], moved[:, outer], weight[outer], kept)
            gradient[:, inner] = slope
            total, attainable = total + part.total, attainable + part.attainable
        return Score(total, attainable), gradient

    def _slabs(self, depth: int) -> Iterator[tuple[slice, slice]]:
        """Slices to do at once, and with the neighbours that their gradient needs: temporaries of a slab stay in the cache."""
        halo = 2 * self.radius[0]
        for start in range(0, depth, _SLAB):
            stop = min(start + _SLAB, depth)
            yield slice(start, stop), slice(max(0, start - halo), min(depth, stop + halo))

    def _slab(self, fixed: Tensor, moved: Tensor, weight: Tensor, kept: slice) -> tuple[Score, Tensor]:
        """Score and gradient of the slices ``kept`` of a slab that holds their neighbours too."""
        similar, attainable, a, b, mean_fixed, mean_moved = self._statistics(fixed, moved, weight)
        parts = box_sum(torch.stack((a, b, b * mean_moved - a * mean_fixed)), self.radius)[:, :, kept]
        gradient = torch.addcmul(parts[2], fixed[:, kept], parts[0]).addcmul_(moved[:, kept], parts[1], value=-1)
        score = Score(float(similar[:, kept].sum()) / len(fixed), float(attainable[:, kept].sum()) / len(fixed))
        return score, gradient.mul_(weight[kept] / len(fixed))

    def score(self, fixed: Tensor, moved: Tensor, weight: Tensor) -> Score:
        """As :meth:`score_and_gradient`, the sums alone."""
        total = attainable = 0.0
        for inner, outer in self._slabs(moved.shape[-3]):
            kept = slice(inner.start - outer.start, inner.stop - outer.start)
            similar, best, *_ = self._statistics(fixed[:, outer], moved[:, outer], weight[outer])
            total, attainable = total + float(similar[:, kept].sum()), attainable + float(best[:, kept].sum())
        return Score(total / len(fixed), attainable / len(fixed))

    def _statistics(self, fixed: Tensor, moved: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Per voxel: cc^2, the most it can be, the coefficients a and b of the gradient, and both window means."""
        weighted_fixed, weighted_moved = fixed * weight, moved * weight
        squares = weighted_fixed * fixed, weighted_moved * moved, weighted_fixed * moved
        sums = box_sum(torch.stack((weight.expand_as(fixed), weighted_fixed, weighted_moved, *squares)), self.radius)
        count = sums[0].clamp_min(1.0)
        mean_fixed, mean_moved = sums[1] / count, sums[2] / count
        floor = count * self.floor
        structure = torch.addcmul(sums[3], sums[1], mean_fixed, value=-1).clamp_min_(0)
        variance_fixed = structure + floor
        variance_moved = torch.addcmul(sums[4], sums[2], mean_moved, value=-1).clamp_min_(0) + floor
        covariance = torch.addcmul(sums[5], sums[1], mean_moved, value=-1)
        a = covariance / (variance_fixed * variance_moved) * weight
        attainable = structure.div_(variance_fixed).mul_(weight)
        similar = a * covariance
        a *= 2
        b = a * covariance / variance_moved
        return similar, attainable, a, b, mean_fixed, mean_moved
