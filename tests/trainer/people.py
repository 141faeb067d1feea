"""Scans in memory with labels and intensities that are known at every point."""

from __future__ import annotations

import numpy as np
import torch

from trainer.datasets import DataSet, Scan
from trainer.sampling import Labelled
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.spatial import Grid
from unireg_cli.types import FloatArray, Mode

NAMES = ("liver", "spleen", "stomach", "pancreas", "gallbladder")
IDS = tuple(id for id in map(vocabulary().structure_id, NAMES) if id is not None)
STRUCTURES = (-1, *IDS)
"""As in a data set: label k is structure IDS[k - 1]."""

_CENTRES = np.array([(-16, 4, 0), (16, -4, 6), (4, 14, -12), (-4, -14, 10), (0, 2, 18)], float)
_RADII = np.array([10, 8, 6, 6, 5], float)


def person(seed: int, grid: Grid | None = None, *, painted: bool = False) -> Scan:
    """A smooth body with five balls as structures; centres differ by up to 2 mm between seeds."""
    if grid is None:
        grid = Grid.from_arrays((36, 32, 30), (2.0, 2.1, 2.2), (-35.0, -32.5, -31.9), np.eye(3))
    centres = _CENTRES + np.random.default_rng(seed).uniform(-2, 2, _CENTRES.shape)
    points = grid.points_lps()
    values = 0.3 * np.clip((34 - np.linalg.norm(points, axis=-1)) / 6, 0, 1)
    labels = np.zeros(grid.shape, np.uint8)
    for k, (centre, radius) in enumerate(zip(centres, _RADII, strict=True), start=1):
        depth = radius - np.linalg.norm(points - centre, axis=-1)
        labels[depth > 0] = k
        values += (0.1 + 0.1 * k) * np.clip(0.5 + depth / 6, 0, 1)
    body = ((0, 0, 0), (grid.size[0] - 1, grid.size[1] - 1, grid.size[2] - 1))
    shown = None if painted else torch.from_numpy(np.clip(values, 0, 1)).half()
    return Scan(f"person{seed}", grid, shown, torch.from_numpy(labels), body, seed)


def people(count: int, *, painted: bool = False) -> DataSet:
    """A data set of so many of them."""
    return DataSet("people", Mode.INTER, tuple(person(seed, painted=painted) for seed in range(count)), STRUCTURES, ())


def side(labels: torch.Tensor, points: torch.Tensor, structures: list[int], index_from_lattice: FloatArray | None = None) -> Labelled:
    """One side of an example without a shift, all points valid; the lattice is that of the labels if no matrix is given."""
    matrix = np.eye(4) if index_from_lattice is None else index_from_lattice
    return Labelled(labels, matrix, None, torch.tensor(structures), points, torch.ones(points.shape[:2], dtype=torch.bool))
