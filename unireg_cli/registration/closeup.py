"""A closer look at the structures that were asked for: the network on a box around them, with finer voxels than the whole image had."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from unireg_cli.registration.maps import StructureMaps
from unireg_cli.registration.network_grid import Box, body_box, network_grid, reach
from unireg_cli.registration.prediction import Prediction, Question, look
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.drawing import draw_channels

# Voxels as fine as this many of them would be for the whole image, and the most in the box, about. On one tune pair twice as many gave
# the organs of abdomen_ct no more.
_WHOLE, _MOST = 8_000_000, 4_000_000
# A part may be shown with so many times as many voxels for the whole as the whole itself.
_BEYOND = 2
# A box whose voxels are no finer than this shows hardly anything new.
_FINER = 1.15
# What is shown around the structures on each side, voxels of the displacement. There what is found falls to nothing, so that it ends where
# the box does. On a tune pair of abdomen_ct the structures gained 0.013 on the mean with 12 and with 16, with 8 thin ones less.
_AROUND = 12
# A voxel may be of the structures from this share of the highest probability on; a highest probability below the second number is none.
_SHARE, _LEAST = 0.5, 0.1


def look_closer(
    question: Question, body: Box, maps: StructureMaps | None, found: Prediction, finest: int
) -> tuple[Prediction, str | None]:
    """What was ``found``, with one pass more in a box around the structures that were asked for by name, if they are seen anywhere.

    The whole image is not shown as finely for want of time.

    Args:
        question: the pair and the condition.
        body: box of the fixed image's body.
        maps: say where structures are; where they do not know those that were asked for, the network's belief does.
        found: the passes on the whole image.
        finest: voxels of the finest lattice for a whole pair that the network may be shown, about.

    Returns:
        What was found, and which voxels the box had, or why there is none; None if no structure was asked for by name.
    """
    if not len(question.ask.structures):
        return found, None
    seen = _seen(maps, found)
    if seen is None:
        return found, "none: what was asked for was not seen"
    most, voxels = min(_MOST, finest), min(_WHOLE, _BEYOND * finest)
    while True:
        whole, low, size = _placed(question, body, voxels, *seen)
        if min(found.lattice.spacing) < _FINER * min(whole.spacing):
            return found, "none: the whole image was shown as finely"
        count = math.prod(size)
        if count <= most:
            break
        voxels = voxels * most // count
    lattice = whole.padded([-n for n in low], [a + b - n for a, b, n in zip(low, size, whole.size, strict=True)])
    window = _window(lattice, found.displacement.device)
    # The inverse is that of the network's passes, and what was laid together after them is not in it.
    near = look(lattice, question, 1, replace(found, inverse=None), window)
    return _inserted(near, found, whole.resized([n // 2 for n in whole.size]), low), f"{lattice.describe()} around what was asked for"


def _seen(maps: StructureMaps | None, found: Prediction) -> tuple[Box, Grid] | None:
    """A box around what was asked for and the grid of its indices; None if it is seen nowhere in the fixed image."""
    if maps is not None and maps.sought is not None:
        likely, grid = maps.sought, maps.grid
    else:
        assert found.belief is not None  # structures were asked for
        likely, grid = found.belief[0], found.grid
    most = float(likely.amax())
    return None if most < _LEAST else (body_box(likely > _SHARE * most, share=0.0), grid)


def _placed(question: Question, body: Box, voxels: int, box: Box, own: Grid) -> tuple[Grid, list[int], list[int]]:
    """A lattice for the whole image with about so many voxels, and first index and size (x, y, z) of a part of it.

    The part holds the ``box`` of indices of the grid ``own`` and what is shown around it. All sizes are multiples of the divisor, and the
    part begins at even indices, so that its displacement lies on every second voxel of the whole's.
    """
    divisor = question.network.settings.divisor
    whole = network_grid(question.fixed.grid, body, question.moving.grid, voxels)
    whole = whole.padded((0, 0, 0), [-n % divisor for n in whole.size])
    first, last = reach(whole, own, box, Affine.identity())
    low, size = [], []
    for n, least, greatest in zip(whole.size, first, last, strict=True):
        begin = min(max(0, math.floor(least) - 2 * _AROUND), n - divisor)
        end = min(n, math.ceil(greatest) + 2 * _AROUND + 1)
        # One more, for where it begins an index earlier.
        edge = min(n, -(-(end - begin + 1) // divisor) * divisor)
        low.append(min(begin - begin % 2, n - edge))
        size.append(edge)
    return whole, low, size


def _window(lattice: Grid, device: torch.device) -> Tensor:
    """1 inside and falling to 0 at the edges of a lattice, on every second voxel of it: (D/2, H/2, W/2)."""
    window = torch.ones((), device=device)
    for n in lattice.shape:
        place = torch.arange(n // 2, dtype=torch.float32, device=device)
        ramp = (torch.minimum(place, n // 2 - 1 - place) / _AROUND).clamp(max=1)
        window = window[..., None] * ramp
    return window


def _inserted(near: Prediction, found: Prediction, grid: Grid, low: list[int]) -> Prediction:
    """``found`` on a finer grid, with the part that was seen ``near`` beginning at half the indices ``low`` (x, y, z)."""
    displacement = found.on(grid)
    depth, height, width = near.displacement.shape[1:]
    x, y, z = (n // 2 for n in low)
    displacement[:, z : z + depth, y : y + height, x : x + width] = near.displacement
    assert found.belief is not None  # structures were asked for
    belief = draw_channels(found.belief.float(), found.grid, grid, Affine.identity())[0]
    return replace(found, displacement=displacement, inverse=None, grid=grid, belief=belief)
