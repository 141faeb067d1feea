"""Weights, configs and lists of pairs that are quick to learn from, looks that follow a script, and what a run has told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.config import Segmenting, TrainConfig
from trainer.config_file import read_config
from trainer.finetune_look import Exam, Look
from trainer.finetune_options import Options
from unireg_cli.io.weights import WeightsFile, read_weights, write_weights
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.network import Network, settings_as_json
from unireg_cli.model.settings import NetworkSettings

SMALL = NetworkSettings(
    vocabulary().size, encoder=(8, 8), match=(4, 4), decoder=(8, 8), reach=(1.0, 2.0), neighbours=(7, 7), condition=8, embedding=4, hidden=4
)


def base_weights(path: Path, settings: NetworkSettings = SMALL, *, seed: int = 0, **changes: Any) -> WeightsFile:
    """Weights whose network moves things a little and minds its condition, and whose segmenter is relied on."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = Network(settings)
        network.conditions.anatomy.normal_(0, 0.5)
        for level in network.levels:
            level.head.controller.weight.normal_(0, 0.02)  # type: ignore[union-attr]
        if network.segmenter is not None:
            network.segmenter.trust.fill_(1.0)
    config = {
        "name": path.stem,
        "network": settings_as_json(settings),
        "trained": {"real": ["liver"], "synthetic": []},
        "smoothness": 0.5,
        "step": 7,
        "licence": "for tests",
    }
    write_weights(path, network.state_dict(), config | changes)
    return read_weights(path)


def listed(organs: Path, name: str, scans: Sequence[int] = range(5), *, labelled: bool = True, **changes: Any) -> Path:
    """Another list of the scans of the fixture ``organs``, in its folder; a change to None takes a key away."""
    content = json.loads((organs / "dataset.json").read_text()) | {"name": name, "region": "abdomen"}
    content["training"] = [content["training"][k] if labelled else {"image": content["training"][k]["image"]} for k in scans]
    content |= changes
    path = organs / f"{name}.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return path


def twins(organs: Path) -> Path:
    """A list of one scan and its copy: whatever moves them makes them worse."""
    one = json.loads((organs / "dataset.json").read_text())["training"][3]
    other = {key: name.replace("3.nii.gz", "3_copy.nii.gz") for key, name in one.items()}
    for key, name in one.items():
        shutil.copy(organs / name, organs / other[key])
    return listed(organs, "twins", training=[one, other])


def options(pairs: Path, folder: Path, base: WeightsFile, **changes: Any) -> Options:
    """A run of four steps with a look after every second."""
    words = {"pairs": pairs, "output": folder / "mine.safetensors", "weights": base.path, "steps": 4, "look_every": 2}
    return Options(**(words | {"voxels": (4000, 8000), "device": "cpu"} | changes))


def small_views(path: Path, **changes: Any) -> TrainConfig:
    """The config in a file, with little for its segmenter to look at."""
    return replace(read_config(path), segmenting=Segmenting(voxels=(8_000, 8_000), box=8_000), **changes)


def scripted(monkeypatch: pytest.MonkeyPatch, qualities: list[float], seen: list[torch.Tensor] | None = None) -> None:
    """Looks that see what the script says, before the first step and at every look."""
    script = iter(qualities)

    def look(_exam: Exam, network: Network, _request: Any, _smoothness: Any, step: int) -> Look:
        if seen is not None:
            seen.append(network.state_dict()["levels.0.head.controller.bias"].clone())
        return Look(step, next(script), 0.1, 0.0)

    monkeypatch.setattr(Exam, "look", look)


def told(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    return found
