"""``unireg anatomies``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from unireg_cli.__main__ import main
from unireg_cli.commands.anatomies import anatomies
from unireg_cli.errors import UsageError, WeightsError


@pytest.fixture
def listing(capsys: pytest.CaptureFixture[str], shipped: Path) -> Callable[..., str]:
    def call(region: str | None = None, weights: Path | None = None, as_json: bool = False) -> str:
        anatomies(region, None if weights is None else str(weights), as_json)
        said = capsys.readouterr()
        assert said.err == ""
        return said.out

    return call


def line_of(text: str, name: str) -> str:
    return " ".join(next(line for line in text.splitlines() if line.split()[0] == name).split())


def test_every_kind_of_name_is_listed(listing: Callable[..., str]) -> None:
    text = listing()
    assert line_of(text, "kidney_left") == "kidney_left abdomen LK"
    assert line_of(text, "aorta") == "aorta chest, abdomen"
    assert line_of(text, "ribs") == "ribs group of 24 rib, ribcage"
    assert line_of(text, "chest").startswith("chest region of ")
    assert len(text.splitlines()) > 300


def test_region_by_any_of_its_names(listing: Callable[..., str]) -> None:
    text = listing("Cardiac")
    assert text == listing("heart")
    names = [line.split()[0] for line in text.splitlines()]
    assert {"heart_ventricle_left", "heart_ventricles"} <= set(names)
    assert {"liver", "kidneys", "chest"}.isdisjoint(names)


def test_json_is_one_object(listing: Callable[..., str]) -> None:
    found = json.loads(listing("spine", as_json=True))
    assert set(found) == {"weights", "structures", "groups", "regions"} and found["weights"] is None
    assert {row["trained"] for rows in (found["structures"], found["groups"], found["regions"]) for row in rows} == {None}
    rows = {row["name"]: row for row in found["structures"]}
    assert rows["sacrum"]["regions"] == ["spine", "pelvis"]
    assert rows["vertebrae_C1"]["part_of"] == ["vertebrae_cervical"]
    groups = {row["name"]: row["structures"] for row in found["groups"]}
    assert groups["vertebrae_lumbar"] == [f"vertebrae_L{n}" for n in range(1, 6)]


def test_how_the_weights_were_trained_is_shown(listing: Callable[..., str], save_weights: Callable[..., Path], tmp_path: Path) -> None:
    """By hand: liver and hippocampus_left have real labels (liver painted ones, too), the spleen painted ones only."""
    path = save_weights(tmp_path / "tiny.safetensors")
    text = listing(weights=path)
    assert " ".join(text.splitlines()[0].split()) == "name region trained (tiny) also called"
    assert line_of(text, "liver") == "liver abdomen real labels hepar"
    assert line_of(text, "spleen") == "spleen abdomen synthetic"
    assert line_of(text, "hippocampus_right").startswith("hippocampus_right brain by its region only")
    assert line_of(text, "ribs") == "ribs group of 24 24 by its region only rib, ribcage"
    found = json.loads(listing("abdomen", path, as_json=True))
    assert found["weights"] == {"name": "tiny", "step": 12, "sha256": json.loads(path.with_suffix(".json").read_text())["sha256"]}
    rows = {row["name"]: row for row in found["structures"]}
    assert [rows[name]["trained"] for name in ("liver", "spleen", "pancreas")] == ["real", "synthetic", "region"]
    (region,) = [row for row in found["regions"] if row["name"] == "abdomen"]
    assert region["trained"] == {"real": 1, "synthetic": 1, "region": region["structures"] - 2}


def test_the_shipped_weights_are_shown_unless_none_or_others_are_asked_for(
    listing: Callable[..., str], save_weights: Callable[..., Path], shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_weights(shipped / "unireg-base.safetensors")
    assert "trained (unireg-base)" in listing("spine")
    assert "trained" not in listing("spine", Path("none"))
    monkeypatch.setenv("UNIREG_WEIGHTS", str(save_weights(shipped / "mine.safetensors")))
    assert "trained (mine)" in listing("spine")


def test_weights_that_cannot_be_used_are_an_error(save_weights: Callable[..., Path], tmp_path: Path) -> None:
    path = save_weights(tmp_path / "tiny.safetensors", trained={"real": ["warp_core"], "synthetic": []})
    with pytest.raises(WeightsError, match="does not know: warp_core; update unireg"):
        anatomies(weights=str(path))
    with pytest.raises(WeightsError, match="no such file"):
        anatomies(weights=str(tmp_path / "nope.safetensors"))


def test_the_command_line_reaches_it(capsys: pytest.CaptureFixture[str], save_weights: Callable[..., Path], tmp_path: Path) -> None:
    path = save_weights(tmp_path / "tiny.safetensors")
    assert main(["anatomies", "--region", "heart", "--weights", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights"]["name"] == "tiny"


def test_unknown_region_lists_the_regions() -> None:
    with pytest.raises(UsageError, match="--region leg: no such region; choose brain, head_neck, chest"):
        anatomies("leg")


def test_listing_loads_nothing_heavy(save_weights: Callable[..., Path], tmp_path: Path) -> None:
    """Nor a tensor: the weights' own file is empty here."""
    path = save_weights(tmp_path / "tiny.safetensors")
    path.write_bytes(b"")
    code = "import sys; from unireg_cli.commands.anatomies import anatomies; anatomies(weights=sys.argv[1]);"
    code += "print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "trained (tiny)" in done.stdout
    assert {"torch", "numpy", "SimpleITK", "scipy", "matplotlib", "safetensors"}.isdisjoint(done.stderr.split())
