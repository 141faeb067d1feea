"""Numbers by which a result can be judged: how alike the images are, and what the field itself says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from unireg_cli.registration.aligned import Aligned
from unireg_cli.registration.alignment import coarser
from unireg_cli.registration.prediction import Prediction, displacement_on
from unireg_cli.registration.preparation import Prepared
from unireg_cli.registration.refinement import Scene
from unireg_cli.registration.result import Quality, Registration
from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid
from unireg_cli.spatial.inverse import inverse_consistency
from unireg_cli.spatial.jacobian import determinant, regularity
from unireg_cli.spatial.resample import resample
from unireg_cli.types import Interpolation, Mode

# Voxels on which the similarity of the report is measured.
JUDGE_VOXELS = 300_000
# The same where it only has to tell one start from another.
_FEW_VOXELS = 60_000
# By how much a prediction must raise the similarity. Two people of sets that were learned from gain 0.062 and more on tune pairs, those of
# a set that was left out of training 0.025 and less; 0.045 left out a right one elsewhere, at 0.12 of Dice. Two visits of one person are so
# alike after the affine that half of that is enough: beating tune hearts gain 0.030 and more. Where a prediction gains nothing there, a
# refinement from the affine may find what is left more exactly: a tune liver that breathes, and was asked for, ends 0.83 mm off so, and
# 0.93 mm off after a prediction that lost 0.01.
_LEAST_GAIN = {Mode.INTER: 0.03, Mode.INTRA: 0.015}
KNOWN_LOSS = 0.05
"""So much similarity a prediction may cost between two people if maps of familiar images led to it and showed a difference: what lies
around a heart differs more between two people than the heart itself. Twenty pairs of tune hearts change by -0.019 to +0.100, seven of
them by less than 0.03, and have 0.800 of Dice with it by default; 0.765 where it had to gain 0.03, and 0.02 not to be done without
its maps."""
# By how much more alike unfamiliar images must be in the end without the network to be believed so. Of two sets that were left out of
# training the predictions of nine pairs raised the similarity enough. Six pairs end 0.028 to 0.077 more alike without, with 0.03 to 0.07
# of Dice more or, once, 0.01 less; three end 0.002 to 0.022 more alike without, with 0.00 to 0.06 of Dice less. It tells where images are
# unfamiliar and nowhere else: seven pairs of a set that was learned from end 0.005 to 0.044 more alike without, with 0.01 to 0.29 of Dice
# less.
_CLEARLY_MORE = 0.025


def similarities(
    pair: Prepared, affine: Affine, reference: Affine, grid: Grid, displacement: Tensor | None = None, own: Grid | None = None
) -> Quality:
    """Similarity at the start, after the affine and under a displacement given on its ``own`` grid; all on one moderate ``grid``."""
    nothing = torch.zeros(3, *grid.shape, device=pair.fixed.values.device)
    before = Scene(pair.fixed, pair.moving, reference, grid, pair.measure).value(nothing)
    scene = Scene(pair.fixed, pair.moving, affine, grid, pair.measure)
    aligned = scene.value(nothing)
    after = aligned if displacement is None or own is None else scene.value(displacement_on(displacement, own, grid))
    return Quality(pair.measure.name, before, aligned, after)


def likeness(pair: Prepared, affine: Affine, prediction: Prediction | None = None, voxels: int = _FEW_VOXELS) -> float:
    """The similarity under an affine and a prediction, if there is one, on about so many voxels."""
    grid = coarser(pair.fixed.grid, voxels)
    nothing = torch.zeros(3, *grid.shape, device=pair.fixed.values.device)
    return Scene(pair.fixed, pair.moving, affine, grid, pair.measure).value(nothing if prediction is None else prediction.on(grid))


def prediction_helps(prediction: Prediction, aligned: Aligned, affine: Affine, mode: Mode, *, known: bool) -> bool:
    """Whether the images are so much more alike than under the ``affine`` alone that a refinement should start from the prediction.

    Of one person half as much is enough. Two people whose images are ``known``, see ``Expectation``, may even be a little less alike.
    The prediction is from the affine of ``aligned``, which structure maps may have made another one.
    """
    pair = aligned.pair
    before, after = likeness(pair, affine, voxels=JUDGE_VOXELS), likeness(pair, aligned.affine, prediction, JUDGE_VOXELS)
    words = f"{before:.3f} after the affine, {after:.3f} after the network"
    least = -KNOWN_LOSS if known and mode is Mode.INTER else _LEAST_GAIN[mode]
    helps = after - before >= least
    told = "taken" if helps else "left out, the refinement starts from the affine"
    pair.decisions["prediction"] = f"{told} (similarity {words})"
    return helps


def more_believable(result: Registration, plain: Registration) -> Registration:
    """Of two registrations of images that the network is not familiar with, the one to believe; its decisions say why.

    ``plain`` knows nothing of the network, and is believed if it leaves the images clearly more alike than ``result``.
    """
    ours, other = result.quality.similarity_after, plain.quality.similarity_after
    better, told = (plain, "left out") if other > ours + _CLEARLY_MORE else (result, "taken")
    words = f"{told}: the network knows few images like these (similarity in the end {ours:.3f} with it, {other:.3f} without)"
    return replace(better, decisions={**better.decisions, "prediction": words})


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


def gain_warning(quality: Quality) -> list[str]:
    """A warning if the images are no more alike than at the start."""
    if quality.similarity_after <= quality.similarity_before:
        return [f"the similarity did not rise ({quality.similarity_before:.3f} -> {quality.similarity_after:.3f}); look at the result"]
    return []
