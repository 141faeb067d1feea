"""Slices through a registration as grey numbers: what a viewer needs to compose every view of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from unireg_cli.registration.result import Registration
from unireg_cli.report.edges import edges
from unireg_cli.report.planes import Plane, display_window
from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid, Image
from unireg_cli.spatial.drawing import index_map, known_inside, map_lattice
from unireg_cli.spatial.jacobian import determinant
from unireg_cli.spatial.resample import resample
from unireg_cli.spatial.sampling import index_lattice, sample_index
from unireg_cli.types import FloatArray, Interpolation

# mm between the lines of the deformed lattice.
LINE_EVERY_MM = 20.0
# As SDlogJ does: a fold must not make the logarithm infinite.
_DETERMINANTS = (1e-3, 1e3)


@dataclass(frozen=True, slots=True)
class Stack:
    """Slices along one plane: every layer is (slices, height, width), 0..1; ``offsets_mm`` are the slices' distances from the plane.

    Layers: fixed, before, affine (with a field only), after, edges (of fixed), lines (of the deformed lattice) and, with a
    field, logj: 0.5 is a volume kept, 0 and 1 are -limit and +limit.
    """

    plane: Plane
    offsets_mm: FloatArray
    layers: dict[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Sources:
    """Images shrunk to about the pixels of a page, with their windows, and the log-Jacobian on the field's own grid."""

    fixed: Image
    moving: Image
    warped: Image
    windows: tuple[tuple[float, float], tuple[float, float]]
    lowest: tuple[float, float]
    registration: Registration
    log_jacobian: Image | None
    limit: float
    """The largest |log-Jacobian| that is told apart."""


def prepare_sources(fixed: Image, moving: Image, warped: Image, registration: Registration, pixel_mm: float) -> Sources:
    """What stacks are cut from; ``moving`` is native, ``warped`` lies on the fixed grid."""
    field = registration.field
    logarithms = None if field is None else log_jacobian_map(field)
    limit = 0.1 if logarithms is None else max(0.1, float(np.percentile(np.abs(logarithms.voxels), 99.5)))
    return Sources(
        pooled(fixed, pixel_mm),
        pooled(moving, pixel_mm),
        pooled(warped, pixel_mm),
        (display_window(fixed), display_window(moving)),
        (float(np.min(fixed.voxels)), float(np.min(moving.voxels))),
        registration,
        logarithms,
        limit,
    )


def cut_stack(sources: Sources, plane: Plane, offsets_mm: FloatArray) -> Stack:
    """Every layer of one plane."""
    grid = plane.slab(offsets_mm)
    done = sources.registration
    layers = {
        "fixed": _grey(sources.fixed, grid, Chain(), sources.windows[0], sources.lowest[0]),
        "before": _grey(sources.moving, grid, Chain(), sources.windows[1], sources.lowest[1]),
        "after": _grey(sources.warped, grid, Chain(), sources.windows[1], sources.lowest[1]),
    }
    if sources.log_jacobian is not None:
        straight = Chain(tuple(step for step in done.forward.steps if step is not done.field))
        layers["affine"] = _grey(sources.moving, grid, straight, sources.windows[1], sources.lowest[1])
        values = _cut(sources.log_jacobian, grid, Chain(), 0.0)
        layers["logj"] = np.clip(0.5 + values / (2 * sources.limit), 0, 1)
    layers["edges"] = np.stack([edges(pixels) for pixels in layers["fixed"]]).astype(np.float64)
    layers["lines"] = _lines(grid, done.affine if done.field is None else done.field)
    return Stack(plane, offsets_mm, layers)


def pooled(image: Image, pixel_mm: float) -> Image:
    """The image as float32 with voxels of at most about ``pixel_mm``, each the mean of whole voxels: nothing flickers, less to copy."""
    factors = [max(1, min(int(pixel_mm / edge), count)) for edge, count in zip(image.grid.spacing, image.grid.size, strict=True)]
    size = [count // factor for count, factor in zip(image.grid.size, factors, strict=True)]
    kept = tuple(slice(0, n * f) for n, f in zip(reversed(size), reversed(factors), strict=True))
    (d, h, w), (fd, fh, fw) = reversed(size), reversed(factors)
    voxels = image.voxels[kept].reshape(d, fd, h, fh, w, fw).mean(axis=(1, 3, 5), dtype=np.float32)
    crop = image.grid.padded((0, 0, 0), [n * f - count for n, f, count in zip(size, factors, image.grid.size, strict=True)])
    return Image(voxels, crop.resized(size), image.name)


def log_jacobian_map(field: DisplacementField) -> Image:
    """log det d(x + u)/dx on the field's grid, float32; folds as log 0.001."""
    return Image(np.log(np.clip(determinant(field), *_DETERMINANTS)), field.grid, "log Jacobian")


def _grey(image: Image, grid: Grid, chain: Chain, window: tuple[float, float], outside: float) -> FloatArray:
    return np.clip((_cut(image, grid, chain, outside) - window[0]) / (window[1] - window[0]), 0, 1)


def _cut(image: Image, grid: Grid, chain: Chain, outside: float) -> FloatArray:
    """The image's float32 voxels on a grid through a chain; a single affine in float32, which is several times faster."""
    steps = chain.simplified().steps
    first = steps[0] if len(steps) == 1 else Affine.identity()
    if len(steps) > 1 or not isinstance(first, Affine):
        return resample(image.voxels, image.grid, grid, chain, Interpolation.LINEAR, outside).astype(np.float64)
    matrix = index_map(image.grid, grid, first)
    volume, size = torch.from_numpy(image.voxels)[None], image.grid.size
    index, step = map_lattice(index_lattice((1, *grid.shape[1:])), matrix), torch.as_tensor(matrix[:3, 2], dtype=torch.float32)
    drawn = np.empty(grid.shape)
    # One slice at a time stays in the processor's cache.
    for k in range(grid.size[2]):
        here = index + k * step
        drawn[k] = torch.where(known_inside(here, size) > 0, sample_index(volume, here)[0], outside)[0].numpy()
    return drawn


def _lines(grid: Grid, transform: Affine | DisplacementField) -> FloatArray:
    """The deformed lattice in each slice, drawn about a pixel wide: 1 on a line."""
    moved = transform.map(grid.points_lps()) - np.asarray(grid.origin)
    drawn = np.zeros(grid.shape)
    for axis in (0, 1):
        places = moved @ grid.cosines[:, axis] / LINE_EVERY_MM
        # Steepness along the picture only, so that a line is as wide where the lattice is stretched.
        slope = np.hypot(*(np.gradient(places, axis=n) if grid.shape[n] > 1 else 0 * places for n in (1, 2)))
        away = np.abs(places - np.rint(places)) / np.maximum(slope, 1e-6)
        drawn = np.maximum(drawn, np.clip(1.1 - away, 0, 1))
    return drawn
