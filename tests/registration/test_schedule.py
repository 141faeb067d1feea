"""Steps and smoothness by effort, mode and wishes."""

from __future__ import annotations

import itertools

import pytest

from unireg_cli.registration.schedule import network_alone, network_smoothness, refinement_steps, stiffness
from unireg_cli.registration.settings import Settings
from unireg_cli.types import Effort, Mode


def test_one_person_twice_is_refined_more_stiffly() -> None:
    usual = stiffness(Settings(smoothness=0.5), after_network=False)
    assert usual == 1.0 < stiffness(Settings(smoothness=0.5), after_network=True)
    assert stiffness(Settings(smoothness=0.5, mode=Mode.INTRA), after_network=False) > 1.0
    assert stiffness(Settings(smoothness=0.0), after_network=False) < stiffness(Settings(smoothness=1.0), after_network=False)


def test_a_network_that_is_refined_is_asked_for_a_smoother_field() -> None:
    alone, refined = Settings(effort=Effort.FAST, smoothness=0.3), Settings(smoothness=0.3)
    assert network_smoothness(alone, steered=False) == 0.3 < network_smoothness(refined, steered=False)
    # The guides' own pull follows, not the images' detail.
    assert network_smoothness(refined, steered=True) == 0.3
    assert network_smoothness(Settings(smoothness=0.8, mode=Mode.INTRA), steered=False) == 0.8


def test_smoothness_acts_on_the_network_up_to_its_end() -> None:
    asked = [network_smoothness(Settings(smoothness=value / 8), steered=False) for value in range(9)]
    assert all(later > earlier for earlier, later in itertools.pairwise(asked))


def test_finest_steps_are_the_ones_asked_for() -> None:
    fast = Settings(effort=Effort.FAST)
    assert network_alone(fast) and not any(refinement_steps(fast, network=True, steered=False))
    asked = Settings(effort=Effort.FAST, iterations=7)
    assert not network_alone(asked) and refinement_steps(asked, network=True, steered=False)[-1] == 7


@pytest.mark.parametrize("effort", Effort)
def test_guides_take_no_step_away(effort: Effort) -> None:
    for network in (False, True):
        free, steered = (refinement_steps(Settings(effort=effort), network=network, steered=flag) for flag in (False, True))
        assert all(more >= less for more, less in zip(steered, free, strict=True)) and any(steered)
