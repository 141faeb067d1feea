"""What is expected of a pair before its refinement, by networks that do nothing on their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from brightness import BODIES, GRID, ByBrightness, balls
from brightness import network as named
from scenes import cube, show, texture

from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.network import Network
from unireg_cli.registration.aligned import Aligned
from unireg_cli.registration.expectation import expect
from unireg_cli.registration.landmarks import Landmarks, as_index
from unireg_cli.registration.maps import map_structures
from unireg_cli.registration.preparation import prepare
from unireg_cli.registration.settings import Settings
from unireg_cli.registration.steering import Steering, make_guide
from unireg_cli.spatial import Affine, Chain, Image
from unireg_cli.spatial.sampling import sample_index
from unireg_cli.types import Effort, Mode

SETTINGS = Settings(effort=Effort.DEFAULT)
HERE, THERE = ((-10.0, 4.0, 0.0), 12.0, 0.4), ((-4.0, 4.0, 0.0), 12.0, 0.4)


def aligned(fixed: Image, moving: Image, steering: Steering | None = None) -> Aligned:
    pair = prepare(fixed, moving, SETTINGS, None, None)
    return Aligned(fixed, pair, Affine.identity(), Affine.identity(), Chain(), steering, moving, ())


def test_landmarks_lead_before_the_network(tiny_network: Callable[..., Network]) -> None:
    grid, scene = cube(24, 3.0), texture(60, 4.0)
    image = show(scene, grid)
    points = np.random.default_rng(1).uniform(-18, 18, (14, 3))
    shifted = points + 9 * np.exp(-np.square(points).sum(-1, keepdims=True) / (2 * 20**2)) * np.array([1.0, 0.3, 0.0])
    steering = Steering(None, Landmarks(points, shifted, np.ones(14)))
    guide = make_guide(steering, image, image, (), vocabulary(), Chain())
    # The images are the same and the network still: whatever moves is by the landmarks.
    found = expect(tiny_network(still=True), aligned(image, image, steering), guide, SETTINGS)
    before = guide.mean_error(Affine.identity(), lambda other: torch.zeros(3, *other.shape), grid, Chain())
    assert before == pytest.approx(np.linalg.norm(shifted - points, axis=1).mean())
    assert guide.mean_error(found.aligned.affine, found.prediction.on, grid, Chain()) < 0.35 * before


@pytest.mark.parametrize(("truth_mm", "believed"), [(6.0, True), (0.0, False)])
def test_landmarks_decide_whether_maps_are_believed(tiny_network: Callable[..., Network], truth_mm: float, believed: bool) -> None:
    network = tiny_network(still=True)
    liver = vocabulary().structure_id("liver")
    assert liver is not None
    network.segmenter = ByBrightness((0.5,))  # type: ignore[assignment]
    network.settings = replace(network.settings, segmented=(liver,))
    fixed, moving = (Image(balls(GRID, place).values.numpy(), GRID) for place in (HERE, THERE))

    def mean_error(affine: Affine, predicted: Any, grid: Any, _later: Chain) -> float:
        """Of one landmark on the ball's rim, which went ``truth_mm`` along x."""
        place = np.array([[2.0, 4.0, 0.0]])
        shift = sample_index(predicted(grid), as_index(place, grid, torch.device("cpu")))[0] * grid.spacing[0]
        return abs(float(affine.map(place + np.array([float(shift), 0.0, 0.0]))[0, 0]) - 2.0 - truth_mm)

    guide: Any = SimpleNamespace(landmarks=object(), start=lambda *_: None, mean_error=mean_error)
    given = aligned(fixed, moving)
    found = expect(network, given, guide, SETTINGS)
    assert (found.maps is not None) is believed
    assert "landmarks" in found.aligned.pair.decisions["structures"] and "structures" not in given.pair.decisions
    assert bool(np.allclose(found.aligned.affine.matrix, np.eye(4))) or believed


def test_lattices_are_no_finer_than_the_network_was_taught_on(tiny_network: Callable[..., Network]) -> None:
    image, network = show(texture(60, 4.0), cube(40, 2.0)), tiny_network(still=True)
    whole = expect(network, aligned(image, image), None, SETTINGS)
    network.settings = replace(network.settings, pair_voxels=5_000)
    small = expect(network, aligned(image, image), None, SETTINGS)
    assert expect(network, aligned(image, image), None, SETTINGS, 10_000).prediction.lattice == small.prediction.lattice
    # Padding adds voxels, and makes none smaller.
    assert small.prediction.lattice.spacing[0] > 1.5 * whole.prediction.lattice.spacing[0]


def test_maps_that_make_the_images_less_alike_are_not_used(
    tiny_network: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny_network(still=True)
    network.segmenter = ByBrightness((0.5,))  # type: ignore[assignment]
    fixed, moved = balls(GRID, HERE), balls(GRID, THERE)
    # The maps say that something moved; the images are the same.
    maps = map_structures(named(0.4), (fixed, moved), BODIES, Affine.identity())
    monkeypatch.setattr("unireg_cli.registration.expectation.map_structures", lambda *_: maps)
    image = Image(fixed.values.numpy(), GRID)
    found = expect(network, aligned(image, image), None, SETTINGS)
    assert found.maps is None and np.allclose(found.aligned.affine.matrix, np.eye(4)) and not found.prediction.displacement.any()
    assert "not used: similarity" in found.aligned.pair.decisions["structures"]


def test_images_are_familiar_where_the_segmenter_is_sure_of_what_it_sees(
    tiny_network: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, image = tiny_network(still=True), show(texture(60, 4.0), GRID)
    unseen = expect(network, aligned(image, image), None, SETTINGS)
    assert unseen.familiar and not unseen.known, "nobody looked"
    network.segmenter = ByBrightness((0.5,))  # type: ignore[assignment]
    network.settings = replace(network.settings, segmented=(0,))
    pair = aligned(*(Image(balls(GRID, ball).values.numpy(), GRID) for ball in (HERE, THERE)))
    seen = expect(network, pair, None, SETTINGS)
    assert seen.familiar and seen.known and seen.maps is not None and 0.72 < seen.maps.familiarity <= 1
    assert seen.aligned.pair.decisions["familiarity"] == f"{seen.maps.familiarity:.2f}, like images that the network has learned from"
    with monkeypatch.context() as patch:
        # Where nothing is left of the maps' difference, knowing the images does not help.
        patch.setattr("unireg_cli.registration.expectation._NOTHING_LEFT", seen.maps.agreement(Affine.identity()) - 1e-3)
        same = expect(network, pair, None, SETTINGS)
        assert same.familiar and same.maps is not None and not same.known
    monkeypatch.setattr("unireg_cli.registration.expectation._FAMILIAR", seen.maps.familiarity + 1e-6)
    assert not expect(network, pair, None, SETTINGS).familiar
    network.segmenter = ByBrightness((99.0,))  # type: ignore[assignment]
    nothing = expect(network, pair, None, SETTINGS)
    assert not nothing.familiar, "nothing is seen"
    assert nothing.aligned.pair.decisions["familiarity"] == "0.00, unlike images that the network has learned from"


@pytest.mark.parametrize(("enough", "asked_again"), [(0.9, True), (1.1, False)])
def test_maps_of_one_person_that_agree_are_held_against_the_network_alone(
    tiny_network: Callable[..., Network], monkeypatch: pytest.MonkeyPatch, enough: float, asked_again: bool
) -> None:
    network = tiny_network(still=True)
    network.segmenter = ByBrightness((0.5,))  # type: ignore[assignment]
    fixed, moved = balls(GRID, HERE), balls(GRID, THERE)
    # The ball moves by whole voxels: under the affine that maps find, nothing is left of their difference.
    maps = map_structures(named(0.4), (fixed, moved), BODIES, Affine.identity())
    assert maps is not None and maps.leading
    monkeypatch.setattr("unireg_cli.registration.expectation.map_structures", lambda *_: maps)
    monkeypatch.setattr("unireg_cli.registration.expectation._NOTHING_LEFT", enough)
    given = aligned(*(Image(view.values.numpy(), GRID) for view in (fixed, moved)))
    found = expect(network, given, None, replace(SETTINGS, mode=Mode.INTRA))
    assert found.maps is not None and maps.agreement(found.aligned.affine) > 0.9 > maps.agreement(Affine.identity())
    assert ("with their maps" in found.aligned.pair.decisions["structures"]) is asked_again


@pytest.mark.parametrize(("least", "enough", "asked_again"), [(-1.0, 2.0, False), (2.0, 2.0, True), (2.0, 0.72, False)])
def test_maps_that_hardly_help_are_held_against_the_network_alone_unless_the_images_are_familiar(
    tiny_network: Callable[..., Network], monkeypatch: pytest.MonkeyPatch, least: float, enough: float, asked_again: bool
) -> None:
    network = tiny_network(still=True)
    network.segmenter = ByBrightness((0.5,))  # type: ignore[assignment]
    network.settings = replace(network.settings, segmented=(0,))
    pair = [Image(balls(GRID, ball).values.numpy(), GRID) for ball in (HERE, THERE)]
    for name in ("_DOUBTED_ALONE", "_DOUBTED_REFINED"):
        monkeypatch.setattr(f"unireg_cli.registration.expectation.{name}", least)
    monkeypatch.setattr("unireg_cli.registration.expectation._FAMILIAR", enough)
    found = expect(network, aligned(*pair), None, SETTINGS)
    # A network that moves nothing is worse without the maps, which bring the balls together.
    words = found.aligned.pair.decisions["structures"]
    assert found.maps is not None and "not used" not in words
    assert ("with their maps" in words) is asked_again
