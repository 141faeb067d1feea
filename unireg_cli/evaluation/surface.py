"""Distances between the surfaces of structures, every surface element counting by its area. Pure numpy and scipy, no files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from unireg_cli.evaluation.surfels import surfel_areas
from unireg_cli.types import AnyArray, FloatArray

Spacing = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class SurfaceDistance:
    """How far two surfaces are apart, mm: infinite and NaN if one of them is not there."""

    hd95_mm: float
    """The larger of the two directions' 95th percentiles."""
    assd_mm: float
    """The mean of the two directions' means."""
    means_mm: tuple[float, float]
    """First to second, second to first."""


def surface_distance(first: AnyArray, second: AnyArray, spacing_mm: Spacing, percent: float = 95.0) -> SurfaceDistance:
    """Distances between the surfaces of two masks (D, H, W) on one grid; ``spacing_mm`` along the array's axes (z, y, x).

    A surface element lies where eight neighbouring voxel centres are not all inside or all outside; its area is that of marching
    cubes, and its distance is that to the nearest element of the other surface.

    Source:
        S. Nikolov et al., Clinically applicable segmentation of head and neck anatomy, J Med Internet Res 23 (2021), and the package
        surface-distance by the same authors.
    """
    box = _box(first | second)
    if box is None or not first.any() or not second.any():
        return SurfaceDistance(np.inf, np.nan, (np.nan, np.nan))
    codes = [_codes(mask[box]) for mask in (first, second)]
    borders = [(code != 0) & (code != 255) for code in codes]
    areas = [surfel_areas(spacing_mm)[code[border]] for code, border in zip(codes, borders, strict=True)]
    apart = _to_other(borders[0], borders[1], spacing_mm), _to_other(borders[1], borders[0], spacing_mm)
    means = tuple(float((d * a).sum() / a.sum()) for d, a in zip(apart, areas, strict=True))
    worst = max(_percentile(d, a, percent) for d, a in zip(apart, areas, strict=True))
    return SurfaceDistance(worst, float(np.mean(means)), (means[0], means[1]))


def surface_distances(fixed: AnyArray, warped: AnyArray, labels: Iterable[int], spacing_mm: Spacing) -> dict[int, SurfaceDistance]:
    """:func:`surface_distance` of every label, each inside the box that holds it in both maps."""
    from scipy.ndimage import find_objects

    ids, codes = np.unique(np.concatenate((fixed.ravel(), warped.ravel())), return_inverse=True)
    compact = (codes + 1).astype(np.int32).reshape(2, *fixed.shape)
    boxes = [find_objects(volume, max_label=len(ids)) for volume in compact]
    place = {int(id): n for n, id in enumerate(ids)}
    found = {}
    for label in labels:
        n = place.get(label)
        both = (None, None) if n is None else (boxes[0][n], boxes[1][n])
        if n is None or both[0] is None or both[1] is None:
            found[label] = SurfaceDistance(np.inf, np.nan, (np.nan, np.nan))
            continue
        hull = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(*both, strict=True))
        found[label] = surface_distance(compact[0][hull] == n + 1, compact[1][hull] == n + 1, spacing_mm)
    return found


def _box(mask: AnyArray) -> tuple[slice, ...] | None:
    spans = [np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    return None if not len(spans[0]) else tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)


def _codes(mask: AnyArray) -> AnyArray:
    """Which of the eight voxels around each voxel corner are inside: uint8, one longer than ``mask`` along every axis."""
    padded = np.pad(mask, 1).view(np.uint8)
    depth, height, width = (count + 1 for count in mask.shape)
    codes = np.zeros((depth, height, width), np.uint8)
    for bit in range(8):
        z, y, x = bit >> 2 & 1, bit >> 1 & 1, bit & 1
        codes |= padded[z : z + depth, y : y + height, x : x + width] << np.uint8(7 - bit)
    return codes


def _to_other(own: AnyArray, other: AnyArray, spacing_mm: Spacing) -> FloatArray:
    """mm from every element of ``own`` to the nearest of ``other``."""
    from scipy.spatial import cKDTree

    scale = np.asarray(spacing_mm)
    # A tree of the elements is several times faster than a distance map of the whole box.
    apart: FloatArray = cKDTree(np.argwhere(other) * scale).query(np.argwhere(own) * scale)[0]
    return apart


def _percentile(distances: FloatArray, areas: FloatArray, percent: float) -> float:
    """The distance below which ``percent`` of the area lies."""
    # Equal distances by area, as the definition's own sorting has it: the percentile itself does not depend on it.
    order = np.lexsort((areas, distances))
    share = np.cumsum(areas[order]) / areas.sum()
    return float(distances[order][min(int(np.searchsorted(share, percent / 100)), len(order) - 1)])
