"""The base of an adapter is found by its SHA-256, or its absence is said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from unireg_cli.errors import WeightsError
from unireg_cli.io.adapter import find_base
from unireg_cli.io.weights import write_weights
from unireg_cli.io.weights_config import is_adapter, read_config, weights_summary

CONFIG: dict[str, Any] = {
    "name": "base",
    "network": {"width": 4},
    "trained": {"real": [], "synthetic": []},
    "smoothness": 0.5,
    "step": 1,
    "licence": "for tests",
}


def weights(path: Path, value: float = 0.0, **changes: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    write_weights(path, {"a": torch.full((2,), value)}, CONFIG | {"name": path.stem} | changes)
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return weights(tmp_path / "elsewhere" / "base.safetensors")


@pytest.fixture
def adapter(base: Path, tmp_path: Path, shipped: Path) -> Path:
    made_for = {"name": "base", "sha256": read_config(base)["sha256"]}
    return weights(tmp_path / "own" / "mine.safetensors", 5, adapter={"base": made_for, "anatomy": "liver", "rows": {"a": [1]}})


def copy(base: Path, path: Path) -> Path:
    for suffix in (".safetensors", ".json"):
        shutil.copy(base.with_suffix(suffix), path.with_suffix(suffix))
    return path


def test_base_is_found_beside_shipped_or_named(
    base: Path, adapter: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_config(adapter)
    beside = copy(base, adapter.parent / "renamed.safetensors")
    assert find_base(adapter, config) == beside
    beside.unlink()
    # A foreign JSON and foreign weights in the same folder do not disturb.
    (adapter.parent / "renamed.json").write_text("{")
    shipped_one = copy(base, shipped / "unireg-base.safetensors")
    assert find_base(adapter, config) == shipped_one
    monkeypatch.setenv("UNIREG_WEIGHTS", str(base))
    assert find_base(adapter, config) == base


def test_wrong_base_is_named(adapter: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = read_config(adapter)
    with pytest.raises(WeightsError, match=r"made for the weights base with SHA-256 .*, which are not here \(no other weights are here\)"):
        find_base(adapter, config)
    other = weights(shipped / "base.safetensors", 1.0)
    found = read_config(other)["sha256"][:12]
    with pytest.raises(WeightsError, match=rf"which are not here \(base\.safetensors is {found}\.\.\.\); put them beside it") as raised:
        find_base(adapter, config)
    assert raised.value.exit_code == 4 and "\n" not in str(raised.value)
    # Naming the adapter by the variable does not make it its own base.
    monkeypatch.setenv("UNIREG_WEIGHTS", str(adapter))
    with pytest.raises(WeightsError, match="which are not here"):
        find_base(adapter, config)


def test_json_says_what_it_is_laid_over(base: Path, adapter: Path) -> None:
    config = read_config(adapter)
    assert is_adapter(config) and not is_adapter(read_config(base))
    summary = weights_summary(config)
    assert summary["base"] == {"name": "base", "sha256": read_config(base)["sha256"]} and summary["anatomy"] == "liver"
    assert set(weights_summary(read_config(base))) == {"name", "sha256", "step"}


@pytest.mark.parametrize("wrong", [{}, {"base": {}}, {"base": {"name": "b", "sha256": "7"}, "anatomy": "x", "rows": {}}, "base"])
def test_damaged_description_is_refused(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(WeightsError, match='"adapter" must be an object'):
        weights(tmp_path / "mine.safetensors", adapter=wrong)
