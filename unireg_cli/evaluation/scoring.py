"""Scores of one pair under its transform: overlap, surface distances, landmarks and regularity. No files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from unireg_cli.errors import InputError
from unireg_cli.evaluation.overlap import dice_per_label
from unireg_cli.evaluation.surface import SurfaceDistance, surface_distances
from unireg_cli.spatial import Chain, DisplacementField, Grid, Image
from unireg_cli.spatial.field import index_from_mm
from unireg_cli.spatial.jacobian import Regularity, index_determinant, regularity
from unireg_cli.spatial.resample import resample
from unireg_cli.types import AnyArray, FloatArray, Interpolation

RULE = (
    "A structure is scored if both the fixed and the moving map have it, as Learn2Reg does; others are left out. One that is scored but "
    "lost by the warp has Dice 0 and no surface distance (it is counted as lost, and left out of the means of distances). dice_all counts "
    "every structure of the fixed map, 0 where the warped map lacks it."
)
# Slices of the Jacobian at the edge are one-sided differences: left out where there are enough others.
_THIN = 12


@dataclass(frozen=True, slots=True)
class StructureScore:
    """One structure of one pair; ``distance`` is infinite where the warped map has lost it."""

    label: int
    name: str
    dice: float
    dice_before: float
    distance: SurfaceDistance

    @property
    def lost(self) -> bool:
        """Whether nothing of it is left in the warped map."""
        return not np.isfinite(self.distance.hd95_mm)


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Mean distance to the partners, mm, under the images' headers and under the transform."""

    count: int
    before_mm: float
    after_mm: float


@dataclass(frozen=True, slots=True)
class LabelScores:
    """All structures of one pair, and the Dice over all of the fixed map's."""

    structures: tuple[StructureScore, ...]
    dice_all: float | None
    unscored: tuple[int, ...]
    """Labels that only one of the two maps has."""


def score_labels(fixed: Image, moving: Image, warped: AnyArray, names: Mapping[int, str]) -> LabelScores:
    """Compare the warped moving labels (on the fixed grid) with the fixed ones, by the rule of :data:`RULE`."""
    dice = dice_per_label(fixed.voxels, warped)
    here = resample(moving.voxels, moving.grid, fixed.grid, Chain(), Interpolation.NEAREST, 0)
    before = dice_per_label(fixed.voxels, here)
    in_moving = {int(label) for label in np.unique(moving.voxels)} - {0}
    common = sorted(set(dice) & in_moving)
    x, y, z = fixed.grid.spacing
    distances = surface_distances(fixed.voxels, warped, common, (z, y, x))
    structures = tuple(StructureScore(k, names.get(k, f"label_{k}"), dice[k], before[k], distances[k]) for k in common)
    return LabelScores(structures, float(np.mean(list(dice.values()))) if dice else None, tuple(sorted(set(dice) ^ in_moving)))


def warp_labels(moving: Image, grid: Grid, chain: Chain) -> AnyArray:
    """The moving labels on the fixed grid, each voxel the nearest one's."""
    return resample(moving.voxels, moving.grid, grid, chain, Interpolation.NEAREST, 0)


def score_landmarks(fixed_lps: FloatArray, moving_lps: FloatArray, chain: Chain) -> Landmarks:
    """Target registration error of partners in the same order, LPS mm (N, 3).

    Raises:
        InputError: different numbers of landmarks.
    """
    if len(fixed_lps) != len(moving_lps):
        raise InputError(f"landmarks are partners in order, found {len(fixed_lps)} in the fixed and {len(moving_lps)} in the moving image")
    before = np.linalg.norm(fixed_lps - moving_lps, axis=1).mean()
    after = np.linalg.norm(chain.map(fixed_lps) - moving_lps, axis=1).mean()
    return Landmarks(len(fixed_lps), float(before), float(after))


def score_regularity(chain: Chain, grid: Grid, inside: AnyArray | None) -> tuple[Regularity, Regularity | None]:
    """Of the total transform on the fixed grid: everywhere, and where ``inside`` (D, H, W) is true.

    Slopes at the grid's edge are halved, as ITK's filter does it (the last displacement goes on outside); that counts only along axes of
    at most 12 voxels, where the edge is not left out.
    """
    points = grid.points_lps()
    field = DisplacementField((chain.map(points) - points).astype(np.float32), grid)
    extended = torch.nn.functional.pad(index_from_mm(field)[None], (1,) * 6, mode="replicate")[0]
    core = tuple(slice(1, -1) if count > _THIN else slice(None) for count in grid.shape)
    jacobian = index_determinant(extended).numpy()[1:-1, 1:-1, 1:-1][core]
    within = None if inside is None or not inside[core].any() else regularity(jacobian, inside[core])
    return regularity(jacobian), within
