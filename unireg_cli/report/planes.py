"""Three planes through a scan, laid out as a radiologist expects them, whatever the file's own axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unireg_cli.spatial import Chain, Grid, Image
from unireg_cli.spatial.resample import resample
from unireg_cli.types import AnyArray, FloatArray, Interpolation

_MOST_PIXELS = 256
# A slice nearer to the edge than where this share (percent) of the foreground ends shows next to nothing.
_EDGE_PERCENT = 1.0
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

    def slab(self, offsets_mm: FloatArray) -> Grid:
        """This plane again at each of these evenly spaced distances through the scan, as one grid of so many layers."""
        step = float(offsets_mm[1] - offsets_mm[0]) if len(offsets_mm) > 1 else 1.0
        size, pixel = self.grid.size, self.grid.spacing[0]
        origin = np.asarray(self.grid.origin) + offsets_mm[0] * self.grid.cosines[:, 2]
        return Grid.from_arrays((size[0], size[1], len(offsets_mm)), (pixel, pixel, step), origin, self.grid.cosines)

    def offsets_mm(self, image: Image, most: int) -> FloatArray:
        """Distances from this plane at which slices show the image's foreground: ascending, evenly spaced, ``most`` at most."""
        normal = self.grid.cosines[:, 2]
        away = (foreground_points(image) - np.asarray(self.grid.origin)) @ normal
        if len(away) == 0:
            return np.zeros(1)
        low, high = np.percentile(away, (_EDGE_PERCENT, 100 - _EDGE_PERCENT))
        thickness = image.grid.spacing[int(np.argmax(np.abs(normal @ image.grid.cosines)))]
        return np.linspace(low, high, max(1, min(most, round((high - low) / thickness) + 1)))

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


def three_planes(grid: Grid, center_lps: FloatArray, most_pixels: int = _MOST_PIXELS) -> tuple[Plane, ...]:
    """Axial, coronal and sagittal plane of a grid through a point, along the grid's own axes; square pixels, so many at most."""
    axes = _patient_axes(grid.cosines)
    extent = np.abs(axes.T @ grid.cosines) @ grid.extent_mm
    planes = []
    for name, order, edges in _LAYOUT:
        cosines = np.stack([sign * axes[:, axis] for axis, sign in order], axis=1)
        width, height = extent[order[0][0]], extent[order[1][0]]
        pixel = max(width, height) / most_pixels
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


def foreground_points(image: Image) -> FloatArray:
    """LPS mm of what is brighter than the background, evenly thinned out: (N, 3); none for a constant image."""
    stride = max(1, round((image.voxels.size / _SAMPLES) ** (1 / 3)))
    sparse = np.asarray(image.voxels[::stride, ::stride, ::stride], np.float64)
    low, high = np.percentile(sparse, (1, 99))
    index = np.argwhere(sparse > low + 0.15 * (high - low))[:, ::-1] * stride
    return np.asarray(index @ image.grid.lps_from_index[:3, :3].T + np.asarray(image.grid.origin))


def foreground_center(image: Image) -> FloatArray:
    """LPS mm of the middle of everything brighter than the background; the grid's centre for a constant image."""
    bright = foreground_points(image)
    return np.asarray(bright.mean(0)) if len(bright) else image.grid.center_lps


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
