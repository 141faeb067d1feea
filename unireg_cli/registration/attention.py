"""Where the refinement looks harder because of the anatomy asked for."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from unireg_cli.registration.alignment import View
from unireg_cli.registration.prediction import Prediction
from unireg_cli.spatial import Affine
from unireg_cli.spatial.drawing import draw
from unireg_cli.spatial.filters import gaussian

# Weight of the metric far from what was asked for; near it is 1.
_ELSEWHERE = 0.6
# How far "near" reaches, mm.
_NEAR = 8.0
# A belief weaker than this everywhere points nowhere.
_LEAST_BELIEF = 0.3


def attend(fixed: View, prediction: Prediction | None) -> tuple[View, str | None]:
    """The fixed image with a mask that counts the asked-for structures and their surroundings more, and what it went by, in words.

    The network's belief says where they are; without one, or where all was asked for, the image stays as it is.
    """
    if prediction is None or prediction.belief is None or float(prediction.belief[0].amax()) < _LEAST_BELIEF:
        return fixed, None
    inside = draw(prediction.belief[0].float(), prediction.grid, fixed.grid, Affine.identity())[0]
    return _weighted(fixed, inside), "around where the network believes the structures that were asked for"


def _weighted(fixed: View, inside: Tensor) -> View:
    reach = tuple(_NEAR / edge for edge in reversed(fixed.grid.spacing))
    near = gaussian(inside, (reach[0], reach[1], reach[2])).mul_(3).clamp_(0, 1)
    weight = near.mul_(1 - _ELSEWHERE).add_(_ELSEWHERE)
    return replace(fixed, mask=weight if fixed.mask is None else weight * fixed.mask)
