"""Intensities of any scanner to about [0, 1], float32."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unireg_cli.errors import InputError
from unireg_cli.spatial import Image
from unireg_cli.types import AnyArray, Modality

# HU to [0, 1] by straight pieces: lungs and bone keep some contrast, soft tissue gets most of it.
_CT_HU = (-1000.0, -200.0, 300.0, 1500.0)
_CT_LEVEL = (0.0, 0.2, 0.9, 1.0)
# Percentiles need no more voxels than this.
_SAMPLE = 500_000


def decide_modality(image: Image, asked: Modality) -> tuple[Modality, str]:
    """The modality to normalise by, and the reason in words. Looks at the histogram only where ``auto`` was asked.

    CT in Hounsfield units has air near -1000 and soft tissue near 0 in signed numbers; nothing else looks like that.
    """
    if asked is not Modality.AUTO:
        return asked, f"{asked.value} (asked for)"
    sample = _sample(image.voxels)
    low = float(np.percentile(sample, 0.5))
    soft = float(((sample > -200) & (sample < 300)).mean())
    if low <= -500 and soft > 0.02:
        return Modality.CT, f"ct (air at {low:.0f}, {soft:.0%} of voxels between -200 and 300 HU)"
    if low >= 0:
        return Modality.MR, f"mr (no negative intensities, 0.5th percentile {low:.4g})"
    return Modality.OTHER, f"other (0.5th percentile {low:.4g} fits neither HU nor magnitude images)"


def normalise(image: Image, modality: Modality) -> Tensor:
    """Voxels as float32 scaled to about [0, 1]: fixed HU pieces for CT, percentiles otherwise; (D, H, W).

    Raises:
        InputError: NaN or infinite voxels, or an image without any contrast.
    """
    # isfinite allocates; the sum is NaN or infinite if any voxel is.
    if np.issubdtype(image.voxels.dtype, np.floating) and not np.isfinite(image.voxels.sum(dtype=np.float64)):
        bad = int((~np.isfinite(image.voxels)).sum())
        raise InputError(f"{image.name}: {bad} voxels are NaN or infinite; replace them (for example by 0) and try again")
    if image.voxels.min() == image.voxels.max():
        raise InputError(f"{image.name}: every voxel has the value {image.voxels.flat[0]:g}; there is nothing to register")
    if modality is Modality.CT:
        return _ct(image.voxels)
    low, high = _window(image.voxels)
    values = torch.from_numpy(image.voxels.astype(np.float32))
    return values.sub_(low).div_(high - low).clamp_(0, 1)


def _ct(voxels: AnyArray) -> Tensor:
    values = torch.from_numpy(voxels.astype(np.float32))
    scaled = torch.zeros_like(values)
    for left, right, bottom, top in zip(_CT_HU, _CT_HU[1:], _CT_LEVEL, _CT_LEVEL[1:], strict=False):
        scaled += (values - left).clamp_(0, right - left).mul_((top - bottom) / (right - left))
    return scaled


def _window(voxels: AnyArray) -> tuple[float, float]:
    """Intensities shown as 0 and 1: percentiles of what is not the background value, so that empty margins do not count."""
    sample = _sample(voxels)
    background = sample.min()
    body = sample[sample > background]
    low, high = np.percentile(body if body.size > 0.01 * sample.size else sample, (0.5, 99.5))
    low = min(low, float(background)) if background >= 0 else low
    if high <= low:
        low, high = float(voxels.min()), float(voxels.max())
    return float(low), float(high)


def _sample(voxels: AnyArray) -> AnyArray:
    flat = voxels.reshape(-1)
    return flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64)


def foreground(values: Tensor, modality: Modality) -> Tensor:
    """Where a normalised image shows a body and not air: (D, H, W), uint8 0 or 1. Coarse; for summaries only."""
    return (values > (_CT_LEVEL[1] if modality is Modality.CT else 0.05)).to(torch.uint8)
