"""Three planes through a scan, laid out as a radiologist expects them, whatever the file's own axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unireg_cli.spatial import Chain, Grid, Image
from unireg_cli.spatial.resample import resample
from unireg_cli.types import AnyArray, FloatArray, Interpolation

_MOST_PIXELS = 256
# Voxels looked at to find the foreground.
_SAMPLES = 200_000


@dataclass(frozen=True, slots=True)
class Plane:
    """One slice: ``grid`` has a single layer; its first axis runs to the right of the picture, its second downwards."""

    name: str
    grid: Grid
    edges: tuple[str, str, str, str]
    """Patient sides at the left, right, top and bottom of the picture."""

    @property
    def width_mm(self) -> float:
        """Left to right."""
        return float(self.grid.extent_mm[0])

    @property
    def height_mm(self) -> float:
        """Top to bottom."""
        return float(self.grid.extent_mm[1])

    def cut(self, image: Image, default: float = 0.0) -> FloatArray:
        """The image on this plane where its header puts it: (height, width), float64."""
        part = _around(image, self.grid)
        if part is None:
            return np.full((self.grid.size[1], self.grid.size[0]), default)
        layer: AnyArray = resample(part.voxels.astype(np.float32), part.grid, self.grid, Chain(), Interpolation.LINEAR, default)[0]
        return np.asarray(layer, np.float64)

    def points_lps(self) -> FloatArray:
        """LPS mm of the pixels: (height, width, 3)."""
        return np.asarray(self.grid.points_lps()[0], np.float64)


# Names, and which patient axis (0 left, 1 posterior, 2 superior) with which sign runs right, down and through.
_LAYOUT: tuple[tuple[str, tuple[tuple[int, int], ...], tuple[str, str, str, str]], ...] = (
    ("axial", ((0, 1), (1, 1), (2, 1)), ("R", "L", "A", "P")),
    ("coronal", ((0, 1), (2, -1), (1, 1)), ("R", "L", "S", "I")),
    ("sagittal", ((1, 1), (2, -1), (0, 1)), ("A", "P", "S", "I")),
)


def three_planes(grid: Grid, center_lps: FloatArray) -> tuple[Plane, ...]:
    """Axial, coronal and sagittal plane of a grid through a point, along the grid's own axes; square pixels, at most 256."""
    axes = _patient_axes(grid.cosines)
    extent = np.abs(axes.T @ grid.cosines) @ grid.extent_mm
    planes = []
    for name, order, edges in _LAYOUT:
        cosines = np.stack([sign * axes[:, axis] for axis, sign in order], axis=1)
        width, height = extent[order[0][0]], extent[order[1][0]]
        pixel = max(width, height) / _MOST_PIXELS
        size = (max(1, round(width / pixel)), max(1, round(height / pixel)), 1)
        # In its own plane the slice is centred on the field of view; across, it goes through the point.
        offset = np.array([0.0, 0.0, (center_lps - grid.center_lps) @ cosines[:, 2]])
        middle = np.array([(size[0] - 1) / 2 * pixel, (size[1] - 1) / 2 * pixel, 0.0])
        origin = grid.center_lps + cosines @ (offset - middle)
        planes.append(Plane(name, Grid.from_arrays(size, (pixel, pixel, pixel), origin, cosines), edges))
    return tuple(planes)


def _patient_axes(cosines: FloatArray) -> FloatArray:
    """The grid's axes, reordered and turned round so that column 0 points mostly left, 1 posterior, 2 superior."""
    from scipy.optimize import linear_sum_assignment

    patient, index = linear_sum_assignment(-np.abs(cosines))
    axes = np.empty((3, 3))
    for p, i in zip(patient, index, strict=True):
        axes[:, p] = cosines[:, i] * (1.0 if cosines[p, i] >= 0 else -1.0)
    return axes


def _around(image: Image, plane: Grid) -> Image | None:
    """The part of the image that a plane can touch, so that a large scan is not copied for one slice; None if they do not meet."""
    matrix = image.grid.index_from_lps
    corners = plane.corners_lps() @ matrix[:3, :3].T + matrix[:3, 3]
    low = np.clip(np.floor(corners.min(0)).astype(int) - 1, 0, None)
    high = np.clip(np.ceil(corners.max(0)).astype(int) + 2, None, image.grid.size)
    if (high <= low).any():
        return None
    voxels = image.voxels[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
    return Image(voxels, image.grid.padded(-low, high - np.asarray(image.grid.size)), image.name)


def foreground_center(image: Image) -> FloatArray:
    """LPS mm of the middle of everything brighter than the background; the grid's centre for a constant image."""
    stride = max(1, round((image.voxels.size / _SAMPLES) ** (1 / 3)))
    sparse = np.asarray(image.voxels[::stride, ::stride, ::stride], np.float64)
    low, high = np.percentile(sparse, (1, 99))
    bright = np.argwhere(sparse > low + 0.15 * (high - low))
    if len(bright) == 0:
        return image.grid.center_lps
    index = bright.mean(0)[::-1] * stride
    return np.asarray(image.grid.lps_from_index[:3, :3] @ index + np.asarray(image.grid.origin))


def display_window(image: Image) -> tuple[float, float]:
    """Intensities shown as black and white: a soft-tissue window for CT numbers, else the middle 98 % of the foreground."""
    stride = max(1, round((image.voxels.size / _SAMPLES) ** (1 / 3)))
    sparse = np.asarray(image.voxels[::stride, ::stride, ::stride], np.float64)
    low, high = np.percentile(sparse, (0.5, 99.5))
    if low <= -500 and high > 0:
        return -200.0, 300.0
    bright = sparse[sparse > low + 0.05 * (high - low)]
    if len(bright) == 0:
        return low - 0.5, low + 0.5
    return float(low), float(max(np.percentile(bright, 99), low + 1e-6))
