"""How good the weights are on the tune split: overlap, regularity, and what asking for a structure gains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.datasets import DataSet, Scan
from trainer.lattices import lattice_of, padded
from trainer.losses import displacement_at
from trainer.prealign import Key
from trainer.sampling import Gallery, Shown, as_shown, draw_image, nearest
from trainer.step import begin_at
from unireg_cli.evaluation.overlap import dice_per_label
from unireg_cli.model.anatomy import AnatomyRequest, Vocabulary
from unireg_cli.model.condition import Condition
from unireg_cli.model.network import Network
from unireg_cli.model.passes import repeat
from unireg_cli.registration.prediction import as_ask
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.drawing import map_lattice
from unireg_cli.spatial.jacobian import index_determinant, regularity
from unireg_cli.spatial.sampling import index_lattice
from unireg_cli.types import FloatArray, Mode

# Native voxels looked at per pair, about.
_VOXELS = 400_000
# Voxels of the lattice of the first pass.
_COARSE = 140_000
# What a unit of roughness costs in the score that weights are chosen by: overlap that is bought with it does not count.
_PRICE = 0.2


@dataclass(frozen=True, slots=True)
class TuneResult:
    """Means over the pairs of one set, NaN if not looked at.

    ``asked_gain``: Dice of a structure when asked for less that when all are; ``segmented``: Dice of the segmenter's own maps.
    """

    dice_affine: float
    dice: float
    folding_percent: float
    sdlogj: float
    asked_gain: float
    segmented: float = math.nan

    @property
    def score(self) -> float:
        """What weights are chosen by: overlap less the price of its roughness, plus the segmenter's overlap; as far as it was seen."""
        parts = [part for part in (self.dice - _PRICE * self.sdlogj, self.segmented) if not math.isnan(part)]
        return sum(parts) if parts else math.nan


NOTHING_SEEN = TuneResult(*[math.nan] * 5)


@dataclass(frozen=True, slots=True, eq=False)
class TunePair:
    """A pair on the network's lattices, coarse first, without any augmentation."""

    shown: tuple[Shown, ...]
    places: Tensor
    """Native voxels of the fixed image (n, 3) and, in the same order, ``truth`` their labels."""
    truth: Tensor
    moving: Scan
    index_from_lattice: FloatArray
    lattice_from_index: FloatArray
    size: tuple[int, int, int]


def tune_pair(fixed: Scan, moving: Scan, affine: Affine, gallery: Gallery, voxels: Sequence[int], divisor: int) -> TunePair:
    """The pair as ``unireg register`` would show it to the network, on lattices of about ``voxels``."""
    grids = [lattice_of(fixed, moving, count) for count in voxels]
    shown = [show(fixed, moving, affine, grid, gallery, divisor) for grid in grids]
    grid = grids[-1]
    lps_moving = affine.matrix @ grid.lps_from_index
    step = max(1, round((fixed.labels.numel() / _VOXELS) ** (1 / 3)))
    places = index_lattice((fixed.labels.shape[0], fixed.labels.shape[1], fixed.labels.shape[2]))[::step, ::step, ::step].reshape(-1, 3)
    return TunePair(
        tuple(shown),
        places,
        fixed.labels[::step, ::step, ::step].reshape(-1),
        moving,
        moving.grid.index_from_lps @ lps_moving,
        grid.index_from_lps @ fixed.grid.lps_from_index,
        grid.size,
    )


def show(fixed: Scan, moving: Scan, affine: Affine, grid: Grid, gallery: Gallery, divisor: int) -> Shown:
    """Both images on one lattice, padded."""
    full = padded(grid, divisor)
    spacing, lattice = float(np.prod(grid.spacing)) ** (1 / 3), index_lattice(full.shape)
    sides = (fixed, grid.lps_from_index), (moving, affine.matrix @ grid.lps_from_index)
    return as_shown([draw_image(scan, gallery, spacing, lattice, matrix) for scan, matrix in sides], full)


def warped_labels(pair: TunePair, displacement: Tensor | None) -> Tensor:
    """Nearest moving label at every looked-at voxel of the fixed image; 0 outside the moving label map."""
    points = map_lattice(pair.places, pair.lattice_from_index)
    if displacement is not None:
        points = points + displacement_at(displacement, points)
    return nearest(pair.moving.labels, map_lattice(points, pair.index_from_lattice))


def structure_dice(pair: TunePair, displacement: Tensor | None) -> dict[int, float]:
    """Dice of every label of the fixed image; one that the moving image lacks scores 0."""
    moved = warped_labels(pair, displacement)
    return dice_per_label(pair.truth.numpy().astype(np.int64), moved.numpy().astype(np.int64))


@torch.no_grad()
def evaluate(
    network: Network,
    data: DataSet,
    pairs: Sequence[tuple[Key, Mode]],
    affines: dict[Key, Affine],
    gallery: Gallery,
    known: Vocabulary,
    *,
    voxels: int,
    asked: int = 3,
) -> TuneResult:
    """Mean results over ``pairs``; ``asked``: how many structures of each of the first two pairs are also asked for alone."""
    rows, gains = [], []
    for count, ((fixed, moving), mode) in enumerate(pairs):
        lattices = (_COARSE, voxels) if voxels > _COARSE else (voxels,)
        pair = tune_pair(data.scans[fixed], data.scans[moving], affines[fixed, moving], gallery, lattices, network.settings.divisor)
        displacement = predict(network, pair, known.everything(), mode, known)
        before, after = structure_dice(pair, None), structure_dice(pair, displacement)
        x, y, z = (n // 2 for n in pair.size)
        summary = regularity(index_determinant(displacement[:, :z, :y, :x]).numpy())
        rows.append((np.mean(list(before.values())), np.mean(list(after.values())), summary.folding_percent, summary.sdlogj))
        askable = [k for k in data.askable if k in after]
        for k in askable[:: max(1, len(askable) // asked)][:asked] if count < 2 else []:
            alone = predict(network, pair, known.request([data.structures[k]]), mode, known)
            gains.append(structure_dice(pair, alone)[k] - after[k])
    before_mean, after_mean, folding, sdlogj = (float(value) for value in np.mean(np.asarray(rows, float), axis=0))
    return TuneResult(before_mean, after_mean, folding, sdlogj, float(np.mean(gains)) if gains else float("nan"))


def predict(network: Network, pair: TunePair, anatomy: AnatomyRequest, mode: Mode, known: Vocabulary) -> Tensor:
    """The network's displacement for one condition, half resolution."""
    ask, shown = as_ask(Condition(anatomy, mode), known), pair.shown[-1]
    return repeat(network, shown.images, shown.known, ask, 1, inverse=True, start=begin_at(network, pair.shown, ask)).displacement
