"""Pairs of images with a transform known exactly: soft-edged balls evaluated at mapped points, nothing is resampled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid, Image

Scene = Callable[[np.ndarray], np.ndarray]


def organs(reach_mm: float, count: int = 20, seed: int = 0, edge_mm: float = 2.0) -> Scene:
    """A body with soft-edged balls in it, of ``reach_mm`` about the origin on a dark ground: points (..., 3), LPS mm -> 0..1000."""
    numbers = np.random.default_rng(seed)
    ways = numbers.normal(size=(count, 3))
    centers = reach_mm * numbers.uniform(0.15, 0.7, (count, 1)) * ways / np.linalg.norm(ways, axis=1, keepdims=True)
    radii = reach_mm * numbers.uniform(0.1, 0.28, count)
    levels = numbers.uniform(0, 1000, count)
    # An ellipsoid with three different axes: a ball would leave its turn to its contents alone.
    axes = reach_mm * np.array([1.0, 0.85, 0.7])

    def inside(distance: np.ndarray) -> np.ndarray:
        return np.clip(0.5 - distance / (2 * edge_mm), 0, 1)

    def scene(points: np.ndarray) -> np.ndarray:
        total = 500 * inside((np.linalg.norm(points / axes, axis=-1) - 1) * axes.min())
        for center, radius, level in zip(centers, radii, levels, strict=True):
            share = inside(np.linalg.norm(points - center, axis=-1) - radius)
            total = total + share * (level - total)
        return total

    return scene


def show(scene: Scene, grid: Grid, through: Chain | Affine | DisplacementField | None = None, name: str = "image") -> Image:
    """scene(through(x)) on a grid, float32. A fixed image shown ``through`` T and the moving scene itself are a pair with truth T."""
    points = grid.points_lps()
    return Image(scene(points if through is None else through.map(points)).astype(np.float32), grid, name)


def turn(axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    """Rotation matrix about an axis (Rodrigues)."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def cube(size: int, spacing: float) -> Grid:
    """``size`` voxels of ``spacing`` mm along each axis about the origin."""
    return Grid.from_arrays((size,) * 3, (spacing,) * 3, (-spacing * (size - 1) / 2,) * 3, np.eye(3))


def corner_error_voxels(grid: Grid, found: Affine, truth: Affine) -> float:
    """Largest distance of the eight mapped corners of the field of view, in the grid's smallest voxel edge."""
    corners = grid.corners_lps()
    return float(np.linalg.norm(found.map(corners) - truth.map(corners), axis=1).max() / min(grid.spacing))


def texture(reach_mm: float, grain_mm: float = 4.0, seed: int = 0) -> Scene:
    """Structure everywhere within ``reach_mm`` of the origin (a cube) and on: smoothed noise, 100..1000, read by scipy's cubic spline."""
    step = grain_mm / 2
    count = int(np.ceil(2 * reach_mm / step)) + 1
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(count,) * 3), 2.0, mode="wrap")
    low, high = np.percentile(noise, (1, 99))
    coefficients = ndimage.spline_filter(np.clip(100 + 900 * (noise - low) / (high - low), 100, 1000), mode="mirror")

    def scene(points: np.ndarray) -> np.ndarray:
        places = (points.reshape(-1, 3).T + reach_mm) / step
        return ndimage.map_coordinates(coefficients, places, mode="mirror", prefilter=False).reshape(points.shape[:-1])

    return scene
