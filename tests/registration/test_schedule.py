"""Steps and smoothness by effort, mode and wishes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from brightness import BODIES, GRID, balls, network

from unireg_cli.registration.alignment import ENOUGH, FINEST
from unireg_cli.registration.maps import StructureMaps, map_structures
from unireg_cli.registration.schedule import (
    map_levels,
    map_strength,
    most_voxels,
    network_alone,
    network_plan,
    network_smoothness,
    refinement_steps,
    settling_width,
    stiffness,
    voxels_for_affine,
)
from unireg_cli.registration.settings import Settings
from unireg_cli.spatial import Affine, Grid
from unireg_cli.types import Effort, Mode, TransformKind


def still_maps(sliding: float = 0.0) -> StructureMaps:
    """Maps of two balls, of organs that do not slide along each other unless it is said how far they do."""
    view = balls(GRID, ((-10.0, 4.0, 0.0), 12.0, 0.4), ((14.0, -4.0, 6.0), 10.0, 0.8))
    maps = map_structures(network(0.4, 0.8), (view, view), BODIES, Affine.identity())
    assert maps is not None
    return replace(maps, sliding=sliding)


def test_one_person_twice_is_refined_more_stiffly() -> None:
    usual = stiffness(Settings(smoothness=0.5), after_network=False)
    assert usual == 1.0 < stiffness(Settings(smoothness=0.5, mode=Mode.INTRA), after_network=False)
    two, one = (stiffness(Settings(smoothness=0.5, mode=mode), after_network=True) for mode in (Mode.INTER, Mode.INTRA))
    assert two == pytest.approx(0.9) and one > 2 * two
    assert stiffness(Settings(smoothness=0.0), after_network=False) < stiffness(Settings(smoothness=1.0), after_network=False)


def test_maps_of_one_person_are_laid_more_softly_and_its_prediction_is_settled_wider() -> None:
    grid = Grid.from_arrays((60, 60, 60), (2.0,) * 3, (0.0,) * 3, np.eye(3))
    for after in (False, True):
        levels = (map_levels(grid, Settings(mode=mode), still_maps(), after_network=after) for mode in (Mode.INTER, Mode.INTRA))
        inter, intra = (each[0].smoothing for each in levels)
        assert intra.velocity == pytest.approx(0.5 * inter.velocity) and intra.field == pytest.approx(0.5 * inter.field)
    # 2.9 voxels at the smoothness that the shipped weights have for one person, 4.0 where maps lead.
    fast = Settings(mode=Mode.INTRA, effort=Effort.FAST, smoothness=0.65)
    assert settling_width(fast, steered=False) == pytest.approx(2.915, abs=0.01)
    assert settling_width(fast, steered=False, mapped=True) == pytest.approx(4.014, abs=0.01)
    between_people = Settings(effort=Effort.FAST, smoothness=0.65)
    assert settling_width(between_people, steered=False, mapped=True) == settling_width(between_people, steered=False)


def test_maps_of_one_person_are_laid_more_firmly_above_the_weights_own_smoothness() -> None:
    grid = Grid.from_arrays((60, 60, 60), (2.0,) * 3, (0.0,) * 3, np.eye(3))
    maps = still_maps()
    velocity = {
        (mode, smoothness): map_levels(grid, Settings(mode=mode, smoothness=smoothness), maps, after_network=True)[0].smoothing.velocity
        for mode in Mode
        for smoothness in (0.65, 0.825, 1.0)
    }
    shares = [velocity[Mode.INTRA, smoothness] / velocity[Mode.INTER, smoothness] for smoothness in (0.65, 0.825, 1.0)]
    assert shares == pytest.approx([0.5, 0.55, 0.7])


def test_maps_of_one_person_are_laid_on_a_finer_scale_after_the_network() -> None:
    grid = Grid.from_arrays((200, 200, 200), (1.0,) * 3, (0.0,) * 3, np.eye(3))
    inter, intra = (map_levels(grid, Settings(mode=mode), still_maps(), after_network=True)[-1] for mode in (Mode.INTER, Mode.INTRA))
    assert inter.grid.voxels == pytest.approx(60_000, rel=0.1) and intra.grid.voxels == pytest.approx(250_000, rel=0.1)


def test_maps_that_lead_ask_for_a_stiffer_refinement_with_less_detail() -> None:
    # Between two people the images alone say what is fine where no maps lead: 0.9 of the usual smoothing after the network, else 1.2.
    for mode, more in ((Mode.INTER, 1.05 * 1.2 / 0.9), (Mode.INTRA, 1.05)):
        settings = Settings(mode=mode)
        plain, mapped = (stiffness(settings, after_network=True, maps=maps) for maps in (None, still_maps()))
        assert mapped == pytest.approx(more * plain)
    plain, mapped = (refinement_steps(Settings(), network=True, steered=False, mapped=flag) for flag in (False, True))
    # What is large has been done by the maps alone.
    assert mapped[:-2] == (0, 0) and plain[1] > 0 and all(0 < one < other for one, other in zip(mapped[-2:], plain[-2:], strict=True))


def test_maps_of_sliding_organs_of_two_people_are_softer_up_to_the_end_and_refined_more_stiffly() -> None:
    grid = Grid.from_arrays((60, 60, 60), (2.0,) * 3, (0.0,) * 3, np.eye(3))
    for smoothness, share in ((0.4, 0.7), (0.65, 0.7), (1.0, 1.0)):
        settings = Settings(smoothness=smoothness)
        for after in (False, True):
            still, half, sliding = (
                map_levels(grid, settings, still_maps(how_far), after_network=after)[0].smoothing for how_far in (0.0, 0.5, 1.0)
            )
            assert sliding.velocity == pytest.approx(share * still.velocity) and sliding.field == pytest.approx(share * still.field)
            assert half.velocity == pytest.approx((1 + share) / 2 * still.velocity)
    two, one = (Settings(mode=mode) for mode in (Mode.INTER, Mode.INTRA))
    still, sliding = still_maps(), still_maps(1.0)
    assert stiffness(two, after_network=True, maps=sliding) == pytest.approx(1.4 / 1.05 * stiffness(two, after_network=True, maps=still))
    # One person's tissue has its own rules, whatever it shows.
    assert map_levels(grid, one, sliding, after_network=True) == map_levels(grid, one, still, after_network=True)
    assert stiffness(one, after_network=True, maps=sliding) == stiffness(one, after_network=True, maps=still)


def test_the_network_is_shown_fewer_lattices_after_maps_and_fewer_yet_of_sliding_organs() -> None:
    plans = [network_plan(Settings(), maps) for maps in (None, still_maps(), still_maps(1.0))]
    assert [len(plan) for plan in plans] == [5, 3, 2]
    plain, mapped, sliding = (max(plan)[0] for plan in plans)
    assert plain == 2 * sliding < mapped and plans[1][0] == plans[2][0]
    assert network_plan(Settings(), still_maps(0.49)) == plans[1] == network_plan(Settings(mode=Mode.INTRA), still_maps(1.0))


def test_two_people_whose_maps_lead_are_refined_on_fewer_voxels() -> None:
    usual = Settings().voxel_budget
    fewer = most_voxels(Settings(), steered=False, mapped=True)
    assert fewer < usual == most_voxels(Settings(), steered=False, mapped=False)
    # One person twice, guides of the user's own and --best are worth every voxel; a smaller budget stays smaller.
    assert most_voxels(Settings(mode=Mode.INTRA), steered=False, mapped=True) == usual
    assert most_voxels(Settings(), steered=True, mapped=True) == usual
    assert most_voxels(Settings(effort=Effort.BEST), steered=False, mapped=True) == usual
    assert most_voxels(Settings(voxel_budget=1000), steered=False, mapped=True) == 1000


def test_only_where_the_network_alone_follows_between_two_people_does_the_affine_end_earlier() -> None:
    fast = Settings(effort=Effort.FAST)
    assert voxels_for_affine(fast, network=True) == ENOUGH < FINEST == voxels_for_affine(fast, network=False)
    others = (Settings(), replace(fast, mode=Mode.INTRA), replace(fast, iterations=5), replace(fast, transform=TransformKind.AFFINE))
    assert all(voxels_for_affine(other, network=True) == FINEST for other in others)


def test_maps_pull_no_further_than_they_are_relied_on_and_half_as_far_where_they_do_not_lead() -> None:
    none, some, altogether = (map_strength(replace(still_maps(), reliance=reliance)) for reliance in (0.0, 0.4, 1.0))
    assert none == 0 and some == pytest.approx(0.4 * altogether) and 0 < altogether <= 1
    assert map_strength(replace(still_maps(), reliance=1.0, leading=False)) == pytest.approx(altogether / 2)


def test_maps_alone_are_laid_together_coarsely_before_the_network_and_stiffen_with_smoothness() -> None:
    grid = Grid.from_arrays((80, 70, 60), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3))
    before, levels = (map_levels(grid, Settings(smoothness=0.3), still_maps(), after_network=after) for after in (False, True))
    assert [level.grid.voxels for level in before] == sorted(level.grid.voxels for level in before)
    assert before[0].grid.voxels < before[-1].grid.voxels <= levels[0].grid.voxels <= grid.voxels
    assert all(level.steps > 0 for level in (*before, *levels))
    stiff = map_levels(grid, Settings(smoothness=0.9), still_maps(), after_network=True)
    assert all(more.smoothing.velocity > less.smoothing.velocity for more, less in zip(stiff, levels, strict=True))


def test_a_network_that_is_refined_is_asked_for_a_smoother_field() -> None:
    alone, refined = Settings(effort=Effort.FAST, smoothness=0.3), Settings(smoothness=0.3)
    assert network_smoothness(alone, steered=False) == 0.3 < network_smoothness(refined, steered=False)
    # The guides' own pull follows, not the images' detail.
    assert network_smoothness(refined, steered=True) == 0.3
    assert network_smoothness(Settings(smoothness=0.8, mode=Mode.INTRA), steered=False) == 0.8


def test_smoothness_acts_on_the_prediction_up_to_its_end() -> None:
    settings = [Settings(smoothness=value / 8) for value in range(9)]
    told = [network_smoothness(each, steered=False) for each in settings]
    widths = [settling_width(each, steered=False) for each in settings]
    # The network's own scale ends at 1; what settles its field goes on.
    assert told == sorted(told) and told[-1] == 1.0
    assert all(later > earlier for earlier, later in itertools.pairwise(widths))


def test_predictions_that_are_refined_are_settled_wider_between_people() -> None:
    for mode, more in ((Mode.INTER, 0.6), (Mode.INTRA, 0.0)):
        alone, refined = (Settings(mode=mode, effort=effort, smoothness=0.5) for effort in (Effort.FAST, Effort.DEFAULT))
        apart = settling_width(refined, steered=False) - settling_width(alone, steered=False)
        assert apart == pytest.approx(more) and settling_width(refined, steered=True) == settling_width(alone, steered=False)


def test_finest_steps_are_the_ones_asked_for() -> None:
    fast = Settings(effort=Effort.FAST)
    assert network_alone(fast) and not any(refinement_steps(fast, network=True, steered=False))
    asked = Settings(effort=Effort.FAST, iterations=7)
    assert not network_alone(asked) and refinement_steps(asked, network=True, steered=False)[-1] == 7


@pytest.mark.parametrize("effort", Effort)
def test_guides_take_no_step_away(effort: Effort) -> None:
    for predicted in (False, True):
        free, steered = (refinement_steps(Settings(effort=effort), network=predicted, steered=flag) for flag in (False, True))
        assert all(more >= less for more, less in zip(steered, free, strict=True)) and any(steered)
