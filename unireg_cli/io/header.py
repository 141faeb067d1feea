"""What an image header says about space, and whether it can be trusted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from unireg_cli.errors import GeometryError
from unireg_cli.types import AnyArray, FloatArray

if TYPE_CHECKING:
    from unireg_cli.spatial import Grid

logger = logging.getLogger("unireg")

# Largest difference across an image's corners, in voxel edges, at which two matrices still say the same: the float32
# quaternion of files straight from a scanner's converter differs from their sform by up to 0.008.
_AGREE_VOXELS = 0.05
# Cosine between two axes (or 1 minus a squared length) up to which a matrix is right but for float32 rounding...
_ROUNDING = 1e-5
# ...and up to which it is right but for careless rounding; beyond, the axes are really oblique to each other.
_SHEAR = 1e-3


class HeaderChoice(StrEnum):
    """Which NIfTI matrix to believe where a file holds both; ``CHECK`` refuses a file in which they differ."""

    CHECK = "check"
    SFORM = "sform"
    QFORM = "qform"


def grid_from_matrix(size: Sequence[int], lps_from_index: AnyArray, name: str, spacing: Sequence[float] | AnyArray | None = None) -> Grid:
    """The grid of a 4 x 4 header matrix, its axes made orthonormal; ``spacing`` (mm) replaces the length of the columns.

    A deviation above float32 rounding is logged as a warning.

    Raises:
        GeometryError: zero or non-finite entries, or axes so far from orthogonal that the image is sheared.
    """
    from unireg_cli.spatial import Grid

    matrix = np.asarray(lps_from_index, np.float64)
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.isfinite(matrix).all() or not (lengths > 0).all():
        raise GeometryError(f"{name}: the header's matrix has a zero or non-finite axis: {compact(matrix)}; repair the header")
    cosines = matrix[:3, :3] / lengths
    error = float(np.abs(cosines.T @ cosines - np.eye(3)).max())
    if error > _SHEAR:
        angle = 90 - np.degrees(np.arccos(min(1.0, error)))
        raise GeometryError(
            f"{name}: the header's axes are sheared by {angle:.2f} degrees, more than rounding does: {compact(matrix)}; "
            "ITK transforms cannot describe such a grid, resample the image to a rectangular one first"
        )
    if error > _ROUNDING:
        logger.warning("%s: the header's axes are %.1e off orthogonal; made orthogonal", name, error)
    left, _, right = np.linalg.svd(cosines)
    return Grid.from_arrays(size, lengths if spacing is None else spacing, matrix[:3, 3], left @ right)


def differ_voxels(first: AnyArray, second: AnyArray, size: Sequence[int]) -> float:
    """Largest distance between the image's corners under two 4 x 4 matrices, in the smallest voxel edge of either."""
    corners = np.array([[*np.array(bits) * (np.asarray(size) - 1), 1.0] for bits in np.ndindex(2, 2, 2)])
    apart = np.linalg.norm(corners @ (np.asarray(first) - np.asarray(second))[:3].T, axis=1).max()
    edge = min(float(np.linalg.norm(np.asarray(m)[:3, :3], axis=0).min()) for m in (first, second))
    return float(apart / edge) if edge > 0 else float("inf")


def choose_matrix(
    sform: FloatArray | None, qform: FloatArray | None, size: Sequence[int], choice: HeaderChoice, name: str, *, sform_is_scanner: bool
) -> FloatArray:
    """The matrix to believe, of those present (not None); ``choice`` decides only where both are and they differ.

    Where they agree, the same one is taken as ITK takes, so that both read the same numbers to the last digit: the sform
    if it is in scanner coordinates (code 1) or all but equal to the qform, else the qform.

    Raises:
        GeometryError: both are present, differ, and ``choice`` is CHECK.
    """
    if sform is None or qform is None:
        only = qform if sform is None else sform
        if only is None:
            raise GeometryError(f"{name}: the header has neither sform nor qform")
        return only
    if choice is not HeaderChoice.CHECK:
        return sform if choice is HeaderChoice.SFORM else qform
    apart = differ_voxels(sform, qform, size)
    if not apart <= _AGREE_VOXELS:
        raise GeometryError(
            f"{name}: sform and qform place the image {apart:.3g} voxels apart: sform {compact(sform)}, qform {compact(qform)}; "
            "find out which is right and say --header sform or --header qform"
        )
    return sform if sform_is_scanner or np.abs(sform - qform).max() < 2e-4 else qform


def check_scales(sform: FloatArray, spacing: AnyArray, size: Sequence[int], choice: HeaderChoice, name: str) -> None:
    """Refuse an sform whose voxel edges are not the header's pixdim: ITK reads the one, other tools the other.

    Raises:
        GeometryError: they differ and ``choice`` is not SFORM.
    """
    lengths = np.linalg.norm(sform[:3, :3], axis=0)
    off = np.abs(lengths - spacing) * np.asarray(size)
    if choice is not HeaderChoice.SFORM and not (off <= _AGREE_VOXELS * np.minimum(lengths, spacing)).all():
        raise GeometryError(
            f"{name}: the sform's voxel edges {_numbers(lengths)} mm contradict pixdim {_numbers(spacing)} mm; "
            "repair the header, or say --header sform to believe the sform"
        )


def compact(matrix: AnyArray) -> str:
    """The upper three rows of a matrix in one line."""
    return "[" + "; ".join(_numbers(row) for row in np.asarray(matrix)[:3]) + "]"


def _numbers(values: AnyArray) -> str:
    return " ".join(f"{value:.5g}" for value in values)
