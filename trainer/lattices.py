"""The lattices on which a pair is shown in training: how many voxels, padded to what the network takes, or a box of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trainer.augmentation import uniform
from trainer.datasets import Scan
from unireg_cli.registration.network_grid import network_grid
from unireg_cli.spatial import Grid


@dataclass(frozen=True, slots=True)
class Lattices:
    """Most voxels, about, of the lattice that is learnt on and of those of the passes ``before`` it, coarsest first.

    ``crop``: only a random box of so many of its voxels is shown; then there are passes before it, which see the whole.
    """

    voxels: int
    before: tuple[int, ...] = ()
    crop: int | None = None


def lattice_of(fixed: Scan, moving: Scan, voxels: int) -> Grid:
    """The network's lattice of a pair of scans."""
    return network_grid(fixed.grid, fixed.body, moving.grid, voxels)


def padded(grid: Grid, divisor: int) -> Grid:
    """The grid with so many voxels more at the end of each axis that its size is a multiple of ``divisor``."""
    return grid.padded((0, 0, 0), [-n % divisor for n in grid.size])


def random_box(grid: Grid, voxels: int, divisor: int, generator: torch.Generator) -> Grid:
    """A random part of a grid with about ``voxels`` voxels and its proportions, edges multiples of ``divisor``; short axes stay whole."""
    share = min(1.0, voxels / grid.voxels) ** (1 / 3)
    low, high = [], []
    for n in grid.size:
        edge = min(n, max(divisor, round(n * share / divisor) * divisor))
        low.append(int(uniform(generator) * (n - edge + 1)))
        high.append(n - edge - low[-1])
    return grid.padded([-n for n in low], [-n for n in high])
