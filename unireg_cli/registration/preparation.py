"""Both images made ready for an optimiser: normalised, masked, on a device, and the similarity that fits them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unireg_cli.errors import InputError
from unireg_cli.registration.alignment import View
from unireg_cli.registration.device import choose_device
from unireg_cli.registration.normalise import decide_modality, foreground, normalise
from unireg_cli.registration.settings import Settings
from unireg_cli.similarity.measure import Measure, measure
from unireg_cli.spatial import Chain, Grid, Image
from unireg_cli.spatial.resample import resample
from unireg_cli.types import Interpolation, Similarity


@dataclass(frozen=True, slots=True)
class Prepared:
    """Both images normalised, what the metric is, and what was decided on the way."""

    fixed: View
    moving: View
    measure: Measure
    decisions: dict[str, str]
    foreground: Tensor
    moving_foreground: Tensor


def prepare(fixed: Image, moving: Image, settings: Settings, fixed_mask: Image | None, moving_mask: Image | None) -> Prepared:
    """Normalised views of both images on the device, and the similarity that fits their modalities."""
    device, why_device = choose_device(settings.device)
    fixed_modality, why_fixed = decide_modality(fixed, settings.fixed_modality)
    moving_modality, why_moving = decide_modality(moving, settings.moving_modality)
    chosen, why = settings.similarity, "asked for"
    if chosen is Similarity.AUTO:
        same = fixed_modality is moving_modality
        chosen, why = (Similarity.LNCC, "both images are of one modality") if same else (Similarity.MIND, "the modalities differ")
    values, moving_values = normalise(fixed, fixed_modality), normalise(moving, moving_modality)
    view_fixed = View(values.to(device), fixed.grid, _mask(fixed_mask, fixed, device))
    view_moving = View(moving_values.to(device), moving.grid, _mask(moving_mask, moving, device))
    decisions = {
        "fixed_modality": why_fixed,
        "moving_modality": why_moving,
        "similarity": f"{chosen.value} ({why})",
        "device": why_device,
    }
    bodies = foreground(values, fixed_modality), foreground(moving_values, moving_modality)
    return Prepared(view_fixed, view_moving, measure(chosen), decisions, *bodies)


def _mask(mask: Image | None, image: Image, device: torch.device) -> Tensor | None:
    if mask is None:
        return None
    if not mask.grid.same_space(image.grid):
        raise InputError(
            f"{mask.name}: a mask must lie on the grid of its image; {image.name} has {image.grid.describe()}, "
            f"the mask {mask.grid.describe()} or another origin or direction; resample it with unireg warp -n nearest"
        )
    inside = mask.voxels != 0
    if not inside.any():
        raise InputError(f"{mask.name}: the mask is empty; voxels that are not 0 are where the metric counts")
    return torch.from_numpy(inside.astype(np.float32)).to(device)


def seen_through(later: Chain, fixed: Grid, moving: Image, labels: Image | None = None) -> tuple[Image, Image | None]:
    """The moving image and a map of labels on its grid, as seen through a non-affine initial transform; for the optimiser only.

    Both lie on a widened fixed grid then; without such a transform they stay as they are.
    """
    if not later.steps:
        return moving, labels
    margin = [max(2, n // 8) for n in fixed.size]
    wide = fixed.padded(margin, margin)
    fill = float(moving.voxels.min())
    seen = Image(resample(moving.voxels, moving.grid, wide, later, Interpolation.LINEAR, fill), wide, moving.name)
    if labels is None:
        return seen, None
    return seen, Image(resample(labels.voxels, labels.grid, wide, later, Interpolation.NEAREST), wide, labels.name)
