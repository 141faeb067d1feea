"""How well features of one image match those of the other around every voxel: (C, D, H, W) or (1, C, D, H, W) planes, float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

_STEPS = [(z, y, x) for z in range(3) for y in range(3) for x in range(3)]
NEIGHBOURS = {27: _STEPS, 7: [step for step in _STEPS if sum(abs(part - 1) for part in step) <= 1]}
"""Which neighbours a level is compared with: all 26 and the voxel itself, or the six that share a face and itself."""


def correlation(fixed: Tensor, moved: Tensor, neighbours: int) -> Tensor:
    """Cosine of the angle between fixed features (1, C, D, H, W) and those of the nearest moved voxels: (1, neighbours, D, H, W)."""
    one, wide = _directions(fixed)[0], pad(_directions(moved), (1, 1, 1, 1, 1, 1), mode="replicate")[0]
    # Planes one by one keep a CPU's cache; another device would wait for a thousand small tasks.
    products = _Products.apply if one.device.type == "cpu" else products_at_once
    found: Tensor = products(one, wide, neighbours)
    return found[None]


def products_at_once(fixed: Tensor, moved: Tensor, neighbours: int) -> Tensor:
    """Sums over the channels of fixed (C, D, H, W) times each neighbour in moved (C, D + 2, H + 2, W + 2): (neighbours, D, H, W)."""
    return (fixed * torch.stack([_shifted(moved, step) for step in NEIGHBOURS[neighbours]])).sum(dim=1)


def _directions(features: Tensor) -> Tensor:
    """Features of length 1, planes of float32; no direction where there are no features."""
    planes = features.to(torch.float32, memory_format=torch.contiguous_format)
    return planes * torch.rsqrt(planes.square().sum(dim=1, keepdim=True).clamp_min(1e-24))


class _Products(torch.autograd.Function):
    """As :func:`products_at_once`, plane by plane, so that a sum stays in the cache: five times as fast, and so are the gradients."""

    @staticmethod
    def forward(ctx: Any, fixed: Tensor, moved: Tensor, neighbours: int) -> Tensor:
        ctx.save_for_backward(fixed, moved)
        found = torch.zeros((neighbours, *fixed.shape[1:]), dtype=fixed.dtype, device=fixed.device)
        for total, step in zip(found, NEIGHBOURS[neighbours], strict=True):
            for here, there in zip(fixed, _shifted(moved, step), strict=True):
                total.addcmul_(here, there)
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        fixed, moved = ctx.saved_tensors
        of_fixed, of_moved = torch.zeros_like(fixed), torch.zeros_like(moved)
        for slope, step in zip(gradient, NEIGHBOURS[len(gradient)], strict=True):
            there, of_there = _shifted(moved, step), _shifted(of_moved, step)
            for channel in range(len(fixed)):
                of_fixed[channel].addcmul_(slope, there[channel])
                of_there[channel].addcmul_(slope, fixed[channel])
        return of_fixed, of_moved, None


def _shifted(wide: Tensor, step: tuple[int, int, int]) -> Tensor:
    """Of (C, D + 2, H + 2, W + 2) what lies one neighbour on: (C, D, H, W)."""
    z, y, x = step
    depth, height, width = (count - 2 for count in wide.shape[1:])
    return wide[:, z : z + depth, y : y + height, x : x + width]


class Match(nn.Module):
    """Where the best of the neighbouring voxels lies: the mean of their offsets, weighted by how well they match.

    A displacement that needs no decoder, so that features which tell places apart pay at once.
    """

    def __init__(self, neighbours: int) -> None:
        super().__init__()
        offsets = torch.tensor([[x - 1, y - 1, z - 1] for z, y, x in NEIGHBOURS[neighbours]], dtype=torch.float32)
        self.register_buffer("offsets", offsets.T.contiguous(), persistent=False)
        self.sharpness = nn.Parameter(torch.tensor(10.0))

    def forward(self, similarity: Tensor) -> Tensor:
        """(1, neighbours, D, H, W) cosines -> (1, 3, D, H, W) offsets x, y, z in voxels."""
        shares = torch.softmax(similarity[0] * self.sharpness, dim=0)
        offsets = self.offsets
        assert isinstance(offsets, Tensor)  # a registered buffer
        with torch.autocast(shares.device.type, enabled=False):
            return (offsets @ shares.flatten(1)).view(1, 3, *shares.shape[1:])
