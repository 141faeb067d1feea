"""Directions, smooth fields, random points, and what SimpleITK says about them; all small."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid

OBLIQUE = Rotation.from_euler("xyz", [20, -13, 35], degrees=True).as_matrix()
DIRECTIONS = {
    "LPS": np.eye(3),
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "LAS": np.diag([1.0, -1.0, 1.0]),
    "sagittal": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
    "oblique": OBLIQUE,
    "oblique flipped": OBLIQUE @ np.diag([1.0, -1.0, 1.0]),
}


def lps_points(grid: Grid, count: int = 1000, seed: int = 0) -> np.ndarray:
    """Random points of the field of view between the outermost voxel centres."""
    index = np.random.default_rng(seed).uniform(0, 1, (count, 3)) * (np.array(grid.size) - 1)
    return index @ grid.lps_from_index[:3, :3].T + grid.lps_from_index[:3, 3]


def smooth_field(grid: Grid, reach_mm: float = 4.0, seed: int = 1) -> DisplacementField:
    """A field that differs along every axis and in every component, and fades to zero at the edge."""
    phase = np.random.default_rng(seed).uniform(0, 6, (3, 3))
    z, y, x = np.meshgrid(*[np.linspace(0, 1, n) for n in grid.shape], indexing="ij")
    fade = np.sin(np.pi * x) * np.sin(np.pi * y) * np.sin(np.pi * z)
    waves = [np.sin(3 * x + p[0]) + np.cos(2 * y + p[1]) + np.sin(2 * z + p[2]) for p in phase]
    return DisplacementField((np.stack(waves, -1) * fade[..., None] * reach_mm / 3).astype(np.float32), grid)


AFFINE = Affine.from_parts(OBLIQUE @ np.array([[1.1, 0.05, 0.0], [0.0, 0.93, 0.02], [0.01, 0.0, 1.04]]), (5.0, -7.5, 2.25), (3.0, 4.0, 5.0))


def pair(grid: Grid) -> tuple[Chain, Chain]:
    """A result as a registration makes it: forward (field, affine), inverse (inverse affine, another field)."""
    return Chain((smooth_field(grid), AFFINE)), Chain((AFFINE.invert(), smooth_field(grid, seed=2)))


def sitk_map(transform, points: np.ndarray) -> np.ndarray:
    """SimpleITK's answer, point by point."""
    return np.array([transform.TransformPoint(point) for point in points.tolist()])


def sitk_image(voxels: np.ndarray, grid: Grid, vectors: bool = False) -> sitk.Image:
    """SimpleITK's image of an array on a grid."""
    image = sitk.GetImageFromArray(voxels, isVector=vectors)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


def same_geometry(image: sitk.Image, grid: Grid, tolerance: float = 1e-5) -> bool:
    """True if SimpleITK's idea of an image's space is ``grid``."""
    pairs = ((image.GetOrigin(), grid.origin), (image.GetSpacing(), grid.spacing), (image.GetDirection(), grid.direction))
    return image.GetSize() == grid.size and all(np.abs(np.subtract(a, b)).max() < tolerance for a, b in pairs)
