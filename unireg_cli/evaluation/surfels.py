"""Area of the piece of surface between eight voxel centres, for each of the 256 ways in which they can lie inside or outside."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np

from unireg_cli.types import FloatArray

Corner = tuple[int, int, int]
Edge = tuple[Corner, Corner]

CORNERS: tuple[Corner, ...] = tuple((a, b, c) for a, b, c in product((0, 1), repeat=3))
"""Corner n of a cube has the bit 128 >> n of the cube's code."""
# A bent loop of cut edges is filled by triangles in one of several ways, which differ in area. Which one DeepMind's surface-distance
# takes follows no rule; one digit a code numbers it among those of `_fillings`, in base 36.
_CHOICES = (
    "0000000300030200000301000002000000030002001002200200000002020000"
    "0000030200031020020000000200020000030300001010000021230000000000"
    "0000000300321200000301000030100000200020000000200201000020300000"
    "0000202000000020020001002000300000002000001030000020300030000000"
)


@cache
def surfel_areas(spacing_mm: tuple[float, float, float]) -> FloatArray:
    """mm² of the surface in a cube of eight voxel centres by code, (256,); ``spacing_mm`` along the array's three axes.

    The surface cuts the cube's edges in their middle, as marching cubes at one half does. Corners inside that meet along a diagonal
    only are not joined, and a code and its complement have one area.
    """
    scale = np.asarray(spacing_mm)
    areas = np.zeros(256)
    for code in range(256):
        filling = list(fillings(code))[int(_CHOICES[code], 36)]
        areas[code] = sum(_triangle(points * scale) for points in filling)
    return areas


def fillings(code: int) -> Iterator[list[FloatArray]]:
    """Every way to fill the loops of a code by triangles, each (3 corners, 3), in voxels; one empty way where nothing is cut."""
    if bin(code).count("1") > 4:
        code = 255 - code
    loops = _loops(code)
    for ways in product(*(_triangulations(0, len(loop) - 1) for loop in loops)):
        yield [loop[list(triangle)] for loop, way in zip(loops, ways, strict=True) for triangle in way]


def _triangulations(first: int, last: int) -> list[list[Corner]]:
    """All triangulations of the polygon of vertices first..last."""
    if last - first < 2:
        return [[]]
    return [
        [*left, *right, (first, middle, last)]
        for middle in range(first + 1, last)
        for left in _triangulations(first, middle)
        for right in _triangulations(middle, last)
    ]


def _loops(code: int) -> list[FloatArray]:
    """Closed loops over the middles of the cut edges: (vertices, 3) each."""
    inside = {corner: bool(code & (128 >> n)) for n, corner in enumerate(CORNERS)}
    partners: dict[Edge, list[Edge]] = {}
    for axis, side in product(range(3), (0, 1)):
        for one, other in _cuts(_ring(axis, side), inside):
            partners.setdefault(one, []).append(other)
            partners.setdefault(other, []).append(one)
    loops, left = [], set(partners)
    for start in sorted(partners):
        if start in left:
            loop, here = [], start
            while here in left:
                left.discard(here)
                loop.append(here)
                here = next((edge for edge in partners[here] if edge in left), start)
            loops.append(np.array([np.mean(edge, axis=0) for edge in loop]))
    return loops


def _ring(axis: int, side: int) -> list[Corner]:
    """The corners of one face, in turn."""
    corners = []
    for u, v in ((0, 0), (0, 1), (1, 1), (1, 0)):
        corner = [u, v]
        corner.insert(axis, side)
        corners.append((corner[0], corner[1], corner[2]))
    return corners


def _cuts(ring: list[Corner], inside: dict[Corner, bool]) -> Iterator[tuple[Edge, Edge]]:
    """Pairs of edges of a face that the surface joins; of two diagonal corners each is cut off alone."""
    ends = [(ring[n], ring[(n + 1) % 4]) for n in range(4)]
    edges: list[Edge] = [(min(pair), max(pair)) for pair in ends]
    cut = [n for n in range(4) if inside[ends[n][0]] != inside[ends[n][1]]]
    if len(cut) == 2:
        yield edges[cut[0]], edges[cut[1]]
    elif cut:
        shift = 0 if inside[ring[1]] else 1
        yield edges[shift], edges[shift + 1]
        yield edges[shift + 2], edges[(shift + 3) % 4]


def _triangle(corners: FloatArray) -> float:
    return float(np.linalg.norm(np.cross(corners[1] - corners[0], corners[2] - corners[0])) / 2)
