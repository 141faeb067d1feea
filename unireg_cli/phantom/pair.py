"""Two CT-like images of one torso in two positions, with labels and landmarks that are exactly known in both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unireg_cli.phantom.anatomy import Anatomy, Triple, rotation
from unireg_cli.phantom.ct import scan
from unireg_cli.phantom.motion import Motion
from unireg_cli.phantom.tissue import LABELS, NAMES
from unireg_cli.phantom.torso import Torso
from unireg_cli.spatial import Grid, Image
from unireg_cli.types import FloatArray

# Structures that landmarks are drawn in, and how many in each.
_LANDMARKS: dict[str, int] = {
    "liver": 12,
    "spleen": 6,
    "kidney_right": 6,
    "kidney_left": 6,
    "heart": 8,
    "stomach": 4,
    "aorta": 6,
    "lung_lower_lobe_right": 5,
    "lung_lower_lobe_left": 5,
    "lung_middle_lobe_right": 3,
    "lung_upper_lobe_left": 4,
    "vertebrae_T10": 2,
    "vertebrae_T12": 2,
    "vertebrae_L2": 2,
    "colon": 4,
}
_LANDMARK_LATTICE_MM = 4.0


@dataclass(frozen=True, slots=True)
class PhantomPair:
    """A pair with its truth: ``motion`` maps fixed points to moving points, LPS mm, and carries landmarks and labels."""

    fixed: Image
    moving: Image
    fixed_labels: Image
    moving_labels: Image
    names: dict[int, str]
    landmarks_fixed_lps: FloatArray
    """(N, 3) LPS mm."""
    landmarks_moving_lps: FloatArray
    """(N, 3) LPS mm, row by row motion.map(landmarks_fixed_lps)."""
    landmark_labels: tuple[int, ...]
    """Label id of the organ that each landmark lies in."""
    motion: Motion
    torso: Torso


def demo_grids(coarsen: float = 1.0) -> tuple[Grid, Grid]:
    """Grids of a quick pair: an LPS scan, and an oblique one with axes of an RAS file and thicker slices; ``coarsen`` widens voxels."""
    fixed = centred_grid((144, 112, 100), (2.5, 2.5, 3.0), np.eye(3), (0.0, 0.0, 15.0), coarsen)
    oblique = rotation((2.0, 3.0, 7.0)) @ np.diag([-1.0, -1.0, 1.0])
    return fixed, centred_grid((160, 132, 74), (2.2, 2.2, 4.0), oblique, (4.0, -3.0, 6.0), coarsen)


def large_grids() -> tuple[Grid, Grid]:
    """Grids of clinical size, 512 x 512 x 300, for memory tests."""
    fixed = centred_grid((512, 512, 300), (0.75, 0.75, 1.1), np.eye(3), (0.0, 0.0, 15.0), 1.0)
    oblique = rotation((1.0, 2.0, 4.0)) @ np.diag([-1.0, -1.0, 1.0])
    return fixed, centred_grid((512, 512, 300), (0.78, 0.78, 1.0), oblique, (4.0, -3.0, 6.0), 1.0)


def centred_grid(size: tuple[int, int, int], spacing: Triple, cosines: FloatArray, center_lps: Triple, coarsen: float) -> Grid:
    """A grid around a centre; ``coarsen`` > 1 covers the same field of view with fewer, larger voxels."""
    counts = np.maximum(np.rint(np.asarray(size) / coarsen), 4).astype(int)
    step = np.asarray(spacing) * size / counts
    origin = np.asarray(center_lps) - cosines @ ((counts - 1) / 2 * step)
    return Grid.from_arrays(counts, step, origin, cosines)


def make_pair(
    seed: int = 0,
    *,
    amount: float = 1.0,
    grids: tuple[Grid, Grid] | None = None,
    anatomy: Anatomy | None = None,
    noise_hu: tuple[float, float] = (12.0, 18.0),
) -> PhantomPair:
    """A fixed and a moving scan of one subject.

    Args:
        seed: draws subject, motion and noise; equal seeds give equal voxels.
        amount: how far the motion goes; 0 leaves only grids and noise different.
        grids: of the fixed and the moving image; ``demo_grids()`` by default.
        anatomy: the subject; drawn from ``seed`` by default.
        noise_hu: of the fixed and the moving image.

    Raises:
        UsageError: ``amount`` is so large that the motion might fold.
    """
    fixed_grid, moving_grid = demo_grids() if grids is None else grids
    torso = Torso(Anatomy.random(seed) if anatomy is None else anatomy)
    motion = Motion.random(seed, amount)
    # The subject is defined where it is in the moving image: then the fixed image needs only the forward map, which is a formula.
    fixed_hu, fixed_ids = scan(torso, fixed_grid, seed=2 * seed, motion=motion, noise_hu=noise_hu[0])
    moving_hu, moving_ids = scan(torso, moving_grid, seed=2 * seed + 1, noise_hu=noise_hu[1])
    fixed_points, moving_points, ids = _landmarks(torso, motion, fixed_grid, moving_grid, seed)
    return PhantomPair(
        Image(fixed_hu, fixed_grid, "fixed"),
        Image(moving_hu, moving_grid, "moving"),
        Image(fixed_ids, fixed_grid, "fixed_labels"),
        Image(moving_ids, moving_grid, "moving_labels"),
        dict(NAMES),
        fixed_points,
        moving_points,
        ids,
        motion,
        torso,
    )


def _landmarks(torso: Torso, motion: Motion, fixed: Grid, moving: Grid, seed: int) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """Points well inside organs and inside both fields of view: fixed and moving LPS mm, (N, 3) each, and their labels."""
    from scipy import ndimage

    lattice = moving.resized(np.maximum(np.rint(moving.extent_mm / _LANDMARK_LATTICE_MM), 1).astype(int))
    points = lattice.points_lps()
    labels = torso.paint(points).labels.numpy()
    boxes = ndimage.find_objects(labels, max(NAMES))
    rng = np.random.default_rng((seed, 404))
    chosen: list[FloatArray] = []
    ids: list[int] = []
    for name, count in _LANDMARKS.items():
        box = boxes[LABELS[name] - 1]
        if box is None:
            continue
        # One lattice step from any other label, and from the border of the field of view, on all 26 sides.
        deep = ndimage.binary_erosion(labels[box] == LABELS[name], np.ones((3, 3, 3)))
        candidates = points[box][deep]
        candidates = candidates[rng.permutation(len(candidates))[: 4 * count]]
        index = motion.invert(candidates) @ fixed.index_from_lps[:3, :3].T + fixed.index_from_lps[:3, 3]
        seen = ((index > 2) & (index < np.asarray(fixed.size) - 3)).all(axis=1)
        chosen.append(candidates[seen][:count])
        ids += [LABELS[name]] * len(chosen[-1])
    moving_points = np.concatenate(chosen) if chosen else np.empty((0, 3))
    return motion.invert(moving_points), moving_points, tuple(ids)
