"""The network's part of a registration: a pair on the network's lattice, a few passes, a displacement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unireg_cli.model.anatomy import Vocabulary
from unireg_cli.model.condition import Condition, encode
from unireg_cli.model.network import Ask, Network
from unireg_cli.model.passes import Moved, repeat
from unireg_cli.model.rounding import gains_from_bfloat16, is_sound
from unireg_cli.registration.alignment import View
from unireg_cli.registration.network_grid import Box, network_grid
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.drawing import draw, draw_channels
from unireg_cli.spatial.filters import gaussian
from unireg_cli.types import Mode

# Voxels of the lattice and passes on it, one after the other: what is large is found on few voxels, and each pass starts from
# what those before it have left.
PLAN = ((30_000, 1), (60_000, 1), (140_000, 1), (700_000, 1), (3_000_000, 1))
# Lattices of up to so many voxels are passed both ways, fixed to moving and moving to fixed, and the mean is taken: on tune pairs it
# is a tenth smoother at the same overlap. A lattice may be a little larger than it was asked for. Up to 1,000,000, as it was, --fast has
# 0.002 of Dice more on abdomen_ct and as much less on other sets, and log |J| spreads by 0.01 less, for a tenth of its time.
_BOTH_WAYS = 200_000
# Gaussian on the displacement at smoothness 1, voxels of its lattice; wider for one person, whose tissue keeps its volume. It grows with
# the square of the smoothness: passes add up what each one's smoothness allows, and a width in proportion to it left abdomens at
# smoothness 1 with two fifths of the spread of log |J| that they have at 0 (this one leaves less than a third).
_SETTLING = {Mode.INTER: 3.0, Mode.INTRA: 6.9}
# What is added from _FIRM on, where users ask for more than any weights' own smoothness, with the square of what is above it: at 1 so much.
# Without it abdomens of two people had at 1 log |J| spread down to 2.8 times less than at 0, and hearts 2.9 times, where 3 is promised. On
# tune pairs 1.05 more takes another eighth of it and 0.01 of Dice, 0.7 more of hearts a tenth and 0.015.
_FIRM, _FIRMER = 0.65, {Mode.INTER: 1.05, Mode.INTRA: 0.7}


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the network found: ``displacement`` (3, D, H, W), voxels of ``grid``, fixed -> aligned moving.

    ``grid`` has half the resolution of ``lattice``, on which the images were shown. ``belief`` (2, D, H, W): where the asked-for
    structures seem to be in fixed and aligned moving, 0..1; None if all were asked for. ``inverse`` is about that of the displacement,
    in the same voxels; None after a pass that does not need it.
    """

    displacement: Tensor
    inverse: Tensor | None
    grid: Grid
    lattice: Grid
    belief: Tensor | None

    def on(self, grid: Grid) -> Tensor:
        """The displacement on another grid with the same axes, see :func:`displacement_on`."""
        return displacement_on(self.displacement, self.grid, grid)

    def start(self, grid: Grid, *, inverse: bool) -> Moved:
        """What the next pass starts from, on its grid; with the ``inverse`` if that is known and the pass needs it."""
        return Moved(self.on(grid), displacement_on(self.inverse, self.grid, grid) if inverse and self.inverse is not None else None)

    def settled(self, width: float) -> Tensor:
        """The displacement as a registration uses it, smoothed by a Gaussian of so many voxels, see :func:`settling`."""
        return gaussian(self.displacement, (width,) * 3)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A pair and what the network is asked about it.

    Masks say where a metric counts; the network has none and is shown all of both normalised images, ``fixed`` and ``moving``. It is in
    inference mode and on their device. ``affine``: fixed -> moving points, LPS mm; ``ask``: the condition.
    """

    network: Network
    fixed: View
    moving: View
    affine: Affine
    ask: Ask


def settling(mode: Mode, smoothness: float) -> float:
    """How wide a Gaussian settles a prediction, voxels of its lattice.

    Repeated passes roughen the field. On tune pairs a width of 0.6 takes a tenth of the spread of log |J| away at hardly any overlap;
    3 instead of 2 takes a tenth of hearts', at 0.009 of Dice.
    """
    return _SETTLING[mode] * smoothness**2 + _FIRMER[mode] * beyond_own(smoothness) ** 2


def beyond_own(smoothness: float) -> float:
    """How much more than any weights' own smoothness is asked for, 0..1."""
    return max(0.0, smoothness - _FIRM) / (1 - _FIRM)


def displacement_on(displacement: Tensor, own: Grid, grid: Grid) -> Tensor:
    """A displacement (3, D, H, W) in voxels of its ``own`` grid, on another ``grid`` with the same axes and in that grid's voxels.

    Edge values go on outside.
    """
    ratio = np.asarray(own.spacing) / np.asarray(grid.spacing)
    drawn, _ = draw_channels(displacement, own, grid, Affine.identity())
    return drawn * torch.from_numpy(ratio).to(drawn)[:, None, None, None]


def as_ask(condition: Condition, known: Vocabulary, device: torch.device | str = "cpu") -> Ask:
    """A condition as the network reads it; structures are looked for only where they, and no region, were named."""
    vectors = encode(condition, known)
    named = () if condition.anatomy.regions else tuple(sorted(condition.anatomy.structures))
    return Ask(
        torch.from_numpy(vectors.anatomy).to(device),
        torch.from_numpy(vectors.mode).to(device),
        torch.from_numpy(vectors.smoothness).to(device),
        torch.tensor(named, dtype=torch.long, device=device),
    )


def rounds(lattice: Grid, network: Network, device: torch.device) -> bool:
    """Whether the network's convolutions on a lattice are done in bfloat16."""
    return gains_from_bfloat16(device) and is_sound(device, [lattice.size], network.settings.divisor, taught=False)


def predict(
    question: Question, body: Box, plan: Sequence[tuple[int, int]] = PLAN, begun: Prediction | None = None
) -> Prediction:
    """The network on a pair, pass by pass.

    Args:
        question: the pair and the condition.
        body: box of the fixed image's body, see :func:`body_box`.
        plan: most voxels of a lattice, about, and passes on it, coarse first.
        begun: what is known before the first pass, with its inverse.
    """
    found, shown = begun, None
    for voxels, passes in plan:
        grid = network_grid(question.fixed.grid, body, question.moving.grid, voxels)
        lattice = grid.padded((0, 0, 0), [-n % question.network.settings.divisor for n in grid.size])
        if lattice == shown:
            # A small image has no more to show than on the lattice before.
            continue
        shown = lattice
        found = look(lattice, question, passes, found)
    assert found is not None  # a plan has at least one lattice
    return found


def look(lattice: Grid, question: Question, passes: int, before: Prediction | None, window: Tensor | None = None) -> Prediction:
    """``passes`` on one lattice, from what was found ``before`` on another one; ``window`` as in :func:`repeat`.

    A small lattice is passed both ways, unless the inverse of what was found before is not known.
    """
    network, ask = question.network, question.ask
    half = lattice.resized([n // 2 for n in lattice.size])
    first, known_first = draw(question.fixed.values, question.fixed.grid, lattice, Affine.identity())
    second, known_second = draw(question.moving.values, question.moving.grid, lattice, question.affine)
    images = torch.stack((first, second))[:, None]
    known = torch.nn.functional.avg_pool3d(torch.stack((known_first, known_second))[:, None], 2)
    both_ways = lattice.voxels <= _BOTH_WAYS and (before is None or before.inverse is not None)
    start = None if before is None else before.start(half, inverse=both_ways)
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=rounds(lattice, network, images.device)):
        there = repeat(network, images, known, ask, passes, inverse=both_ways, start=start, window=window)
        displacement, inverse = there.displacement, there.inverse
        if both_ways:
            swapped = None if start is None else start.swapped()
            back = repeat(network, images.flip(0), known.flip(0), ask, passes, inverse=True, start=swapped, window=window)
            assert inverse is not None and back.inverse is not None  # they were asked for
            displacement, inverse = (displacement + back.inverse) / 2, (inverse + back.displacement) / 2
    belief = there.asked[:, 0] if len(ask.structures) else None
    return Prediction(displacement, inverse, half, lattice, belief)
