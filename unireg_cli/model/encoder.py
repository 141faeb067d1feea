"""The encoder that fixed and moving share: features at every level, and where the asked-for structures seem to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from unireg_cli.model.layers import Convolution, Neighbourhood, Pointwise, Residual, activate, doubled, halves_to_channels, pointwise
from unireg_cli.model.settings import NetworkSettings


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Of one or more images (N, ...): ``match[l]`` is compared at level l, finest first; ``fine`` and ``context`` tell structures apart."""

    match: tuple[Tensor, ...]
    fine: Tensor
    context: Tensor

    def of(self, image: int) -> Features:
        """The features of one image of the batch, still with a batch axis."""
        keep = slice(image, image + 1)
        return Features(tuple(level[keep] for level in self.match), self.fine[keep], self.context[keep])


class Encoder(nn.Module):
    """A small U-shaped network: down to the coarsest level and, with context, back up.

    Voxels of 2 x 2 x 2 blocks enter as channels, so nothing runs at full resolution.
    """

    def __init__(self, widths: Sequence[int], match: Sequence[int] = ()) -> None:
        """``widths``: channels per level, finest first; ``match``: how many of them are to be compared, none if nothing is."""
        super().__init__()
        self.stem = Neighbourhood(9, widths[0])
        self.down = nn.ModuleList(Convolution(a, b, stride=2) for a, b in pairwise(widths))
        self.mix = nn.ModuleList(Residual(width) for width in widths[1:])
        self.lateral = nn.ModuleList(Pointwise(b, a) for a, b in pairwise(widths))
        self.merge = nn.ModuleList(Residual(width, depth=1) for width in widths[1:-1])
        self.match = nn.ModuleList(Pointwise(a, b) for a, b in zip(widths, match, strict=bool(match)))

    def forward(self, images: Tensor, known: Tensor) -> Features:
        """``images`` (N, 1, D, H, W): intensities about [0, 1]; ``known`` (N, 1, D/2, H/2, W/2): 1 inside the image, 0 in what was padded.

        Sizes are multiples of ``settings.divisor``.
        """
        found = [activate(self.stem(halves_to_channels(images, known)))]
        for down, mix in zip(self.down, self.mix, strict=True):
            found.append(mix(activate(down(found[-1]))))
        for level in range(len(found) - 2, -1, -1):
            found[level] = doubled(self.lateral[level](found[level + 1])).add_(found[level])
            found[level] = self.merge[level - 1](found[level]) if level else activate(found[level])
        match = tuple(project(features) for project, features in zip(self.match, found, strict=len(self.match) > 0))
        return Features(match, found[0], found[1])


class Finder(nn.Module):
    """Where a structure is: a learned query for each id, compared with the features of every voxel."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        fine, context = settings.encoder[:2]
        self.fine = nn.Parameter(torch.randn(settings.vocabulary, fine) * 0.02)
        self.context = nn.Parameter(torch.randn(settings.vocabulary, context) * 0.02)
        # Most voxels belong to any one structure with a probability of a few percent.
        self.bias = nn.Parameter(torch.full((settings.vocabulary,), -3.0))

    def forward(self, features: Features, ids: Tensor) -> Tensor:
        """Logits (N, len(ids), D/2, H/2, W/2) of ``ids``, positions in the vocabulary."""
        return pointwise(features.fine, self.fine[ids], self.bias[ids]) + doubled(pointwise(features.context, self.context[ids], None))
