"""What the user knows beyond the images, made ready to steer one registration, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unireg_cli.errors import UsageError
from unireg_cli.model.anatomy import Vocabulary
from unireg_cli.registration.landmarks import Landmarks, as_index, check_landmarks, moved_points, pulled_back, spline
from unireg_cli.registration.pull import Before, LandmarkPull, Pull, Pulls, StructurePull
from unireg_cli.registration.result import LandmarkErrors, Spread, StructureOverlap
from unireg_cli.registration.segmentations import Segmentations, Structures, as_seen, codes_on, find_structures
from unireg_cli.spatial import Affine, Chain, Grid, Image
from unireg_cli.spatial.resample import resample
from unireg_cli.types import FloatArray, Interpolation


@dataclass(frozen=True, slots=True, eq=False)
class Steering:
    """Segmentations of both images, landmark pairs, or both.

    Raises:
        UsageError: neither.
    """

    segmentations: Segmentations | None = None
    landmarks: Landmarks | None = None

    def __post_init__(self) -> None:
        if self.segmentations is None and self.landmarks is None:
            raise UsageError("steering needs segmentations or landmarks of both images")


@dataclass(frozen=True, slots=True, eq=False)
class Guide:
    """Steering that fits a pair of images: see :func:`make_guide`."""

    structures: Structures | None
    """As the user gave them."""
    seen: Structures | None
    """The same, the moving ones as the optimiser sees the moving image."""
    landmarks: Landmarks | None
    seen_lps: FloatArray
    """Moving landmarks as the optimiser sees the moving image, (N, 3), LPS mm."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the segmentations."""
        return () if self.structures is None else self.structures.notes

    def start(self, affine: Affine, before: Before | None, grid: Grid, device: torch.device) -> Tensor | None:
        """A smooth displacement through the landmarks, voxels of ``grid``, that comes before ``before``; None without landmarks."""
        if self.landmarks is None:
            return None
        return spline(self.landmarks, affine.invert().map(self.seen_lps), None if before is None else before(grid), grid, device)

    def pull(self, affine: Affine, before: Before | None, device: torch.device) -> Callable[[Grid], Pull]:
        """Makes the force at a scale; ``before`` as in :func:`unireg_cli.registration.refinement.refine`."""

        def make(grid: Grid) -> Pull:
            parts: list[Pull] = []
            if self.seen is not None:
                parts.append(StructurePull(self.seen, affine, grid, before, device))
            if self.landmarks is not None:
                targets = affine.invert().map(self.seen_lps)
                if before is not None:
                    targets = pulled_back(targets, before, grid)
                chosen = self.landmarks.steering
                places, ends = (as_index(points[chosen], grid, device) for points in (self.landmarks.fixed_lps, targets))
                weights = torch.from_numpy(self.landmarks.weights[chosen].astype(np.float32)).to(device)
                parts.append(LandmarkPull(places, ends, weights, grid))
            return Pulls(parts)

        return make

    def overlaps(self, affine: Affine, predicted: Before | None, forward: Chain, device: torch.device) -> tuple[StructureOverlap, ...]:
        """Dice of every label that both maps have, by the nearest voxel: under the affine, after the network, and in the end."""
        if self.structures is None or self.seen is None:
            return ()
        grid = self.structures.fixed.grid
        codes = torch.from_numpy(self.seen.moving.voxels).to(device)

        def dice(displacement: Tensor | None) -> tuple[float, ...]:
            assert self.structures is not None and self.seen is not None
            return self.structures.dice(codes_on(codes, self.seen.moving.grid, grid, affine, displacement).cpu().numpy())

        before = dice(None)
        network: Sequence[float | None] = [None] * len(before) if predicted is None else dice(predicted(grid))
        moving = self.structures.moving
        after = self.structures.dice(resample(moving.voxels, moving.grid, grid, forward, Interpolation.NEAREST))
        facts = zip(self.structures.labels, self.structures.names, self.structures.steering, before, network, after, strict=True)
        return tuple(StructureOverlap(*row) for row in facts)

    def mean_error(self, affine: Affine, predicted: Before, grid: Grid, later: Chain) -> float:
        """Mean distance of the landmarks that steer from their partners after a prediction, mm, by their weights; 0 without any."""
        if self.landmarks is None:
            return 0.0
        points = Chain((affine, *later.steps)).map(moved_points(self.landmarks.fixed_lps, predicted(grid), grid))
        apart, weights = np.linalg.norm(points - self.landmarks.moving_lps, axis=1), self.landmarks.weights
        return float((apart * weights).sum() / weights.sum())

    def errors(self, affine: Affine, predicted: Before | None, grid: Grid, later: Chain, forward: Chain) -> LandmarkErrors | None:
        """Distances of the landmarks from their partners, mm, in the space of the moving image."""
        if self.landmarks is None:
            return None
        fixed, moving, chosen = self.landmarks.fixed_lps, self.landmarks.moving_lps, self.landmarks.steering
        aligned = Chain((affine, *later.steps))

        def spread_of(points: FloatArray) -> Spread:
            apart = np.linalg.norm(points - moving, axis=1)
            return Spread(float(apart.mean()), float(np.median(apart)), float(apart.max()))

        network = None if predicted is None else spread_of(aligned.map(moved_points(fixed, predicted(grid), grid)))
        return LandmarkErrors(
            len(fixed), int(chosen.sum()), spread_of(aligned.map(fixed)), network, spread_of(forward.map(fixed)),
            tuple(np.linalg.norm(forward.map(fixed) - moving, axis=1).tolist()),
        )  # fmt: skip


def make_guide(steering: Steering, fixed: Image, moving: Image, anatomy: Sequence[str], known: Vocabulary, later: Chain) -> Guide:
    """Check what the user gave against the images, and see it as the optimiser sees the moving image.

    Args:
        steering: what the user gave.
        fixed: the fixed image.
        moving: the moving image, as it was read.
        anatomy: structures asked for; none means all.
        known: the names that labels and anatomy are given by.
        later: the non-affine initial transform, or nothing.

    Raises:
        InputError: landmarks outside their image, labels that are absent, maps that hold no labels.
        GeometryError: a map that does not overlap its image.
        UsageError: names that are no part of the anatomy asked for.
    """
    structures = seen = None
    if steering.segmentations is not None:
        structures = find_structures(steering.segmentations, fixed, moving, anatomy, known)
        seen = as_seen(structures, moving, later, fixed.grid)
    seen_lps = np.zeros((0, 3))
    if steering.landmarks is not None:
        check_landmarks(steering.landmarks, fixed, moving)
        seen_lps = later.invert().map(steering.landmarks.moving_lps)
    return Guide(structures, seen, steering.landmarks, seen_lps)
