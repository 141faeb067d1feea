"""Structure maps laid onto each other alone: what was asked for is, unless the images near it disagree."""

from __future__ import annotations

from dataclasses import replace

import torch
from brightness import BODIES, GRID, balls, network

from unireg_cli.registration.alignment import View
from unireg_cli.registration.laying import lay_after, lay_before
from unireg_cli.registration.maps import StructureMaps, map_structures
from unireg_cli.registration.prediction import Prediction
from unireg_cli.registration.preparation import Prepared, prepare
from unireg_cli.registration.settings import Settings
from unireg_cli.spatial import Affine, Image
from unireg_cli.spatial.jacobian import index_determinant

STILL = Prediction(torch.zeros(3, *GRID.shape), None, GRID, GRID, None)
HERE, OTHER = ((-10.0, 4.0, 0.0), 12.0, 0.4), ((14.0, -4.0, 6.0), 10.0, 0.8)
MOVED = ((-6.0, 4.0, 0.0), 12.0, 0.4)


def scene(fixed: View, moving: View, *, asked: tuple[int, ...]) -> tuple[Prepared, StructureMaps]:
    pair = prepare(Image(fixed.values.numpy(), GRID), Image(moving.values.numpy(), GRID), Settings(), None, None)
    maps = map_structures(network(0.4, 0.8), (fixed, moving), BODIES, Affine.identity(), asked)
    assert maps is not None
    return pair, maps


def carried(found: Prediction) -> float:
    """Mean shift along x inside the first ball, mm."""
    inside = balls(found.grid, HERE).values > 0
    return float(found.displacement[0][inside].mean()) * found.grid.spacing[0]


def test_maps_alone_bring_a_ball_near_its_partner_before_the_network() -> None:
    pair, maps = scene(balls(GRID, HERE, OTHER), balls(GRID, MOVED, OTHER), asked=())
    found = lay_before(pair, Affine.identity(), maps, GRID, Settings())
    assert found.displacement.shape == (3, *GRID.shape) and 2 < carried(found) < 4.5
    assert found.inverse is not None and float(index_determinant(found.displacement).amin()) > 0


def test_what_was_asked_for_is_carried_further_where_the_images_agree() -> None:
    shifts = []
    for asked in ((), (10,)):
        pair, maps = scene(balls(GRID, HERE, OTHER), balls(GRID, MOVED, OTHER), asked=asked)
        shifts.append(carried(lay_after(pair, Affine.identity(), maps, STILL, Settings())))
        assert ("laid onto each other" in pair.decisions.get("asked_maps", "")) is bool(asked)
    assert 1 < shifts[0] < shifts[1] < 4.5


def only_asked(maps: StructureMaps) -> StructureMaps:
    """The same, not sure enough to be laid together but for what was asked for."""
    return replace(maps, leading=False)


def test_maps_that_contradict_the_images_are_left_out_and_said_to_be() -> None:
    fixed, moving = balls(GRID, HERE, OTHER), balls(GRID, MOVED, OTHER)
    # The images are the same; the maps say that something moved.
    _, maps = scene(fixed, moving, asked=(10,))
    pair, _ = scene(fixed, fixed, asked=())
    found = lay_after(pair, Affine.identity(), only_asked(maps), STILL, Settings())
    assert not found.displacement.any() and pair.decisions["asked_maps"].startswith("left out")


def test_maps_that_go_too_far_are_followed_as_far_as_the_images_bear_it() -> None:
    fixed = balls(GRID, HERE, OTHER)
    # The images say 2 mm, the maps 8.
    _, maps = scene(fixed, balls(GRID, ((-2.0, 4.0, 0.0), 12.0, 0.4), OTHER), asked=(10,))
    pair, _ = scene(fixed, balls(GRID, ((-8.0, 4.0, 0.0), 12.0, 0.4), OTHER), asked=())
    found = lay_after(pair, Affine.identity(), only_asked(maps), STILL, Settings())
    assert "%" in pair.decisions["asked_maps"] and 0.3 < carried(found) < 3.5
