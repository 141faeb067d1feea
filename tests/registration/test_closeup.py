"""A closer look at what was asked for: where it is taken, what it changes, and when there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scenes import cube, show, texture

from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.condition import Condition
from unireg_cli.model.network import Network
from unireg_cli.registration.closeup import look_closer
from unireg_cli.registration.prediction import Prediction, Question, as_ask, displacement_on
from unireg_cli.registration.preparation import prepare
from unireg_cli.registration.settings import Settings
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.jacobian import index_determinant

GRID = cube(64, 2.0)
BODY = (0, 0, 0), (63, 63, 63)
HALF = cube(16, 8.0)
FINEST = 5_000_000
KNOWN = vocabulary()
Make = Callable[..., Network]


def asked(network: Network, *words: str) -> Question:
    """Two textures, and these words."""
    fixed, moving = (show(texture(70, 12.0, seed), GRID) for seed in (0, 1))
    pair = prepare(fixed, moving, Settings(), None, None)
    return Question(network, pair.fixed, pair.moving, Affine.identity(), as_ask(Condition(KNOWN.resolve(words)), KNOWN))


def maps_of(*corners: tuple[int, int, int]) -> Any:
    """Maps that see what was asked for in cubes of four voxels, 8 mm each, of a grid of 4 mm voxels from these indices (x, y, z) on."""
    grid = cube(32, 4.0)
    sought = torch.zeros(grid.shape)
    for x, y, z in corners:
        sought[z : z + 4, y : y + 4, x : x + 4] = 0.4
    return SimpleNamespace(sought=sought, grid=grid)


def found(lattice: Grid = cube(32, 4.0)) -> Prediction:  # noqa: B008 (a grid does not change)
    """Passes on a lattice twice as fine as ``HALF``: a gentle bend everywhere and no belief anywhere."""
    bend = torch.linspace(0, 1, 16).expand(3, 16, 16, 16).contiguous()
    return Prediction(bend, None, HALF, lattice, torch.zeros(2, *HALF.shape))


def far_from(grid: Grid, centre: float, reach_mm: float) -> torch.Tensor:
    """Which voxels lie further than this from a point on the diagonal along any axis."""
    return torch.from_numpy(np.abs(grid.points_lps() - centre).max(axis=-1) > reach_mm)


def test_what_was_asked_for_is_moved_and_the_rest_left_alone(tiny_network: Make) -> None:
    before = found()
    after, told = look_closer(asked(tiny_network(awake=0.1), "liver"), BODY, maps_of((22, 22, 22)), before, FINEST)
    assert told is not None and told.endswith("around what was asked for")
    assert min(after.grid.spacing) < 0.7 * min(HALF.spacing) and after.belief is not None and after.belief.shape[1:] == after.grid.shape
    change = (after.displacement - before.on(after.grid)).abs().amax(dim=0)
    # The cube's centre lies at 32 mm on the diagonal: (22 + 1.5 - 15.5) * 4. Around its 8 mm are 12 voxels, and up to a divisor more.
    reach = 8 + (12 + 16) * max(after.grid.spacing)
    assert not change[far_from(after.grid, 32, reach)].any()
    assert float(change[~far_from(after.grid, 32, 8)].amax()) > 0.05
    assert float(index_determinant(after.displacement).amin()) > 0


def test_nothing_jumps_where_the_box_ends(tiny_network: Make) -> None:
    before = found()
    after, _ = look_closer(asked(tiny_network(awake=0.1), "liver"), BODY, maps_of((14, 14, 14)), before, FINEST)
    change = (after.displacement - before.on(after.grid)).abs().amax(dim=0)
    moved = change.nonzero()
    low, high = moved.amin(dim=0), moved.amax(dim=0) + 1
    inside = change[tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))]
    rim = torch.cat([inside.movedim(axis, 0)[[0, -1]].reshape(-1) for axis in range(3)])
    assert float(inside.amax()) > 0.05 and float(rim.amax()) < 0.15 * float(inside.amax())


@pytest.mark.parametrize("words", [(), ("abdomen",)])
def test_all_and_regions_are_not_looked_at_more_closely(tiny_network: Make, words: tuple[str, ...]) -> None:
    before = replace(found(), belief=None)
    same, told = look_closer(asked(tiny_network(awake=0.1), *words), BODY, maps_of((22, 22, 22)), before, FINEST)
    assert same is before and told is None


@pytest.mark.parametrize("maps", [maps_of(), None, SimpleNamespace(sought=None)])
def test_what_is_seen_nowhere_is_not_looked_for(tiny_network: Make, maps: Any) -> None:
    before = found()
    same, told = look_closer(asked(tiny_network(awake=0.1), "liver"), BODY, maps, before, FINEST)
    assert same is before and told == "none: what was asked for was not seen"


def test_the_belief_says_where_to_look_without_maps(tiny_network: Make) -> None:
    before = found()
    assert before.belief is not None
    before.belief[0, 10:13, 10:13, 10:13] = 0.9
    after, _ = look_closer(asked(tiny_network(awake=0.1), "liver"), BODY, None, before, FINEST)
    change = (after.displacement - before.on(after.grid)).abs().amax(dim=0)
    assert float(change[~far_from(after.grid, 28, 8)].amax()) > 0.05 and not change[far_from(after.grid, 28, 90)].any()


def test_voxels_that_are_no_finer_show_nothing_new(tiny_network: Make) -> None:
    # No lattice has voxels below 0.7 of the images' own.
    before = found(cube(96, 1.45))
    same, told = look_closer(asked(tiny_network(awake=0.1), "liver"), BODY, maps_of((22, 22, 22)), before, FINEST)
    assert same is before and told == "none: the whole image was shown as finely"


@pytest.mark.parametrize("place", [0, 3, 9, 14, 28])
@pytest.mark.parametrize("finest", [FINEST, 270_000])
def test_a_box_stays_on_the_lattice_wherever_it_lies(tiny_network: Make, place: int, finest: int) -> None:
    seen: list[Grid] = []
    network = tiny_network(still=True)

    def lattice_is(_module: Any, inputs: Any) -> None:
        seen.append(inputs[0].shape[2:])

    network.register_forward_pre_hook(lattice_is)
    before = found()
    after, _ = look_closer(asked(network, "liver"), BODY, maps_of((place, place, 31 - place)), before, finest)
    # A network that does nothing leaves what it is given, on a finer grid.
    assert torch.allclose(after.displacement, displacement_on(before.displacement, HALF, after.grid), atol=1e-4)
    assert all(n % network.settings.divisor == 0 for n in seen[0]) and len(seen) == 1
    assert np.prod(seen[0]) <= finest
    # The whole image is a cube of 128 mm, and its displacement is on half the lattice.
    assert (128 / min(after.grid.spacing) * 2) ** 3 < 2.6 * finest
