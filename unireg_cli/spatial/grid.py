"""A regular 3-D lattice of voxels in LPS space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from unireg_cli.errors import GeometryError
from unireg_cli.types import AnyArray, FloatArray

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the voxels of an image are: index (i, j, k) -> LPS millimetres. No pixels, no device.

    ``size``, ``spacing`` and ``origin`` are in (x, y, z) order as in ITK; ``shape`` is the (z, y, x) order of arrays.
    ``direction`` holds the direction cosines, row by row: column a is the LPS direction of index axis a.

    Raises:
        GeometryError: size below 1, spacing not positive, or direction not orthonormal to 1e-4.
    """

    size: tuple[int, int, int]
    spacing: Triple
    origin: Triple
    direction: tuple[float, float, float, float, float, float, float, float, float]

    def __post_init__(self) -> None:
        if len(self.size) != 3 or min(self.size) < 1:
            raise GeometryError(f"grid size must be three positive integers, found {self.size}")
        numbers = (*self.spacing, *self.origin, *self.direction)
        if not all(np.isfinite(numbers)) or min(self.spacing) <= 0:
            raise GeometryError(f"grid spacing must be positive and finite, found {self.spacing} (origin {self.origin})")
        cosines = np.asarray(self.direction, float).reshape(3, 3)
        error = float(np.abs(cosines.T @ cosines - np.eye(3)).max())
        if error > 1e-4:
            raise GeometryError(f"direction cosines are not orthonormal (error {error:.2g}): {self.direction}")

    @classmethod
    def from_arrays(
        cls, size: Sequence[int] | AnyArray, spacing: Sequence[float] | AnyArray, origin: Sequence[float] | AnyArray, direction: AnyArray
    ) -> Grid:
        """A grid from array-likes; ``direction`` is a 3 x 3 matrix."""
        flat = tuple(float(c) for c in np.asarray(direction, float).ravel())
        return cls(
            tuple(int(s) for s in size),  # type: ignore[arg-type]
            tuple(float(s) for s in spacing),  # type: ignore[arg-type]
            tuple(float(o) for o in origin),  # type: ignore[arg-type]
            flat,  # type: ignore[arg-type]
        )

    @classmethod
    def from_matrix(cls, size: Sequence[int], lps_from_index: AnyArray) -> Grid:
        """A grid from a 4 x 4 matrix whose columns are orthogonal."""
        columns = np.asarray(lps_from_index, float)[:3, :3]
        spacing = np.linalg.norm(columns, axis=0)
        if not np.all(spacing > 0):
            raise GeometryError(f"matrix has a zero column, voxel spacing {spacing.tolist()}")
        return cls.from_arrays(size, spacing, np.asarray(lps_from_index, float)[:3, 3], columns / spacing)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape, (z, y, x)."""
        return self.size[2], self.size[1], self.size[0]

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return self.size[0] * self.size[1] * self.size[2]

    @property
    def cosines(self) -> FloatArray:
        """Direction cosines as a 3 x 3 matrix: lps_from_axis."""
        return np.asarray(self.direction, float).reshape(3, 3)

    @property
    def lps_from_index(self) -> FloatArray:
        """4 x 4, float64: index (i, j, k) -> LPS mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.cosines * np.asarray(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def index_from_lps(self) -> FloatArray:
        """4 x 4, float64: LPS mm -> continuous index (i, j, k)."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.cosines.T / np.asarray(self.spacing)[:, None]
        matrix[:3, 3] = -matrix[:3, :3] @ np.asarray(self.origin)
        return matrix

    @property
    def extent_mm(self) -> FloatArray:
        """Edge lengths of the field of view (voxel edges included), along the index axes, mm."""
        return np.asarray(self.size, np.float64) * np.asarray(self.spacing, np.float64)

    @property
    def center_lps(self) -> FloatArray:
        """LPS mm of the middle of the field of view."""
        middle = (np.asarray(self.size, float) - 1) / 2
        return np.asarray(self.lps_from_index[:3, :3] @ middle + np.asarray(self.origin))

    def corners_lps(self) -> FloatArray:
        """The eight corners of the field of view at voxel edges: (8, 3), LPS mm."""
        low, high = np.full(3, -0.5), np.asarray(self.size) - 0.5
        index = np.array([[(low, high)[b][a] for a, b in enumerate(bits)] for bits in np.ndindex(2, 2, 2)])
        return np.asarray(index @ self.lps_from_index[:3, :3].T + np.asarray(self.origin))

    def points_lps(self, z_start: int = 0, z_stop: int | None = None) -> FloatArray:
        """LPS mm of the voxel centres of slices z_start <= k < z_stop: (slices, y, x, 3), float64."""
        matrix = self.lps_from_index
        i, j = np.arange(self.size[0]), np.arange(self.size[1])
        k = np.arange(z_start, self.size[2] if z_stop is None else z_stop)
        parts = (
            k[:, None, None, None] * matrix[:3, 2],
            j[None, :, None, None] * matrix[:3, 1],
            i[None, None, :, None] * matrix[:3, 0] + matrix[:3, 3],
        )
        return np.asarray(parts[0] + parts[1] + parts[2])

    def resized(self, size: Sequence[int]) -> Grid:
        """The same field of view (voxel edges kept) cut into ``size`` voxels."""
        counts = np.asarray(size)
        spacing = self.extent_mm / counts
        offset = (spacing - np.asarray(self.spacing)) / 2
        return Grid.from_arrays(counts, spacing, np.asarray(self.origin) + self.cosines @ offset, self.cosines)

    def upright(self) -> Grid:
        """The same voxel centres with axes renumbered and reversed so that they run as nearly as they can towards L, A and S."""
        cosines, best = self.cosines, None
        for order in permutations(range(3)):
            near = sum(abs(float(cosines[axis, order[axis]])) for axis in range(3))
            if best is None or near > best[0] + 1e-9:
                best = (near, order)
        assert best is not None  # there are six orders
        matrix = self.lps_from_index.copy()
        origin = matrix[:3, 3].copy()
        for axis, own in enumerate(best[1]):
            column = self.lps_from_index[:3, own]
            # In LPS only the second axis runs away from its goal.
            backwards = (column[axis] < 0) == (axis != 1)
            matrix[:3, axis] = -column if backwards else column
            origin += (self.size[own] - 1) * column if backwards else 0.0
        matrix[:3, 3] = origin
        return Grid.from_matrix([self.size[own] for own in best[1]], matrix)

    def padded(self, low: Sequence[int], high: Sequence[int]) -> Grid:
        """``low``/``high`` voxels more at either end of each axis (x, y, z); negative numbers crop."""
        start = self.lps_from_index[:3, :3] @ (-np.asarray(low, float)) + np.asarray(self.origin)
        return Grid.from_arrays(np.asarray(self.size) + low + np.asarray(high), self.spacing, start, self.cosines)

    def same_space(self, other: Grid, tolerance_voxels: float = 1e-3) -> bool:
        """True if both have one size and every corner agrees within a fraction of the smallest voxel edge."""
        if self.size != other.size:
            return False
        apart = np.abs(self.corners_lps() - other.corners_lps()).max()
        return bool(apart <= tolerance_voxels * min(*self.spacing, *other.spacing))

    def describe(self) -> str:
        """Size and spacing in words for messages."""
        return f"{'x'.join(map(str, self.size))} voxels of {'x'.join(f'{s:g}' for s in self.spacing)} mm"
