"""What the runners share: their arguments, their starts in ITK's and RAS form, and the note that they leave.

Each runner is called as ``RUNNER WORDS... FIXED MOVING START FOLDER THREADS MODE`` by the Python of its own environment. START is
``own`` or an ITK transform file (.tfm, fixed -> moving, LPS mm). It leaves the total transform in FOLDER and says in result.json where,
how many seconds the registration took (imports and the writing of the total transform left out), and which version did it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    # Not before the number of threads is set.
    import numpy as np
    import SimpleITK as sitk

# Spacings that differ by less are taken as the same.
SAME = 1.05


class Job(NamedTuple):
    """One registration. ``start`` is None for the tool's own affine; ``mode`` is intra or inter."""

    words: tuple[str, ...]
    fixed: str
    moving: str
    start: str | None
    folder: Path
    threads: int
    mode: str


def read_job() -> Job:
    """The job of this process; the number of threads is set before any numeric library is imported."""
    *words, fixed, moving, start, folder, threads, mode = sys.argv[1:]
    for name in ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = threads
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Job(tuple(words), fixed, moving, None if start == "own" else start, Path(folder), int(threads), mode)


def leave_note(job: Job, transform: str, seconds: float, version: str, note: str = "") -> None:
    """Say what was done."""
    said = {"transform": transform, "seconds": round(seconds, 3), "version": version, "note": note}
    (job.folder / "result.json").write_text(json.dumps(said), "utf-8")


def matrix_of(start: str) -> np.ndarray:
    """The 4 x 4 matrix of an ITK affine file: fixed -> moving, LPS mm."""
    import numpy as np
    import SimpleITK as sitk

    transform, matrix = sitk.ReadTransform(start), np.eye(4)
    # Where the origin goes, and the ends of the axes: whatever kind of linear transform it is, and whatever its centre.
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis in range(3):
        matrix[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis].tolist())) - matrix[:3, 3]
    return matrix


def write_affine(matrix: np.ndarray, path: Path) -> None:
    """An ITK affine file of a 4 x 4 matrix (fixed -> moving, LPS mm)."""
    import SimpleITK as sitk

    affine = sitk.AffineTransform(3)
    affine.SetMatrix(matrix[:3, :3].ravel().tolist())
    affine.SetTranslation(matrix[:3, 3].tolist())
    sitk.WriteTransform(affine, str(path))


def ras_from_lps(matrix: np.ndarray) -> np.ndarray:
    """The same map between points given in RAS; it is its own inverse."""
    import numpy as np

    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return flip @ matrix @ flip


def isotropic(image: sitk.Image, least: int = 2) -> sitk.Image:
    """An empty image over the same voxel centres, as fine along every axis as the image is along its finest (to a few per cent).

    At least ``least`` voxels along every side; the image itself, if it is so already.
    """
    import SimpleITK as sitk

    size, spacing = image.GetSize(), image.GetSpacing()
    if max(spacing) < SAME * min(spacing) and min(size) >= least:
        return image
    counts = [max(least, round((n - 1) * mm / min(spacing)) + 1) for n, mm in zip(size, spacing, strict=True)]
    lattice = sitk.Image(counts, sitk.sitkFloat32)
    # The outermost centres stay where they are, so that no voxel of the image lies outside the field.
    lattice.SetSpacing([(n - 1) * mm / (count - 1) for n, mm, count in zip(size, spacing, counts, strict=True)])
    lattice.SetOrigin(image.GetOrigin())
    lattice.SetDirection(image.GetDirection())
    return lattice
