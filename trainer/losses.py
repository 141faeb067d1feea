"""What a training step descends: similarity, overlap of structures, known motion, roughness, and finding the structures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from trainer.sampling import Labelled
from unireg_cli.similarity.lncc import Lncc
from unireg_cli.spatial.sampling import sample_index

_LNCC = Lncc()
# Below this determinant a voxel is close to folding.
_LEAST_DETERMINANT = 0.2
# The slope of the logarithm is kept from growing without end.
_LEAST_LOGGED = 0.05


class _Dissimilarity(torch.autograd.Function):
    """1 - LNCC over what is attainable, with the closed-form gradient by the moved image."""

    @staticmethod
    def forward(context: Any, moved: Tensor, fixed: Tensor, weight: Tensor) -> Tensor:
        score, gradient = _LNCC.score_and_gradient(fixed[None], moved[None], weight)
        context.save_for_backward(gradient[0] / max(score.attainable, 1.0))
        return moved.new_tensor(1.0 - score.total / max(score.attainable, 1.0))

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = context.saved_tensors
        return -slopes[0] * gradient, None, None


def dissimilarity(fixed: Tensor, moved: Tensor, weight: Tensor) -> Tensor:
    """1 - mean squared local correlation, 0 for equal images; all (D, H, W), ``weight`` 0..1 where both are known."""
    return _Dissimilarity.apply(moved, fixed, weight)  # type: ignore[no-any-return,no-untyped-call]


def roughness(displacement: Tensor, weight: Tensor) -> Tensor:
    """Mean squared gradient of a displacement (3, D, H, W) in its own voxels, summed over its nine components.

    ``weight`` (D, H, W) says how much each voxel counts; not divided by its sum, so a low weight everywhere asks for little.
    """
    total = displacement.new_zeros(())
    for axis in (0, 1, 2):
        steps = torch.diff(displacement, dim=axis + 1).square().sum(dim=0)
        total = total + (steps * weight.narrow(axis, 0, steps.shape[axis])).mean()
    return total


def volume_change(determinants: Tensor, weight: Tensor) -> Tensor:
    """Mean squared log |J| (D, H, W), each voxel by its ``weight``; what folds counts as the least determinant that is let pass."""
    return (determinants.clamp_min(_LEAST_LOGGED).log().square() * weight).mean()


def nearly_folded(determinants: Tensor) -> Tensor:
    """Mean of how far determinants fall below a small positive number."""
    return torch.relu(_LEAST_DETERMINANT - determinants).mean()


def found_again(side: Labelled, points: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """Share of each structure found at ``points`` of the lattice (K, n, 3): (K, n), 0..1, differentiable by the points.

    Linear between the labels at the corners of a cell that is ``stride`` (x, y, z) voxels wide: wide cells pull from further away.
    """
    index = side.index(points)
    step = index.new_tensor(stride)
    # A network that has lost itself leads nowhere: its loss is to be NaN, not an error.
    low = ((index.detach() / step).floor() * step).nan_to_num(0.0)
    part = (index - low) / step
    depth, height, width = side.labels.shape
    most = index.new_tensor([width, height, depth]) - 1
    flat = side.labels.reshape(-1)
    total = index.new_zeros(index.shape[:-1])
    for corner in range(8):
        offset = index.new_tensor([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
        # Clamp before the conversion: points may lie far outside.
        place = torch.minimum((low + offset * step).clamp_min(0), most).long()
        seen = flat[(place[..., 2] * height + place[..., 1]) * width + place[..., 0]]
        weight = torch.where(offset.bool(), part, 1 - part).prod(dim=-1)
        total = total + weight * (seen == side.structures[:, None].to(seen.dtype))
    return total


def overlap(own: Labelled, other: Labelled, displacement: Tensor, stride: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Share of each structure of ``own`` that lands in the same structure of ``other`` (K,), and which structures are in both.

    ``displacement`` (3, D/2, H/2, W/2) leads from own to other, voxels of the half-resolution lattice.
    """
    points = own.points + displacement_at(displacement, own.points)
    shares = found_again(other, points, stride)
    count = own.valid.sum(dim=1)
    return (shares * own.valid).sum(dim=1) / count.clamp_min(1), count > 0


def displacement_at(displacement: Tensor, points: Tensor) -> Tensor:
    """Displacement (..., 3) in voxels of the full lattice, at its points, from one given at half the resolution."""
    # Voxel i of the half lattice covers voxels 2 i and 2 i + 1 of the full one.
    return 2 * sample_index(displacement, points / 2 - 0.25).movedim(0, -1)


def finding(logits: Tensor, present: Tensor) -> Tensor:
    """How badly structures were found: cross-entropy and soft Dice, both (K, D, H, W); ``present`` is 1 inside."""
    crossed = binary_cross_entropy_with_logits(logits, present)
    guess = torch.sigmoid(logits)
    common = 2 * (guess * present).sum(dim=(1, 2, 3)) + 1
    return crossed + 1 - (common / (guess.sum(dim=(1, 2, 3)) + present.sum(dim=(1, 2, 3)) + 1)).mean()
