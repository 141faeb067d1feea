"""Whole small runs: what they write, and that a stop in between changes nothing."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import trainer.run
from trainer.compute import Compute
from trainer.config_file import read_config
from trainer.loop import new_state, train_step
from trainer.run import run
from unireg_cli.errors import InputError, UniregError, UsageError
from unireg_cli.io.weights import read_weights
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.network import build_network
from unireg_cli.model.training import Training

Recipe = Callable[..., Path]


def rows(folder: Path, name: str = "losses.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, number: signal.Signals) -> None:
    """Send this process a signal while it takes a step."""

    def stepped(state: Any, *rest: Any) -> Any:
        if state.step == step:
            os.kill(os.getpid(), number)
        return train_step(state, *rest)

    monkeypatch.setattr(trainer.run, "train_step", stepped)


def test_run_writes_curves_weights_and_what_made_them(recipe: Recipe, tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    outcome = run(read_config(recipe()), progress=lambda *words: heard.append(words))
    folder = tmp_path / "run"
    assert (outcome.step, outcome.stopped, outcome.weights) == (6, 0, folder / "unireg-own.safetensors")
    assert [row["step"] for row in rows(folder)] == [1, 2, 3, 4, 5, 6]
    assert {"source", "rate", "loss", "overlap", "norm", "skipped"} <= set(rows(folder)[0])
    # Twice in a run of six steps: after the fourth and at the end.
    looks = rows(folder, "tune.jsonl")
    assert [(row["step"], row["set"]) for row in looks] == [(4, "organs"), (6, "organs")]
    assert outcome.best == max(row["dice"] - 0.2 * row["sdlogj"] for row in looks) > 0.3
    assert heard[0] == ("load", 1, 1) and heard[-1] == ("train", 6, 6)
    assert json.loads((folder / "versions.json").read_text())["torch"] == torch.__version__
    # What is written is the config with the finest lattice that the run teaches.
    asked, written = read_config(tmp_path / "run.toml"), read_config(folder / "config.toml")
    finest = max(source.voxels[1] for source in asked.sources)
    assert written == replace(asked, network=replace(asked.network, pair_voxels=finest))


def test_exported_weights_make_a_network_and_say_what_they_know(recipe: Recipe, tmp_path: Path) -> None:
    config = read_config(recipe(steps=4, licence="for tests"))
    run(config)
    file = read_weights(tmp_path / "run" / "unireg-own.safetensors")
    network = build_network(file.config["network"], file.tensors)
    assert network.settings == replace(config.network, pair_voxels=max(source.voxels[1] for source in config.sources))
    assert (file.config["step"], file.config["licence"], file.config["seed"]) == (4, "for tests", 0)
    assert file.config["smoothness"] == {"inter": 0.5, "intra": 0.5}
    assert file.config["trained"] == {"real": ["kidney_left", "liver", "spleen"], "synthetic": []}
    assert len(Training.from_names(file.config["trained"], vocabulary(), "x").real) == 3
    assert file.config["tune"]["organs"]["dice"] > 0.3
    assert file.config["recipe"]["steps"] == 4 and str(tmp_path) not in json.dumps(file.config["recipe"])
    # The average of the weights, not the last ones.
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert all(torch.equal(file.tensors[name], saved["average"][name]) for name in file.tensors)
    assert any(not torch.equal(file.tensors[name], saved["network"][name]) for name in file.tensors)


@pytest.mark.parametrize(("number", "method"), [(signal.SIGTERM, "adamw"), (signal.SIGINT, "muon"), (signal.SIGUSR1, "adamw")])
def test_stopped_and_resumed_run_has_the_numbers_of_an_uninterrupted_one(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, method: str
) -> None:
    whole, config = (read_config(recipe(name)) for name in ("whole", "halves"))
    whole, config = (replace(one, optimiser=replace(one.optimiser, method=method)) for one in (whole, config))
    run(whole)
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        # In the fifth step: neither a checkpoint nor a line is due after it.
        stop_at(patch, 4, number)
        outcome = run(config)
    assert (outcome.step, outcome.stopped) == (5, number)
    assert signal.getsignal(number) is before
    assert run(config, resume=True).step == 6
    for name in ("losses.jsonl", "tune.jsonl"):
        assert rows(tmp_path / "whole", name) == rows(tmp_path / "halves", name)
    one, other = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "halves"))
    assert all(torch.equal(one["network"][name], other["network"][name]) for name in one["network"])
    assert all(torch.equal(one["average"][name], other["average"][name]) for name in one["average"])
    for file in ("unireg-own.safetensors", "unireg-own-last.safetensors"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "halves" / file).read_bytes()


def test_killed_run_goes_on_from_its_checkpoint(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines beyond the checkpoint, and one that was cut short, are written anew."""
    run(read_config(recipe("whole")))
    config = read_config(recipe("killed", save_every=3, log_every=1))

    def killed(state: Any, *rest: Any) -> Any:
        if state.step == 5:
            raise KeyboardInterrupt
        return train_step(state, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.run, "train_step", killed)
        with pytest.raises(KeyboardInterrupt):
            run(config)
    folder = tmp_path / "killed"
    # The look after the fourth step left a checkpoint; the fifth step is lost.
    assert [row["step"] for row in rows(folder)] == [1, 2, 3, 4, 5]
    assert torch.load(folder / "last.pt", weights_only=True)["step"] == 4
    with (folder / "losses.jsonl").open("a") as file:
        file.write('{"step": 6, "los')
    run(config, resume=True)
    assert rows(folder) == rows(tmp_path / "whole")
    assert rows(folder, "tune.jsonl") == rows(tmp_path / "whole", "tune.jsonl")


def test_finished_run_resumed_does_nothing_and_with_more_steps_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    config = read_config(recipe())
    first = run(config)
    before = read_weights(tmp_path / "run" / "unireg-own-last.safetensors")
    assert run(config, resume=True) == first
    assert read_weights(tmp_path / "run" / "unireg-own-last.safetensors").config == before.config
    assert run(replace(config, steps=8), resume=True).step == 8
    assert [row["step"] for row in rows(tmp_path / "run")] == list(range(1, 9))


def test_run_that_would_overwrite_another_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    config = read_config(recipe(steps=1))
    run(config)
    with pytest.raises(UsageError, match="holds a run already; go on with --resume"):
        run(config)


def test_resumed_with_other_settings_warns(recipe: Recipe, caplog: pytest.LogCaptureFixture) -> None:
    run(read_config(recipe(steps=1)))
    run(read_config(recipe(steps=2, points=30)), resume=True)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1 and "points: 20 -> 30" in warned[0] and "steps" not in warned[0].split(": ", 1)[1]


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_damaged_or_foreign_checkpoint_is_refused(recipe: Recipe, tmp_path: Path, content: bytes | None) -> None:
    config = read_config(recipe(steps=1))
    run(config)
    path = tmp_path / "run" / "last.pt"
    if content is None:
        # Of another network: one more channel.
        saved = torch.load(path, weights_only=True)
        saved["network"]["encoder.stem.weight"] = torch.zeros(9, 9, 3, 3, 3)
        torch.save(saved, path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"last\.pt: not a checkpoint of this network"):
        run(config, resume=True)


def spoil(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Losses of these steps become NaN, and so do their gradients."""
    measure = trainer.loop.measure_loss
    count = iter(range(10_000))

    def spoiled(*rest: Any) -> Any:
        loss, parts = measure(*rest)
        return (loss * float("nan") if next(count) in steps else loss), parts

    monkeypatch.setattr(trainer.loop, "measure_loss", spoiled)


def test_step_without_a_finite_gradient_changes_nothing(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    config = read_config(recipe())
    state = new_state(config)
    pools = trainer.run._load(config, lambda *words: None, trainer.run.Team())
    spoil(monkeypatch, {2})
    gallery, compute, team = trainer.run.Gallery(), Compute(torch.device("cpu")), trainer.run.Team()
    for _ in range(2):
        assert all(float(row.parts["skipped"]) == 0 for row in train_step(state, pools, config, gallery, compute, team))
    weights = {name: tensor.clone() for name, tensor in state.network.state_dict().items()}
    moments = [{name: value.clone() for name, value in entry.items()} for entry in state.optimiser.state.values()]
    (row,) = train_step(state, pools, config, gallery, compute, team)
    assert float(row.parts["skipped"]) == 1 and state.step == 3
    assert all(torch.equal(weights[name], tensor) for name, tensor in state.network.state_dict().items())
    for old, new in zip(moments, state.optimiser.state.values(), strict=True):
        assert all(torch.equal(old[name], new[name]) for name in ("step", "exp_avg", "exp_avg_sq"))
    train_step(state, pools, config, gallery, compute, team)
    assert any(not torch.equal(weights[name], tensor) for name, tensor in state.network.state_dict().items())
    assert all(tensor.isfinite().all() for tensor in state.network.state_dict().values())


def test_skipped_steps_are_counted_and_too_many_end_the_run(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        spoil(patch, {1, 2})
        run(read_config(recipe("some")))
    saved = torch.load(tmp_path / "some" / "last.pt", weights_only=True)
    assert (saved["skipped"], saved["skipped_in_row"]) == (2, 0)
    assert [row["skipped"] for row in rows(tmp_path / "some")] == [0, 1, 1, 0, 0, 0]
    spoil(monkeypatch, set(range(100)))
    with pytest.raises(UniregError, match="20 steps in a row without a finite loss and gradient, up to step 20"):
        run(read_config(recipe("lost", steps=100, save_every=100, tune_every=100)))


def test_network_that_answers_nan_is_a_skipped_step_too(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, count = trainer.loop.draw_example, iter(range(10_000))

    def spoiled(*rest: Any) -> Any:
        example = draw(*rest)
        return replace(example, shown=replace(example.shown, images=example.shown.images * float("nan"))) if next(count) == 1 else example

    monkeypatch.setattr(trainer.loop, "draw_example", spoiled)
    run(read_config(recipe()))
    assert [row["skipped"] for row in rows(tmp_path / "run")] == [0, 1, 0, 0, 0, 0]
    assert rows(tmp_path / "run")[1]["loss"] is None
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert saved["skipped"] == 1 and all(tensor.isfinite().all() for tensor in saved["average"].values())


def test_bfloat16_runs_and_stays_near(recipe: Recipe, tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16"):
        run(read_config(recipe(precision, precision=precision, steps=2)))
    exact, short = (rows(tmp_path / name)[0] for name in ("float32", "bfloat16"))
    assert exact["loss"] != short["loss"]
    assert short["loss"] == pytest.approx(exact["loss"], rel=0.05)
