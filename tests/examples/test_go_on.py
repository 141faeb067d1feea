"""The weights of a run that has not ended: kept beside the shipped ones, and whole again."""

from __future__ import annotations

import json
from pathlib import Path

import go_on
import torch

from unireg_cli.io.weights import find_weights, read_weights
from unireg_cli.loading import load_model


def test_what_was_not_moved_is_not_kept_and_comes_back_from_the_shipped_weights() -> None:
    shipped = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])}
    moved = go_on.kept({"a": torch.tensor([1.0, 2.5]), "b": torch.tensor([3.0])}, shipped)
    assert list(moved) == ["a"] and moved["a"].dtype == torch.float16
    whole = go_on.laid_over(moved, shipped)
    assert whole["a"].tolist() == [1.0, 2.5] and whole["b"].tolist() == [3.0] and whole["a"].dtype == torch.float32


def test_the_kept_weights_are_a_network_with_the_shipped_segmenter(tmp_path: Path) -> None:
    assert go_on.main([str(tmp_path / "next.safetensors")]) == 0
    model = load_model(tmp_path / "next.safetensors")
    path = find_weights(None)
    assert path is not None
    shipped = read_weights(path).tensors
    own = model.network.state_dict()
    same = {name for name in shipped if torch.equal(own[name], shipped[name])}
    assert all(name in same for name in shipped if name.startswith("segmenter.")) and len(same) < len(shipped)
    assert model.weights.config["step"] == json.loads((tmp_path / "next.json").read_text("utf-8"))["step"] > 0
