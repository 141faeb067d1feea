"""Balls on a dark ground, and a segmenter that knows structures by their brightness."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import torch
from scenes import cube
from torch import Tensor, nn

from unireg_cli.model.anatomy import vocabulary
from unireg_cli.registration.alignment import View
from unireg_cli.spatial import Grid

GRID = cube(32, 2.0)
BODIES = (((0, 0, 0), (31, 31, 31)),) * 2


class ByBrightness(nn.Module):
    """Structure k has brightness ``levels[k]``; where it is right its probability is the sigmoid of 0.08 times the sharpness."""

    def __init__(self, levels: Sequence[float], sharpness: float = 200) -> None:
        super().__init__()
        self.sharpness = sharpness
        self.levels = torch.tensor(levels)
        self.bias = torch.zeros(len(levels))
        self.trust = torch.ones(len(levels))

    def forward(self, images: Tensor, _known: Tensor) -> Tensor:
        return nn.functional.avg_pool3d(images, 2)

    def logits(self, features: Tensor, structures: Tensor) -> Tensor:
        found = self.sharpness * (0.08 - (features - self.levels[structures][None, :, None, None, None]).abs())
        return torch.cat((torch.zeros_like(found[:, :1]), found), dim=1)


def network(*levels: float, sight_voxels: int = 1_600_000, ids: Sequence[int] = ()):  # type: ignore[no-untyped-def]
    """A network that knows these, with ids 10, 20, ... unless others are given."""
    segmented = tuple(ids) or tuple(10 * (1 + k) for k in range(len(levels)))
    settings = SimpleNamespace(segmented=segmented, divisor=4, sight_voxels=sight_voxels)
    return SimpleNamespace(segmenter=ByBrightness(levels), settings=settings, known=vocabulary())


def balls(grid: Grid, *balls: tuple[tuple[float, float, float], float, float]) -> View:
    """Balls (centre mm, radius mm, brightness) on a dark ground."""
    values = np.zeros(grid.shape, np.float32)
    for centre, radius, level in balls:
        values[np.linalg.norm(grid.points_lps() - np.asarray(centre), axis=-1) < radius] = level
    return View(torch.from_numpy(values), grid)
