"""Which of two registrations is believed where the network does not know such images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scenes import cube, show, texture

from unireg_cli.model.network import Network
from unireg_cli.registration import pipeline
from unireg_cli.registration.aligned import Aligned
from unireg_cli.registration.expectation import Expectation, expect
from unireg_cli.registration.judging import more_believable
from unireg_cli.registration.known import Known
from unireg_cli.registration.pipeline import register_images
from unireg_cli.registration.result import Registration
from unireg_cli.registration.settings import Settings
from unireg_cli.spatial import Image
from unireg_cli.types import Effort, Mode, Start

SETTINGS = Settings(start=Start.HEADER, iterations=1)


@pytest.fixture(scope="module")
def pair() -> tuple[Image, Image]:
    scene, grid = texture(60, 6.0), cube(24, 3.0)
    return show(lambda points: scene(points + np.array([2.0, 0.0, 0.0])), grid), show(scene, grid)


@pytest.mark.parametrize(("more_alike", "believed"), [(0.03, "left out"), (0.02, "taken"), (-0.1, "taken")])
def test_the_engine_is_believed_if_it_leaves_the_images_clearly_more_alike(
    pair: tuple[Image, Image], more_alike: float, believed: str
) -> None:
    plain = register_images(*pair, SETTINGS)
    ours = replace(plain, quality=replace(plain.quality, similarity_after=plain.quality.similarity_after - more_alike))
    found = more_believable(ours, plain)
    assert found.quality is (plain if believed == "left out" else ours).quality
    assert found.decisions["prediction"].startswith(believed) and "prediction" not in plain.decisions


@pytest.mark.parametrize(
    ("familiar", "mode", "kept"), [(True, Mode.INTRA, True), (False, Mode.INTRA, False), (True, Mode.INTER, False)]
)
def test_without_a_prediction_maps_of_one_person_are_kept_where_the_images_are_familiar(
    tiny_network: Callable[..., Network],
    pair: tuple[Image, Image],
    monkeypatch: pytest.MonkeyPatch,
    familiar: bool,
    mode: Mode,
    kept: bool,
) -> None:
    known: list[tuple[Aligned, Known]] = []

    def expected(*words: object) -> Expectation:
        found = expect(*words)  # type: ignore[arg-type]
        found.aligned.pair.decisions["structures"] = "one seen"
        return replace(found, familiar=familiar, maps="maps")  # type: ignore[arg-type]

    def deformed(aligned: Aligned, of: Known, *_: object) -> None:
        known.append((aligned, of))

    monkeypatch.setattr(pipeline, "expect", expected)
    monkeypatch.setattr(pipeline, "prediction_helps", lambda *_, known: False)
    monkeypatch.setattr(pipeline, "_deform", deformed)
    register_images(*pair, replace(SETTINGS, mode=mode), network=tiny_network(still=True))
    ((aligned, found),) = known
    assert (found.prediction, found.maps) == (None, "maps" if kept else None)
    assert aligned.pair.decisions["structures"] == ("one seen" if kept else "one seen (not used)")


@pytest.mark.parametrize(
    ("familiar", "settings", "compared"),
    [
        (False, SETTINGS, True),
        (True, SETTINGS, False),
        (False, replace(SETTINGS, mode=Mode.INTRA), False),
        (False, Settings(start=Start.HEADER, effort=Effort.FAST), False),
    ],
)
def test_the_engine_is_tried_too_where_two_people_are_unfamiliar(
    tiny_network: Callable[..., Network],
    pair: tuple[Image, Image],
    monkeypatch: pytest.MonkeyPatch,
    familiar: bool,
    settings: Settings,
    compared: bool,
) -> None:
    tried: list[Registration] = []

    def expected(*words: object) -> Expectation:
        return replace(expect(*words), familiar=familiar)  # type: ignore[arg-type]

    def believed(result: Registration, plain: Registration) -> Registration:
        tried.extend((result, plain))
        return plain

    monkeypatch.setattr(pipeline, "expect", expected)
    monkeypatch.setattr(pipeline, "prediction_helps", lambda *_, known: True)
    monkeypatch.setattr(pipeline, "more_believable", believed)
    network = tiny_network(awake=0.05)
    found = register_images(*pair, settings, network=network)
    assert bool(tried) is compared
    names = [stage.name for stage in found.stages]
    assert names == ["prepare", "align", "predict", *(["refine", "finish"] * (2 if compared else 1))]
    warned = any("few images like these" in line for line in found.warnings)
    assert warned is (not familiar and settings.effort is Effort.FAST)
    if compared:
        ours, plain = tried
        alone = register_images(*pair, settings)
        assert ours.steering is not None and ours.steering.network_smoothness is not None
        assert alone.field is not None and plain.field is not None
        # To the bit what is found without weights.
        assert plain.field.vectors_mm.tobytes() == alone.field.vectors_mm.tobytes()
