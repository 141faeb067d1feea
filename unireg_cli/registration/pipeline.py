"""One registration from two images to its transforms: prepare -> align -> refine -> finish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from unireg_cli.errors import InputError
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.condition import Condition
from unireg_cli.model.network import Network
from unireg_cli.registration.alignment import View, align, coarser
from unireg_cli.registration.device import choose_device
from unireg_cli.registration.finish import at_spacing, fade_out, remove_folds
from unireg_cli.registration.network_grid import body_box
from unireg_cli.registration.normalise import decide_modality, foreground, normalise
from unireg_cli.registration.prediction import Prediction, as_ask, displacement_on, predict
from unireg_cli.registration.refinement import Scene, plan_levels, refine
from unireg_cli.registration.result import Quality, Registration
from unireg_cli.registration.settings import Settings
from unireg_cli.registration.starts import candidates
from unireg_cli.registration.stopwatch import Stopwatch
from unireg_cli.similarity.measure import Measure, measure
from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid, Image
from unireg_cli.spatial.field import field_from_index
from unireg_cli.spatial.filters import resize_displacement
from unireg_cli.spatial.inverse import inverse_consistency
from unireg_cli.spatial.jacobian import determinant, regularity
from unireg_cli.spatial.resample import resample
from unireg_cli.spatial.velocity import compose
from unireg_cli.types import Effort, Interpolation, Similarity, TransformKind

Progress = Callable[[str, int, int], None]

# Most refinement steps per scale, coarsest first, by effort.
_STEPS: dict[Effort, tuple[int, ...]] = {
    Effort.FAST: (60, 40, 20, 0),
    Effort.DEFAULT: (60, 100, 70, 20),
    Effort.BEST: (200, 200, 150, 80),
}
# The same after the network, which leaves the coarse scales nothing to do.
_STEPS_AFTER: dict[Effort, tuple[int, ...]] = {
    Effort.FAST: (0, 0, 0, 0),
    Effort.DEFAULT: (0, 0, 40, 20),
    Effort.BEST: (0, 100, 150, 80),
}
# Voxels on which the similarity of the report is measured.
_JUDGE_VOXELS = 300_000


def quiet(stage: str, done: int, total: int) -> None:
    """A progress callback that says nothing."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Both images normalised, what the metric is, and what was decided on the way."""

    fixed: View
    moving: View
    measure: Measure
    decisions: dict[str, str]
    foreground: Tensor


def register_images(
    fixed: Image,
    moving: Image,
    settings: Settings,
    *,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    initial: Chain | None = None,
    network: Network | None = None,
    progress: Progress = quiet,
) -> Registration:
    """Register ``moving`` to ``fixed``.

    Args:
        fixed: the image whose space the result lives in.
        moving: the image to be warped.
        settings: see :class:`Settings`.
        fixed_mask: where the metric counts (non-zero), on the fixed image's grid.
        moving_mask: the same for the moving image.
        initial: fixed -> moving points, LPS mm; part of the result. Replaces ``settings.start``.
        network: in inference mode; None registers by the engine alone.
        progress: called as (stage, steps done, steps in all).

    Raises:
        InputError: an image without contrast or with NaN, an empty mask, or no overlap under the start asked for.
        GeometryError: a mask on another grid than its image.
        UsageError: a device that is not there.
    """
    watch = Stopwatch()
    later = Chain() if initial is None else initial.simplified()
    start = later.steps[0] if len(later.steps) == 1 and isinstance(later.steps[0], Affine) else None
    if start is not None or not later.steps:
        later = Chain()
    with torch.inference_mode():
        with watch.stage("prepare"):
            progress("prepare", 0, 1)
            seen, seen_mask = _through(moving, moving_mask, later, fixed.grid)
            pair = prepare(fixed, seen, settings, fixed_mask, seen_mask)
            starts = {"initial transform": start or Affine.identity()}
            if initial is None:
                starts = candidates(pair.fixed, pair.moving, settings.start)
        with watch.stage("align"):
            affine, origin = align(pair.fixed, pair.moving, starts, settings.transform, pair.measure, _named(progress, "align"))
            pair.decisions["start"] = origin
        reference = start or Affine.identity()
        if settings.transform is not TransformKind.DEFORMABLE:
            return _linear_result(pair, affine, reference, later, watch)
        prediction = None
        if network is not None:
            with watch.stage("predict"):
                progress("predict", 0, 1)
                prediction = _predict(network, pair, affine, settings)
        return _deform(fixed, pair, affine, prediction, reference, later, settings, watch, progress)


def prepare(fixed: Image, moving: Image, settings: Settings, fixed_mask: Image | None, moving_mask: Image | None) -> Prepared:
    """Normalised views of both images on the device, and the similarity that fits their modalities."""
    device, why_device = choose_device(settings.device)
    fixed_modality, why_fixed = decide_modality(fixed, settings.fixed_modality)
    moving_modality, why_moving = decide_modality(moving, settings.moving_modality)
    chosen, why = settings.similarity, "asked for"
    if chosen is Similarity.AUTO:
        same = fixed_modality is moving_modality
        chosen, why = (Similarity.LNCC, "both images are of one modality") if same else (Similarity.MIND, "the modalities differ")
    values = normalise(fixed, fixed_modality)
    view_fixed = View(values.to(device), fixed.grid, _mask(fixed_mask, fixed, device))
    view_moving = View(normalise(moving, moving_modality).to(device), moving.grid, _mask(moving_mask, moving, device))
    decisions = {
        "fixed_modality": why_fixed,
        "moving_modality": why_moving,
        "similarity": f"{chosen.value} ({why})",
        "device": why_device,
    }
    return Prepared(view_fixed, view_moving, measure(chosen), decisions, foreground(values, fixed_modality))


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


def _through(moving: Image, mask: Image | None, later: Chain, grid: Grid) -> tuple[Image, Image | None]:
    """The moving image (and mask) as seen through a non-affine initial transform, on a widened fixed grid; for the metric only."""
    if not later.steps:
        return moving, mask
    margin = [max(2, n // 8) for n in grid.size]
    wide = grid.padded(margin, margin)
    fill = float(moving.voxels.min())
    seen = Image(resample(moving.voxels, moving.grid, wide, later, Interpolation.LINEAR, fill), wide, moving.name)
    if mask is None:
        return seen, None
    return seen, Image(resample(mask.voxels, mask.grid, wide, later, Interpolation.NEAREST), wide, mask.name)


def _named(progress: Progress, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(stage, done, total)


def _linear_result(pair: Prepared, affine: Affine, reference: Affine, later: Chain, watch: Stopwatch) -> Registration:
    with watch.stage("judge"):
        grid = coarser(pair.fixed.grid, _JUDGE_VOXELS)
        quality = _similarities(pair, affine, reference, grid)
    forward = Chain((affine, *later.steps))
    pair.decisions["grid"] = f"{grid.describe()} (where the similarity is measured)"
    warnings = tuple(_gain_warning(quality))
    return Registration(forward, forward.invert(), affine, None, None, grid, quality, pair.decisions, warnings, watch.stages)


def _predict(network: Network, pair: Prepared, affine: Affine, settings: Settings) -> Prediction:
    """The network under the condition asked for."""
    device, known = pair.fixed.values.device, vocabulary()
    condition = Condition(known.resolve(settings.anatomy), settings.mode, settings.smoothness)
    box = body_box(pair.foreground > 0)
    found = predict(network.to(device), pair.fixed, pair.moving, box, affine, as_ask(condition, known, device))
    pair.decisions["network_grid"] = found.lattice.describe()
    return replace(found, displacement=found.settled(settings.smoothness))


def _refined(pair: Prepared, affine: Affine, grid: Grid, prediction: Prediction | None, settings: Settings, progress: Progress) -> Tensor:
    """The displacement on ``grid`` after the refinement, from the prediction or from nothing."""
    steps = _STEPS[settings.effort] if prediction is None else _STEPS_AFTER[settings.effort]
    *coarse, finest = steps
    levels = plan_levels(grid, (*coarse, finest if settings.iterations is None else settings.iterations), settings.smoothness)
    before = None if prediction is None else prediction.on
    displacement = refine(pair.fixed, pair.moving, affine, levels, pair.measure, _named(progress, "refine"), before)
    displacement = resize_displacement(displacement, grid.shape)
    return displacement if prediction is None else compose(prediction.on(grid), displacement)


def _deform(
    fixed: Image,
    pair: Prepared,
    affine: Affine,
    prediction: Prediction | None,
    reference: Affine,
    later: Chain,
    settings: Settings,
    watch: Stopwatch,
    progress: Progress,
) -> Registration:
    """The deformable part: refine, finish, judge."""
    warnings: list[str] = []
    with watch.stage("refine"):
        if prediction is not None and settings.effort is Effort.FAST and not settings.iterations:
            network_grid, displacement = prediction.grid, prediction.displacement
            pair.decisions["grid"] = f"{network_grid.describe()} (the network's)"
        else:
            network_grid = coarser(fixed.grid, settings.voxel_budget) if fixed.grid.voxels > settings.voxel_budget else fixed.grid
            pair.decisions["grid"] = f"{network_grid.describe()} (of {fixed.grid.describe()}, budget {settings.voxel_budget} voxels)"
            displacement = _refined(pair, affine, network_grid, prediction, settings, progress)
    with watch.stage("finish"):
        progress("finish", 0, 3)
        quality = _similarities(pair, affine, reference, coarser(fixed.grid, _JUDGE_VOXELS), displacement, network_grid)
        if quality.similarity_after < quality.similarity_affine:
            warnings.append("the refinement did not improve the similarity and was dropped; the result is the affine alone")
            displacement, quality = torch.zeros_like(displacement), replace(quality, similarity_after=quality.similarity_affine)
        field, mended = finish_field(displacement, network_grid, fixed.grid, settings.field_spacing)
        if mended:
            warnings.append(f"{mended} voxels of the field were close to folding and were smoothed")
        progress("finish", 1, 3)
        inverse_field = field.invert()
        progress("finish", 2, 3)
        quality = judge_field(quality, field, inverse_field, pair, fixed.grid)
        progress("finish", 3, 3)
    warnings += _gain_warning(quality)
    forward = Chain((field, affine, *later.steps))
    inverse = Chain((*later.invert().steps, affine.invert(), inverse_field))
    return Registration(
        forward, inverse, affine, field, inverse_field, network_grid, quality, pair.decisions, tuple(warnings), watch.stages
    )


def finish_field(displacement: Tensor, network_grid: Grid, fixed_grid: Grid, spacing: str) -> tuple[DisplacementField, int]:
    """The field to be written: faded out beyond the network grid, at the spacing asked for, without folds."""
    faded, wide = fade_out(displacement, network_grid)
    if spacing != "auto":
        faded, wide = at_spacing(faded, wide, fixed_grid if spacing == "full" else float(spacing))
    faded, mended = remove_folds(faded)
    return field_from_index(faded, wide), mended


def _similarities(
    pair: Prepared, affine: Affine, reference: Affine, grid: Grid, displacement: Tensor | None = None, own: Grid | None = None
) -> Quality:
    """Similarity at the start, after the affine and under a displacement given on its ``own`` grid; all on one moderate ``grid``."""
    nothing = torch.zeros(3, *grid.shape, device=pair.fixed.values.device)
    before = Scene(pair.fixed, pair.moving, reference, grid, pair.measure).value(nothing)
    scene = Scene(pair.fixed, pair.moving, affine, grid, pair.measure)
    aligned = scene.value(nothing)
    after = aligned if displacement is None or own is None else scene.value(displacement_on(displacement, own, grid))
    return Quality(pair.measure.name, before, aligned, after)


def judge_field(
    quality: Quality, field: DisplacementField, inverse_field: DisplacementField, pair: Prepared, fixed_grid: Grid
) -> Quality:
    """``quality`` with what the field itself says, over all of it and inside the fixed image's foreground."""
    jacobian = determinant(field)
    inside = _foreground_on(pair.foreground, fixed_grid, field.grid)
    lengths = np.sqrt(np.square(field.vectors_mm[inside]).sum(-1)) if inside.any() else np.zeros(1)
    percentiles = {f"p{p}": float(np.percentile(lengths, p)) for p in (50, 95, 99)} | {"max": float(lengths.max())}
    return replace(
        quality,
        regularity=regularity(jacobian),
        regularity_foreground=regularity(jacobian, inside),
        displacement_percentiles_mm=percentiles,
        inverse_consistency=inverse_consistency(field, inverse_field, inside),
    )


def _foreground_on(foreground_map: Tensor, fixed_grid: Grid, grid: Grid) -> np.ndarray:
    """The fixed foreground on the field's grid, False beyond the fixed field of view."""
    return resample(foreground_map.numpy(), fixed_grid, grid, Chain(), Interpolation.NEAREST).astype(bool)


def _gain_warning(quality: Quality) -> list[str]:
    if quality.similarity_after <= quality.similarity_before:
        return [f"the similarity did not rise ({quality.similarity_before:.3f} -> {quality.similarity_after:.3f}); look at the result"]
    return []
