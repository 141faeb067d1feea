"""The condition as one vector, and its grip on feature maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unireg_cli.model.settings import NetworkSettings

# How much of a head's mean velocity is kept: affine pre-alignment has left little of it.
_SHIFT = 0.1


class ConditionEncoder(nn.Module):
    """Anatomy, type and smoothness -> one vector (1, settings.condition).

    The embeddings of everything asked for are summed and divided by the root of their number, so that a long list is not louder than a
    short one; a structure nobody trained adds its initial zeros to the embedding of its region.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.anatomy = nn.Parameter(torch.zeros(settings.vocabulary, settings.embedding))
        self.mix = nn.Sequential(
            nn.Linear(settings.embedding + 3, settings.condition), nn.SiLU(), nn.Linear(settings.condition, settings.condition), nn.SiLU()
        )

    def forward(self, anatomy: Tensor, mode: Tensor, smoothness: Tensor) -> Tensor:
        """``anatomy`` (vocabulary,) multi-hot, ``mode`` (2,) one-hot, ``smoothness`` (1,) 0..1."""
        asked = anatomy @ self.anatomy / anatomy.sum().clamp_min(1).sqrt()
        joined = torch.cat((asked, mode, 2 * smoothness - 1))
        found: Tensor = self.mix(joined[None])
        return found


class Modulation(nn.Module):
    """Scale and shift of every channel by the condition; the identity before training.

    Source:
        Perez et al., "FiLM: visual reasoning with a general conditioning layer", AAAI 2018.
    """

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(condition, 2 * channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """``condition`` (1, settings.condition) -> scale and shift, (C,) each."""
        scale, shift = self.linear(condition)[0].chunk(2)
        return 1 + scale, shift


def modulated(features: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """``features`` (1, C, D, H, W) with every channel scaled and shifted."""
    return torch.addcmul(shift[:, None, None, None], features, scale[:, None, None, None])


class DynamicHead(nn.Module):
    """Features -> residual velocity by three 1 x 1 x 1 convolutions whose kernels a controller writes.

    The controller sees the mean of the features (this pair) and the condition. Its weight starts at zero and its bias holds an
    ordinary initialisation of the three layers: at the first step all conditions share one head and grow apart from there.
    ``unit`` is the length of a velocity of 1, in voxels of the level: the same in mm at all levels, so that coarse levels, whose voxels
    are large, do not drown the gradients of the fine ones.

    Source:
        UniReg, arXiv 2503.12868, dynamic registration head.
    """

    def __init__(self, features: int, condition: int, hidden: int, unit: float) -> None:
        super().__init__()
        self.shapes = ((hidden, features), (hidden, hidden), (3, hidden))
        self.unit = unit
        self.controller = nn.Linear(features + condition, sum(out * (inner + 1) for out, inner in self.shapes))
        nn.init.zeros_(self.controller.weight)
        start = []
        for out, inner in self.shapes:
            spread = (2 / inner) ** 0.5 if out == hidden else 2e-2
            start += [torch.randn(out * inner) * spread, torch.zeros(out)]
        with torch.no_grad():
            self.controller.bias.copy_(torch.cat(start))

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Velocity (3, D, H, W), x, y, z in voxels of the level; float32."""
        signal, used = features.permute(0, 2, 3, 4, 1), 0
        # Slice by slice first: torch sums the slices of one image on one core otherwise.
        pooled = signal.flatten(2, 3).mean(dim=2, dtype=torch.float32).mean(dim=1)
        numbers = self.controller(torch.cat((pooled, condition.float()), dim=1))[0]
        for place, (out, inner) in enumerate(self.shapes):
            kernel = numbers[used : used + out * inner].view(out, inner)
            bias = numbers[used + out * inner : used + out * (inner + 1)]
            used += out * (inner + 1)
            if not place:
                # The mean of the features is taken away: cheaper from the first bias than from every voxel.
                bias = bias - kernel @ pooled[0]
            signal = nn.functional.linear(signal, kernel.to(signal.dtype), bias.to(signal.dtype))
            if place < 2:
                signal = nn.functional.leaky_relu(signal, 0.2)
        velocity = self.unit * signal[0].permute(3, 0, 1, 2).float()
        # Any change of any kernel moves the mean, so without this every step of training shifts the whole image to and fro.
        return velocity - (1 - _SHIFT) * velocity.mean(dim=(1, 2, 3), keepdim=True)
