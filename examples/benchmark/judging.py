"""Scores of a written transform, the same way for every tool, by programs that none of them brings."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from unireg_cli.evaluation.surface import surface_distances

FIELDS = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")


class NotScored(Exception):
    """A transform that could not be scored; says why in one line."""


def scores(scorer: Path, fixed_labels: Path, moving_labels: Path, transform: Path, *, distances: bool) -> dict[str, float]:
    """What SCORER prints for the transform, and the mean 95 % Hausdorff distance in mm.

    SCORER is called as ``SCORER FIXED_LABELS MOVING_LABELS TRANSFORM``; it warps the labels, and takes the Jacobian of x -> x + u(x) on
    the fixed grid in physical space. The distance is over the labels that both maps have and the warp has not lost; ``lost`` counts those.

    Raises:
        NotScored: a transform that SimpleITK cannot read, or one with a number that is not finite.
    """
    words = [sys.executable, str(scorer), str(fixed_labels), str(moving_labels), str(transform)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotScored(f"the scorer failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    found: dict[str, float] = {name: value for name, value in json.loads(done.stdout).items() if value is not None}
    wrong = [name for name, value in found.items() if not math.isfinite(value)]
    if wrong:
        raise NotScored(f"the transform gives numbers that are not finite ({', '.join(wrong)})")
    return found | (hausdorff(fixed_labels, moving_labels, transform) if distances else {})


def read_itk(transform: Path) -> sitk.Transform:
    """A transform file, or a displacement field (mm, LPS) as a transform."""
    if transform.name.endswith(FIELDS):
        return sitk.DisplacementFieldTransform(sitk.ReadImage(str(transform), sitk.sitkVectorFloat64))
    return sitk.ReadTransform(str(transform))


def hausdorff(fixed_labels: Path, moving_labels: Path, transform: Path) -> dict[str, float]:
    """Mean over labels of the 95 % Hausdorff distance in mm, and how many labels the warp has lost."""
    fixed, moving = sitk.ReadImage(str(fixed_labels)), sitk.ReadImage(str(moving_labels))
    warped = sitk.Resample(moving, fixed, read_itk(transform), sitk.sitkNearestNeighbor, 0)
    here, there, after = (sitk.GetArrayFromImage(image).astype(np.int64) for image in (fixed, moving, warped))
    common = sorted((set(np.unique(here).tolist()) & set(np.unique(there).tolist())) - {0})
    x, y, z = fixed.GetSpacing()
    found = [distance.hd95_mm for distance in surface_distances(here, after, common, (z, y, x)).values()]
    kept = [value for value in found if math.isfinite(value)]
    return {"lost": len(found) - len(kept)} | ({"hd95": float(np.mean(kept))} if kept else {})
