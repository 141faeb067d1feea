"""The weights of a run that has not ended: kept beside the shipped ones, and whole again."""

from __future__ import annotations

import json
from pathlib import Path

import go_on
import pytest
import torch

from unireg_cli.io.weights import find_weights, read_weights, write_weights
from unireg_cli.loading import load_model


def test_what_was_not_moved_is_not_kept_and_comes_back_from_the_shipped_weights() -> None:
    shipped = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])}
    moved = go_on.kept({"a": torch.tensor([1.0, 2.5]), "b": torch.tensor([3.0])}, shipped)
    # Half a unit is the largest difference, so 127 steps.
    assert list(moved) == ["a", "a:step"] and moved["a"].tolist() == [0, 127] and moved["a:step"].item() == pytest.approx(0.5 / 127)
    whole = go_on.laid_over(moved, shipped)
    assert whole["a"].tolist() == pytest.approx([1.0, 2.5]) and whole["b"].tolist() == [3.0] and whole["a"].dtype == torch.float32


def test_a_row_comes_back_to_half_of_its_own_step() -> None:
    numbers = torch.Generator().manual_seed(0)
    shipped = {"kernel": torch.randn(3, 5, 2, generator=numbers), "one": torch.tensor(2.0), "none": torch.zeros(2, 2)}
    apart = torch.randn(3, 5, 2, generator=numbers) * torch.tensor([1.0, 1e-3, 0.0])[:, None, None]
    run = {"kernel": shipped["kernel"] + apart, "one": torch.tensor(-1.0), "none": torch.zeros(2, 2)}
    whole = go_on.laid_over(go_on.kept(run, shipped), shipped)
    off = (whole["kernel"] - run["kernel"]).abs().amax(dim=(1, 2))
    # Half a step, and the rounding of float32.
    assert (off <= apart.abs().amax(dim=(1, 2)) / 254 + 1e-6).all() and off[2] < 1e-6
    assert whole["one"].item() == pytest.approx(-1.0) and torch.equal(whole["none"], run["none"])


def test_only_weights_beside_which_it_was_kept_can_complete_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = tmp_path / "next.safetensors"
    monkeypatch.setattr(go_on, "NEXT", beside)
    path = find_weights(None)
    assert path is not None
    shipped = read_weights(path)
    for stranger in ("stranger", next(iter(shipped.tensors))):
        write_weights(tmp_path / "run.safetensors", {**shipped.tensors, stranger: torch.zeros(1)}, shipped.config)
        with pytest.raises(SystemExit):
            go_on.main(["--keep", str(tmp_path / "run.safetensors")])
        assert "another network" in capsys.readouterr().err and not beside.exists()
    # A run that went on from another run: its config tells of that one, not of the shipped weights.
    moved = {name: tensor + 1 if ".head." in name else tensor for name, tensor in shipped.tensors.items()}
    write_weights(tmp_path / "run.safetensors", moved, {**shipped.config, "init": {"sha256": "0" * 64}})
    assert go_on.main(["--keep", str(tmp_path / "run.safetensors")]) == 0
    assert go_on.main([str(tmp_path / "whole.safetensors")]) == 0
    assert read_weights(tmp_path / "whole.safetensors").tensors.keys() == shipped.tensors.keys()
    written = read_weights(beside)
    write_weights(beside, written.tensors, {**written.config, "over": "0" * 64})
    with pytest.raises(SystemExit):
        go_on.main([str(tmp_path / "whole.safetensors")])
    assert f"other weights than the shipped {shipped.sha256[:12]}" in capsys.readouterr().err


def test_the_kept_weights_are_a_network_that_learned_both_parts(tmp_path: Path) -> None:
    assert go_on.main([str(tmp_path / "next.safetensors")]) == 0
    model = load_model(tmp_path / "next.safetensors")
    path = find_weights(None)
    assert path is not None
    shipped = read_weights(path).tensors
    own = model.network.state_dict()
    moved = [name for name in shipped if not torch.equal(own[name], shipped[name])]
    assert any(name.startswith("segmenter.") for name in moved) and any(name.startswith("levels.") for name in moved)
    assert model.weights.config["step"] == json.loads((tmp_path / "next.json").read_text("utf-8"))["step"] > 0
