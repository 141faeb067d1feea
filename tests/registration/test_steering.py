"""Guides in whole registrations of small pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scenes import cube, show, texture

from unireg_cli.errors import InputError, UsageError
from unireg_cli.model.network import Network
from unireg_cli.registration.landmarks import Landmarks
from unireg_cli.registration.pipeline import align_images, bend, register_images
from unireg_cli.registration.segmentations import Segmentations
from unireg_cli.registration.settings import Settings
from unireg_cli.registration.steering import Steering
from unireg_cli.spatial import Affine, Chain, DisplacementField, Image
from unireg_cli.types import Effort, Mode, Start, TransformKind

GRID = cube(24, 3.0)
QUICK = Settings(start=Start.NONE, iterations=4)


def far(points: np.ndarray) -> np.ndarray:
    """A bend further than the pattern repeats: the images alone lead astray."""
    return points + 14 * np.exp(-np.square(points).sum(-1, keepdims=True) / (2 * 14**2)) * np.array([1.0, 0.3, 0.0])


def pair() -> tuple[Image, Image]:
    scene = texture(60, 4.0)
    return show(lambda points: scene(far(points)), GRID, name="fixed"), show(scene, GRID, name="moving")


def landmarks(count: int, seed: int) -> Landmarks:
    points = np.random.default_rng(seed).uniform(-18, 18, (count, 3))
    return Landmarks(points, far(points), np.ones(count))


def test_landmarks_bring_other_places_home_and_two_answers_share_an_affine() -> None:
    fixed, moving = pair()
    aligned = align_images(fixed, moving, QUICK, steering=Steering(None, landmarks(14, 1)))
    steered = bend(aligned, QUICK)
    alone = register_images(fixed, moving, QUICK)
    others = landmarks(20, 2)
    errors = [np.linalg.norm(one.forward.map(others.fixed_lps) - others.moving_lps, axis=1).mean() for one in (alone, steered)]
    assert errors[1] < 0.7 * errors[0]
    assert steered.steering is not None and steered.steering.landmarks is not None
    found = steered.steering.landmarks
    assert found.after.mean_mm < 0.5 * found.before.mean_mm and found.network is None
    assert steered.quality.regularity is not None and steered.quality.regularity.folding_percent == 0
    again = bend(aligned, Settings(start=Start.NONE, iterations=4, smoothness=1.0))
    assert again.affine is steered.affine and again.decisions is not steered.decisions


def test_a_deformable_initial_transform_is_seen_through(wavy_field) -> None:  # type: ignore[no-untyped-def]
    """fixed(x) = scene(later(x)): nothing is left to find, and landmarks through ``later`` agree with that."""
    later: DisplacementField = wavy_field(cube(32, 3.0), 10.0, seed=4)
    scene = texture(70, 5.0)
    fixed, moving = show(scene, GRID, later), show(scene, cube(34, 3.0))
    points = np.random.default_rng(0).uniform(-15, 15, (8, 3))
    codes = (np.linalg.norm(moving.grid.points_lps(), axis=-1) < 15).astype(np.uint8)
    here = (np.linalg.norm(later.map(GRID.points_lps()), axis=-1) < 15).astype(np.uint8)
    steering = Steering(
        Segmentations(Image(here, GRID), Image(codes, moving.grid)), Landmarks(points, later.map(points), np.ones(8))
    )
    found = register_images(fixed, moving, QUICK, initial=Chain((later,)), steering=steering)
    assert found.steering is not None and found.steering.landmarks is not None
    # A third of a voxel; unseen, ``later`` would be millimetres.
    assert found.steering.landmarks.before.mean_mm < 0.6 and found.steering.landmarks.after.mean_mm < 1.0
    assert np.linalg.norm(later.map(points) - points, axis=1).mean() > 3
    (ball,) = found.steering.structures
    # Two readings by the nearest voxel, 3 mm, of a ball of 15 mm: no map would do better than about 0.92.
    assert ball.dice_before > 0.89 and ball.dice_after > 0.89


def test_wrong_guides_are_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, moving = pair()
    monkeypatch.setattr("unireg_cli.registration.pipeline.align", lambda *_: pytest.fail("aligned first"))
    outside = Landmarks(np.full((1, 3), 500.0), np.zeros((1, 3)), np.ones(1))
    with pytest.raises(InputError, match="lies outside fixed"):
        register_images(fixed, moving, QUICK, steering=Steering(None, outside))
    with pytest.raises(UsageError, match="needs segmentations or landmarks"):
        Steering()


@pytest.mark.parametrize("mode", list(Mode))
def test_with_landmarks_the_refinement_is_as_stiff_as_without_and_with_segmentations_as_without_the_network(
    tiny_network: Callable[..., Network], monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    monkeypatch.setattr("unireg_cli.registration.pipeline.prediction_helps", lambda *_, known: True)
    image, network = show(texture(60, 4.0), GRID), tiny_network(still=True)
    ball = Image((np.linalg.norm(GRID.points_lps(), axis=-1) < 15).astype(np.uint8), GRID)
    points = np.random.default_rng(1).uniform(-18, 18, (6, 3))
    given = (None, Steering(None, Landmarks(points, points, np.ones(6))), Steering(Segmentations(ball, ball), None))
    settings = replace(QUICK, mode=mode, iterations=1)
    found = [register_images(image, image, settings, network=network, steering=one).steering for one in given]
    alone, marked, segmented = (one.stiffness for one in found if one is not None)
    assert marked == alone != segmented == register_images(image, image, settings).steering.stiffness


def test_the_report_says_what_the_wishes_did() -> None:
    fixed, moving = pair()
    found = register_images(fixed, moving, Settings(start=Start.NONE, effort=Effort.FAST, smoothness=0.2, mode=Mode.INTRA))
    assert found.steering is not None
    assert found.steering.stiffness == pytest.approx(0.84) and found.steering.mode is Mode.INTRA
    assert found.steering.scales[0].step_smoothing_voxels == pytest.approx(0.84 * 2.0)
    assert found.steering.structures == () and found.steering.landmarks is None
    rigid = register_images(fixed, moving, Settings(start=Start.NONE, transform=TransformKind.AFFINE))
    assert rigid.steering is None and isinstance(rigid.affine, Affine)
