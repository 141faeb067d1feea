"""Drawing an image on another grid: how it is filled where it has no data, and when interpolation would harm it."""

from __future__ import annotations

import logging

import numpy as np

from unireg_cli.registration.normalise import decide_modality
from unireg_cli.spatial import Chain, Grid, Image
from unireg_cli.spatial.resample import resample
from unireg_cli.types import AnyArray, Interpolation, Modality

logger = logging.getLogger("unireg")

# A label map has few ids and is flat: most neighbours have the same one. Noise alone breaks this in any scan.
_MOST_LABELS = 500
_FLAT_SHARE = 0.6
# Whole slices, no more voxels than this.
_LOOKED_AT = 2_000_000


def warp_image(image: Image, reference: Grid, chain: Chain, interpolation: Interpolation, default: float) -> Image:
    """``image`` pulled onto ``reference``; warns where a label map would be blurred."""
    if interpolation in (Interpolation.LINEAR, Interpolation.BSPLINE) and looks_like_labels(image.voxels):
        text = "%s looks like a label map, and %s interpolation invents ids between its labels; use nearest or label"
        logger.warning(text, image.name, interpolation)
    return Image(resample(image.voxels, image.grid, reference, chain, interpolation, default), reference, f"{image.name} (warped)")


def fill_value(image: Image, modality: Modality, asked: float | None) -> float:
    """What is written where the warped image has no data: as asked, else the minimum of a CT and 0 for anything else."""
    if asked is not None:
        return asked
    return float(image.voxels.min()) if decide_modality(image, modality)[0] is Modality.CT else 0.0


def looks_like_labels(voxels: AnyArray) -> bool:
    """True for whole numbers >= 0 with few distinct values in flat regions; used for a warning only."""
    if not np.issubdtype(voxels.dtype, np.integer) or voxels.min() < 0:
        return False
    voxels = voxels[:: max(1, voxels.size // _LOOKED_AT)]
    ids, counts = np.unique(voxels, return_counts=True)
    if not 2 <= len(ids) <= _MOST_LABELS:
        return False
    # Where the most common value (background) meets itself says nothing; look at the rest.
    other = voxels != ids[counts.argmax()]
    here, there = voxels[..., :-1], voxels[..., 1:]
    looked = other[..., :-1] | other[..., 1:]
    return bool(looked.any() and (here == there)[looked].mean() >= _FLAT_SHARE)
