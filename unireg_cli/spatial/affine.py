"""An affine map of LPS points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unireg_cli.errors import TransformFileError
from unireg_cli.types import AnyArray, FloatArray


@dataclass(frozen=True, slots=True)
class Affine:
    """x -> A x + t on LPS millimetres, a pull-back: fixed point -> moving point. ``matrix`` is 4 x 4, float64.

    Raises:
        TransformFileError: the matrix is not 4 x 4, not finite, not affine, or singular.
    """

    matrix: FloatArray

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.allclose(matrix[3], (0, 0, 0, 1)):
            raise TransformFileError(f"an affine needs a finite 4 x 4 matrix with last row 0 0 0 1, found {matrix.tolist()}")
        # Relative to the matrix's own scale, so that a map between very different units is not called singular.
        if np.linalg.cond(matrix[:3, :3]) > 1e7:
            raise TransformFileError(f"the affine is singular and has no inverse: {matrix[:3, :3].tolist()}")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls) -> Affine:
        """The map that moves nothing."""
        return cls(np.eye(4))

    @classmethod
    def from_parts(cls, linear: AnyArray, translation: AnyArray, center: AnyArray | None = None) -> Affine:
        """x -> linear (x - center) + center + translation; ITK's matrix-offset form."""
        pivot = np.zeros(3) if center is None else np.asarray(center, float)
        matrix = np.eye(4)
        matrix[:3, :3] = linear
        matrix[:3, 3] = np.asarray(translation, float) + pivot - matrix[:3, :3] @ pivot
        return cls(matrix)

    @property
    def is_identity(self) -> bool:
        """True if nothing moves by more than about 1e-9 mm."""
        return bool(np.allclose(self.matrix, np.eye(4), rtol=0, atol=1e-9))

    def map(self, points_lps: AnyArray) -> FloatArray:
        """Map points (..., 3) in LPS mm."""
        points = np.asarray(points_lps, dtype=np.float64)
        # One product of a long list: numpy would take a lattice slice by slice.
        mapped = points.reshape(-1, 3) @ self.matrix[:3, :3].T
        mapped += self.matrix[:3, 3]
        return mapped.reshape(points.shape)

    def invert(self) -> Affine:
        """The map back."""
        return Affine(np.asarray(np.linalg.inv(self.matrix), np.float64))

    def after(self, first: Affine) -> Affine:
        """The one affine that applies ``first`` and then this."""
        return Affine(self.matrix @ first.matrix)

    def describe(self) -> str:
        """Kind in words for messages."""
        return f"affine (determinant {np.linalg.det(self.matrix[:3, :3]):.4f})"


def fit_affine(fixed_lps: AnyArray, moving_lps: AnyArray, pull_mm: float, weights: AnyArray | None = None) -> Affine:
    """The affine that brings points (N, 3) onto their partners with the least squares, N at least 1; LPS mm.

    It is pulled towards a pure shift as strongly as if every direction held points of weight 1 at ``pull_mm`` from the middle: few points,
    or points in one line, leave the rest as it is.
    """
    here, there = np.asarray(fixed_lps, np.float64), np.asarray(moving_lps, np.float64)
    each = np.ones(len(here)) if weights is None else np.asarray(weights, np.float64)
    middle, target = (np.average(points, axis=0, weights=each) for points in (here, there))
    spread = (here - middle) * each[:, None]
    pull = pull_mm**2 * np.eye(3)
    linear = np.linalg.solve(spread.T @ (here - middle) + pull, spread.T @ (there - target) + pull).T
    return Affine.from_parts(linear, target - middle, middle)
