"""Which structure every voxel of one image belongs to: an encoder of its own beside the registration's, of the same kind."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unireg_cli.model.encoder import Encoder
from unireg_cli.model.layers import Residual, doubled, pointwise
from unireg_cli.model.settings import NetworkSettings


class Segmenter(nn.Module):
    """An encoder and a learned query for each structure it was taught; what matches none of them is background.

    It looks at one image at a time, on a lattice whose axes run about towards L, A and S (see ``Grid.upright``), so that left and
    right can be told apart whatever way an image is stored. ``trust`` (K,) says how far each structure may be relied on, 0 to 1: what it
    weighs where a registration is steered, by how well it was found in people who were not learned from; 0 before it was looked for.
    """

    trust: Tensor

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        fine, context = settings.segmenting[:2]
        self.encoder = Encoder(settings.segmenting)
        self.last = Residual(fine, depth=1)
        self.queries = nn.Parameter(torch.randn(len(settings.segmented), fine + context) * 0.02)
        # Most voxels belong to any one structure with a probability of a few percent.
        self.bias = nn.Parameter(torch.full((len(settings.segmented),), -3.0))
        self.register_buffer("trust", torch.zeros(len(settings.segmented)))

    def forward(self, images: Tensor, known: Tensor) -> Tensor:
        """Features (N, C, D/2, H/2, W/2) of images (N, 1, D, H, W) as the encoder takes them, from which structures are read."""
        found = self.encoder(images, known)
        return torch.cat((self.last(found.fine), doubled(found.context)), dim=1)

    def logits(self, features: Tensor, structures: Tensor) -> Tensor:
        """(N, 1 + K, D, H, W): 0 for the background, then the ``structures`` (K,), positions in ``settings.segmented``; float32."""
        found = pointwise(features, self.queries[structures], self.bias[structures]).float()
        return torch.cat((torch.zeros_like(found[:, :1]), found), dim=1)
