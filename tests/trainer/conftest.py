"""A labelled data set that is quick to learn from, and the config of a run on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import trainer.finetune_lesson
from unireg_cli.spatial import Affine

_ORGANS = {1: ("liver", (-9.0, 2.0, 0.0), 9.0), 2: ("spleen", (12.0, -3.0, 4.0), 6.0), 3: ("kidney_left", (8.0, 8.0, -9.0), 5.0)}
_SIZE = (28, 26, 24)
_SPACING = (2.0, 2.0, 2.2)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """So small tensors are slower on several threads, and sums there depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def aligned_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """People whose scans lie as they should: how the pairs of an adaptation are aligned is tested elsewhere."""
    monkeypatch.setattr(trainer.finetune_lesson, "prealign", lambda _data, pairs, _cache: {key: Affine.identity() for key in pairs})


def _draw(person: int) -> tuple[np.ndarray, np.ndarray]:
    """A body with three organs whose places and sizes differ from person to person: brightness and labels (z, y, x)."""
    random = np.random.default_rng(person)
    z, y, x = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(_SIZE[::-1], _SPACING[::-1], strict=True)], indexing="ij")
    image = np.where((x / 26) ** 2 + (y / 23) ** 2 + (z / 25) ** 2 < 1, 60.0, 0.0)
    labels = np.zeros(image.shape, np.uint8)
    for value, (_, middle, radius) in _ORGANS.items():
        cx, cy, cz = np.asarray(middle) + random.uniform(-2, 2, 3)
        a, b, c = radius * random.uniform(0.85, 1.15, 3)
        inside = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 + ((z - cz) / c) ** 2 < 1
        image[inside], labels[inside] = 80 + 40 * value, value
    return (image + random.normal(0, 3, image.shape)).astype(np.float32), labels


def _write(path: Path, voxels: np.ndarray) -> str:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(_SPACING)
    sitk.WriteImage(image, str(path))
    return path.name


@pytest.fixture(scope="session")
def organs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset.json of five people: three to learn from, two to choose by; and a place for their affines."""
    folder = tmp_path_factory.mktemp("organs")
    listed = []
    for person in range(5):
        image, labels = _draw(person)
        listed.append({"image": _write(folder / f"scan{person}.nii.gz", image), "label": _write(folder / f"labels{person}.nii.gz", labels)})
    names = {"0": "background"} | {str(value): name for value, (name, _, _) in _ORGANS.items()}
    content = {"name": "organs", "mode": "inter", "modality": {"0": "MR"}, "labels": {"0": names}, "training": listed}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def recipe(organs: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a TOML for a small run on ``organs``: two levels, few channels; ``changes`` replace or add plain keys."""

    def write(name: str = "run", **changes: object) -> Path:
        keys = {"output": name, "cache": str(organs / "cache"), "steps": 6, "tune_every": 4, "save_every": 2, "log_every": 2, "points": 20}
        lines = [f"{key} = {json.dumps(value)}" for key, value in (keys | changes).items()]
        lines += ["[[sources]]", f"path = {json.dumps(str(organs / 'dataset.json'))}", "voxels = [4000, 8000]", "synthetic_intra = 0.3"]
        lines += ["[network]", "encoder = [8, 8]", "match = [4, 4]", "decoder = [8, 8]", "reach = [1, 2]", "neighbours = [7, 7]"]
        lines += ["condition = 8", "embedding = 4", "hidden = 4", "[optimiser]", "warmup = 2", "rate = 1e-3"]
        path = tmp_path / f"{name}.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write
