"""Rates, averages, and runs that begin with given weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.config import LEARNERS, Optimiser, Source, TrainConfig
from trainer.config_file import read_config
from trainer.loop import helps_to_choose, rate_at
from trainer.pool import load_pool
from trainer.run import run
from trainer.start import begin, settled
from unireg_cli.errors import UsageError, WeightsError
from unireg_cli.io.weights import WeightsFile, read_weights

Recipe = Callable[..., Path]
CPU = torch.device("cpu")


@pytest.fixture
def given(recipe: Recipe, tmp_path: Path) -> WeightsFile:
    """Weights of another run of six steps."""
    run(read_config(recipe("before", seed=5)))
    return read_weights(tmp_path / "before" / "unireg-own-last.safetensors")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # Warm-up over ten steps, then half a wave from 1 to 0.2: at its middle 0.6.
        ({"schedule": "cosine"}, {0: 0.1, 4: 0.5, 9: 1.0, 10: 1.0, 60: 0.6, 110: 0.2, 500: 0.2}),
        ({"schedule": "cosine", "decay_from": 90}, {0: 0.1, 10: 1.0, 60: 1.0, 90: 1.0, 100: 0.6, 110: 0.2}),
        # A quarter of the wave: cos(pi / 4).
        ({"schedule": "cosine", "decay_from": 70}, {80: 0.2 + 0.8 * 0.5 * (1 + 0.5**0.5)}),
        ({"schedule": "cosine", "decay_from": 3}, {4: 0.5, 60: 0.6}),
        ({"schedule": "cosine", "decay_from": 200}, {110: 1.0}),
        ({"schedule": "constant"}, {0: 0.1, 10: 1.0, 110: 1.0}),
    ],
)
def test_rate_warms_up_stays_and_falls(settings: dict[str, object], expected: dict[int, float]) -> None:
    optimiser = Optimiser(rate=2.0, warmup=10, final=0.2, **settings)  # type: ignore[arg-type]
    assert {step: rate_at(step, 110, optimiser) / 2 for step in expected} == pytest.approx(expected)


def test_given_weights_are_where_network_and_average_begin(recipe: Recipe, given: WeightsFile, tmp_path: Path) -> None:
    config = read_config(recipe(init=str(given.path)))
    state = begin(config, CPU)
    fresh = begin(replace(config, init=""), CPU)
    for name, tensor in given.tensors.items():
        assert torch.equal(state.network.state_dict()[name], tensor) and torch.equal(state.average[name], tensor)
    assert any(not torch.equal(fresh.average[name], tensor) for name, tensor in given.tensors.items())
    assert (state.step, state.best, state.optimiser.state_dict()["state"]) == (0, -1.0, {})
    assert all(parameter.requires_grad for parameter in state.network.parameters())
    # A relative path begins at the config's folder.
    assert read_config(recipe(init="before/unireg-own-last.safetensors")).init == str(given.path)


def test_average_keeps_to_given_weights_from_the_first_step(recipe: Recipe, given: WeightsFile, tmp_path: Path) -> None:
    run(read_config(recipe(init=str(given.path), steps=1)))
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    for name, tensor in given.tensors.items():
        # The default: 0.998 of the average stays.
        torch.testing.assert_close(saved["average"][name], 0.998 * tensor + 0.002 * saved["network"][name], rtol=1e-5, atol=1e-7)


def test_run_never_keeps_less_than_it_was_given(recipe: Recipe, given: WeightsFile, tmp_path: Path) -> None:
    """A rate that ruins everything: the weights that are kept are those of before the first step."""
    path = recipe(init=str(given.path), name="ruined", steps=5)
    path.write_text(path.read_text().replace("rate = 1e-3", "rate = 3.0\naverage = 0.0"))
    outcome = run(read_config(path))
    looks = [json.loads(line) for line in (tmp_path / "ruined" / "tune.jsonl").read_text().splitlines()]
    assert [look["step"] for look in looks] == [0, 4, 5]
    assert outcome.best == looks[0]["dice"] - 0.2 * looks[0]["sdlogj"]
    assert looks[1]["sdlogj"] is None or outcome.best > looks[1]["dice"] - 0.2 * looks[1]["sdlogj"]
    assert outcome.weights is not None
    kept = read_weights(outcome.weights)
    assert kept.config["step"] == 0 and kept.config["trained"] == given.config["trained"]
    assert all(torch.equal(kept.tensors[name], tensor) for name, tensor in given.tensors.items())


def test_what_given_weights_knew_and_who_they_were_is_passed_on(recipe: Recipe, given: WeightsFile, tmp_path: Path) -> None:
    path = given.path.with_suffix(".json")
    path.write_text(path.read_text().replace('"synthetic": []', '"synthetic": [\n"femur_left"\n]'))
    config = read_config(recipe(init=str(given.path), steps=1))
    run(config)
    # To go on, nobody needs the given weights any more.
    given.path.unlink()
    run(replace(config, steps=2), resume=True)
    told = read_weights(tmp_path / "run" / "unireg-own-last.safetensors").config
    assert told["trained"] == {"real": ["kidney_left", "liver", "spleen"], "synthetic": ["femur_left"]}
    assert told["init"] == {"name": "unireg-own", "sha256": given.sha256, "step": 6}
    assert told["recipe"]["init"] == given.path.name


def test_given_weights_that_do_not_fit_are_refused(recipe: Recipe, given: WeightsFile) -> None:
    config = read_config(recipe(init=str(given.path)))
    wider = replace(config, network=replace(config.network, hidden=5))
    with pytest.raises(UsageError, match=r"its network is another one: hidden is 4, the config says 5"):
        begin(wider, CPU)
    given.path.write_bytes(given.path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="truncated"):
        begin(config, CPU)
    given.path.unlink()
    with pytest.raises(WeightsError, match="no such weights file"):
        run(config)


def test_weights_say_on_how_fine_lattices_they_were_taught(recipe: Recipe) -> None:
    config = read_config(recipe(learns=["registration", "segmentation"]))
    coarse, fine = (replace(config.sources[0], voxels=(10_000, 30_000), fine=share, fine_voxels=(50_000, 90_000)) for share in (0.0, 0.1))
    unused = replace(fine, fine_voxels=(50_000, 800_000), weight=0.0)
    config = replace(config, segmenting=replace(config.segmenting, voxels=(8_000, 20_000)), network=replace(config.network, segmented=(1,)))

    def taught(before: dict[str, int], *, learns: tuple[str, ...] = LEARNERS, **changes: Any) -> tuple[int, int]:
        own = replace(config, learns=learns, **changes)
        network = settled(own, [], before).network
        return network.pair_voxels, network.sight_voxels

    assert taught({}, sources=(coarse, unused)) == (30_000, 20_000)
    assert taught({}, sources=(coarse, fine)) == (90_000, 20_000)
    # What is not taught now stays as it was; what nobody taught is as the config has it.
    before = {"pair_voxels": 70_000, "sight_voxels": 5_000}
    assert taught(before, learns=LEARNERS[:1], sources=(coarse,)) == (30_000, 5_000)
    assert taught(before, learns=LEARNERS[1:], sources=(coarse,)) == (70_000, 20_000)
    assert taught({}, learns=LEARNERS[1:], sources=(coarse,)) == (config.network.pair_voxels, 20_000)
    most = replace(config.network, pair_voxels=25_000, sight_voxels=2_000)
    assert taught(before, sources=(coarse,), network=most) == (25_000, 2_000)


def test_sources_help_to_choose_unless_they_say_no_or_have_no_images(recipe: Recipe, organs: Path, tmp_path: Path) -> None:
    def helps(source: Source) -> bool:
        return helps_to_choose(load_pool(source, Path(), organs / "cache", 0))

    (real,) = read_config(recipe()).sources
    assert helps(real) and helps(replace(real, tune=True)) and not helps(replace(real, tune=False))
    listed = json.loads((organs / "dataset.json").read_text())
    painted = organs / "painted.json"
    painted.write_text(json.dumps(listed | {"name": "painted", "training": [{"label": one["label"]} for one in listed["training"]]}))
    maps = replace(real, path=str(painted))
    assert not helps(maps) and not helps(Source(phantoms=("arm",), phantom_scans=5, phantom_spacing=6.0))
    with pytest.raises(UsageError, match=r"painted\.json: tune is true, but its held-out scans have no images or make no pair"):
        run(TrainConfig((replace(maps, tune=True),), cache=str(organs / "cache"), output=str(tmp_path / "never")))


def test_run_without_a_source_to_choose_by_keeps_its_last_weights(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = read_config(recipe())
    outcome = run(replace(config, steps=2, sources=(replace(config.sources[0], tune=False),)))
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "no source has scans to choose the best weights by: those of the last step are kept"
    ]
    assert not (tmp_path / "run" / "tune.jsonl").exists()
    assert outcome.best == -1 and outcome.weights is not None
    best, last = (tmp_path / "run" / f"unireg-own{ending}.safetensors" for ending in ("", "-last"))
    assert best.read_bytes() == last.read_bytes()
