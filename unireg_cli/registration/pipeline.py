"""One registration from two images to its transforms: prepare -> align -> refine -> finish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from unireg_cli.model.anatomy import Vocabulary, vocabulary
from unireg_cli.model.network import Network
from unireg_cli.registration.aligned import Aligned
from unireg_cli.registration.alignment import align, coarser
from unireg_cli.registration.attention import attend
from unireg_cli.registration.expectation import Expectation, expect
from unireg_cli.registration.finish import finish_field
from unireg_cli.registration.judging import JUDGE_VOXELS, gain_warning, judge_field, more_believable, prediction_helps, similarities
from unireg_cli.registration.known import Known
from unireg_cli.registration.preparation import Prepared, prepare, seen_through
from unireg_cli.registration.refinement import Level, plan_levels, refine
from unireg_cli.registration.result import Registration, Scale, SteeringReport
from unireg_cli.registration.schedule import (
    most_voxels,
    network_alone,
    network_smoothness,
    refinement_steps,
    stiffness,
    voxels_for_affine,
)
from unireg_cli.registration.settings import Settings
from unireg_cli.registration.starts import candidates
from unireg_cli.registration.steering import Steering, make_guide
from unireg_cli.registration.stopwatch import Stopwatch
from unireg_cli.spatial import Affine, Chain, Grid, Image
from unireg_cli.spatial.filters import resize_displacement
from unireg_cli.spatial.velocity import compose
from unireg_cli.types import Mode, TransformKind

__all__ = ["Aligned", "Prepared", "Progress", "align_images", "bend", "finish_field", "prepare", "quiet", "register_images"]

_UNFAMILIAR = "the network has learned from few images like these, and --fast is the network alone; compare with a run without --fast"

Progress = Callable[[str, int, int], None]


def quiet(stage: str, done: int, total: int) -> None:
    """A progress callback that says nothing."""


def register_images(
    fixed: Image,
    moving: Image,
    settings: Settings,
    *,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    initial: Chain | None = None,
    network: Network | None = None,
    steering: Steering | None = None,
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
        steering: segmentations or landmarks of both images, for the refinement.
        progress: called as (stage, steps done, steps in all).

    Raises:
        InputError: an image without contrast or with NaN, an empty mask, steering that does not fit the images, or no overlap
            under the start asked for.
        GeometryError: a mask on another grid than its image.
        UsageError: a device that is not there, or steering without a refinement.
    """
    known = None if network is None else network.known
    masks = {"fixed_mask": fixed_mask, "moving_mask": moving_mask}
    aligned = align_images(fixed, moving, settings, **masks, initial=initial, steering=steering, known=known, progress=progress)
    return bend(aligned, settings, network=network, progress=progress)


def align_images(
    fixed: Image,
    moving: Image,
    settings: Settings,
    *,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    initial: Chain | None = None,
    steering: Steering | None = None,
    known: Vocabulary | None = None,
    progress: Progress = quiet,
) -> Aligned:
    """The first half of :func:`register_images`: everything that does not depend on anatomy, mode, smoothness or effort.

    Only the scale at which the affine ends does: between two people whom the network alone follows it is a coarser one.
    ``known`` has the names of the network that will follow; None if there is none.
    """
    watch = Stopwatch()
    later = Chain() if initial is None else initial.simplified()
    start = later.steps[0] if len(later.steps) == 1 and isinstance(later.steps[0], Affine) else None
    if start is not None or not later.steps:
        later = Chain()
    with torch.inference_mode():
        with watch.stage("prepare"):
            progress("prepare", 0, 1)
            if steering is not None:
                # Wrong use is said before the work.
                make_guide(steering, fixed, moving, settings.anatomy, known or vocabulary(), Chain())
            seen, seen_mask = seen_through(later, fixed.grid, moving, moving_mask)
            pair = prepare(fixed, seen, settings, fixed_mask, seen_mask)
            starts = {"initial transform": start or Affine.identity()}
            if initial is None:
                starts = candidates(pair.fixed, pair.moving, settings.start)
        with watch.stage("align"):
            most = voxels_for_affine(settings, network=known is not None)
            affine, origin = align(pair.fixed, pair.moving, starts, settings.transform, pair.measure, _named(progress, "align"), most)
            pair.decisions["start"] = origin
    return Aligned(fixed, pair, affine, start or Affine.identity(), later, steering, moving, watch.stages)


def bend(aligned: Aligned, settings: Settings, *, network: Network | None = None, progress: Progress = quiet) -> Registration:
    """The second half of :func:`register_images`; rigid and affine settings leave the pair as it is aligned."""
    watch = Stopwatch(aligned.stages)
    aligned = aligned.undecided()
    with torch.inference_mode():
        if settings.transform is not TransformKind.DEFORMABLE:
            return _linear_result(aligned, watch)
        guide = None
        if aligned.steering is not None:
            names = vocabulary() if network is None else network.known
            guide = make_guide(aligned.steering, aligned.fixed, aligned.moving, settings.anatomy, names, aligned.later)
        if network is None:
            return _deform(aligned, Known(None, None, guide), settings, watch, progress)
        with watch.stage("predict"):
            progress("predict", 0, 1)
            found = expect(network, aligned, guide, settings)
            alone, two_people = network_alone(settings), settings.mode is Mode.INTER
            helps = alone or prediction_helps(found.prediction, found.aligned, aligned.affine, settings.mode, known=found.known)
        if not helps and (two_people or not found.familiar):
            return _deform(_without_maps(aligned, found), Known(None, None, guide), settings, watch, progress)
        known = Known(found.prediction if helps else None, found.maps, guide)
        result = _deform(found.aligned, known, settings, watch, progress)
        if found.familiar or guide is not None:
            return result
        if alone:
            return replace(result, warnings=(*result.warnings, _UNFAMILIAR))
        if not two_people:
            return result
        plain = _deform(_without_maps(aligned, found), Known(None, None, None), settings, watch, progress)
        return replace(more_believable(result, plain), stages=watch.stages)


def _without_maps(aligned: Aligned, found: Expectation) -> Aligned:
    """The pair as it was aligned, for a network that does not know it, with what was decided since then.

    Between two people a prediction hardly helps only where the network has not seen such images, and then its structure maps are no
    better: of a set that was left out of training, they pulled one of two tune pairs to 0.655 of Dice and the other to 0.690, where the
    engine alone ends at 0.752 and 0.639. Two images of one person may just be alike; only where they are unfamiliar are maps dropped too
    (a training CT under a known motion, of a set that was left out: 1.6 mm off with them, 0.5 mm without).
    """
    decisions = {key: words for key, words in found.aligned.pair.decisions.items() if key != "affine"}
    if found.maps is not None:
        decisions["structures"] += " (not used)"
    return replace(aligned, pair=replace(aligned.pair, decisions=decisions))


def _named(progress: Progress, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(stage, done, total)


def _linear_result(aligned: Aligned, watch: Stopwatch) -> Registration:
    pair, affine = aligned.pair, aligned.affine
    with watch.stage("judge"):
        grid = coarser(pair.fixed.grid, JUDGE_VOXELS)
        quality = similarities(pair, affine, aligned.reference, grid)
    forward = Chain((affine, *aligned.later.steps))
    pair.decisions["grid"] = f"{grid.describe()} (where the similarity is measured)"
    warnings = tuple(gain_warning(quality))
    return Registration(forward, forward.invert(), affine, None, None, grid, quality, pair.decisions, warnings, watch.stages)


def _deform(aligned: Aligned, known: Known, settings: Settings, watch: Stopwatch, progress: Progress) -> Registration:
    """The deformable part: refine, finish, judge."""
    fixed, pair, affine, later = aligned.fixed, aligned.pair, aligned.affine, aligned.later
    prediction, guide = known.prediction, known.guide
    with watch.stage("refine"):
        if guide is None and prediction is not None and network_alone(settings):
            network_grid, report = prediction.grid, _report(settings, 1.0, [], None, network=True)
            displacement = prediction.displacement
            pair.decisions["grid"] = f"{network_grid.describe()} (the network's)"
        else:
            budget = most_voxels(settings, steered=guide is not None, mapped=known.mapped)
            network_grid = coarser(fixed.grid, budget) if fixed.grid.voxels > budget else fixed.grid
            pair.decisions["grid"] = f"{network_grid.describe()} (of {fixed.grid.describe()}, budget {budget} voxels)"
            displacement, report = _refined(pair, affine, network_grid, known, settings, progress)
    with watch.stage("finish"):
        progress("finish", 0, 3)
        warnings = list(guide.notes) if guide is not None else []
        quality = similarities(pair, affine, aligned.reference, coarser(fixed.grid, JUDGE_VOXELS), displacement, network_grid)
        if quality.similarity_after < quality.similarity_affine:
            if guide is None:
                warnings.append("the refinement did not improve the similarity and was dropped; the result is the affine alone")
                displacement, quality = torch.zeros_like(displacement), replace(quality, similarity_after=quality.similarity_affine)
            else:
                warnings.append("what steers the registration made the images less alike; check that it belongs to them")
        field, mended = finish_field(displacement, network_grid, fixed.grid, settings.field_spacing)
        if mended:
            warnings.append(f"{mended} voxels of the field were close to folding and were smoothed")
        progress("finish", 1, 3)
        inverse_field = field.invert()
        progress("finish", 2, 3)
        quality = judge_field(quality, field, inverse_field, pair, fixed.grid)
        forward = Chain((field, affine, *later.steps))
        if guide is not None:
            predicted, device = None if prediction is None else prediction.on, pair.fixed.values.device
            report = replace(
                report,
                structures=guide.overlaps(affine, predicted, forward, device),
                landmarks=guide.errors(affine, predicted, fixed.grid, later, forward),
            )
        progress("finish", 3, 3)
    warnings += gain_warning(quality)
    inverse = Chain((*later.invert().steps, affine.invert(), inverse_field))
    return Registration(
        forward, inverse, affine, field, inverse_field, network_grid, quality, pair.decisions, tuple(warnings), watch.stages, report
    )


def _refined(
    pair: Prepared, affine: Affine, grid: Grid, known: Known, settings: Settings, progress: Progress
) -> tuple[Tensor, SteeringReport]:
    """The displacement on ``grid`` after the refinement, from the prediction and the landmarks or from nothing."""
    prediction, guide = known.prediction, known.guide
    segmented = guide is not None and guide.structures is not None
    # Segmentations are followed as the images are without a network. Landmarks are few, and a spline has followed them already: the rest is
    # the images', as without.
    stiff = stiffness(settings, after_network=prediction is not None and not segmented, maps=known.leaders)
    steps = refinement_steps(settings, network=prediction is not None, steered=guide is not None, mapped=known.mapped)
    levels = plan_levels(grid, steps, stiff - 0.5)
    before = known.before(pair.fixed, affine)
    pull = known.pull(affine, before, pair.fixed.values.device)
    # The user's own segmentations say it better, and with them other structures are to stay as good as they were.
    fixed, attention = (pair.fixed, None) if segmented else attend(pair.fixed, prediction)
    displacement = refine(fixed, pair.moving, affine, levels, pair.measure, _named(progress, "refine"), before, pull)
    displacement = resize_displacement(displacement, grid.shape)
    if before is not None:
        displacement = compose(before(grid), displacement)
    return displacement, _report(settings, stiff, levels, attention, network=prediction is not None, steered=guide is not None)


def _report(
    settings: Settings, stiff: float, levels: list[Level], attention: str | None, *, network: bool, steered: bool = False
) -> SteeringReport:
    scales = tuple(Scale(level.grid.spacing, level.steps, level.smoothing.velocity, level.smoothing.field) for level in levels)
    asked = network_smoothness(settings, steered=steered) if network else None
    return SteeringReport(settings.anatomy or ("all",), settings.mode, settings.smoothness, stiff, asked, attention, scales)
