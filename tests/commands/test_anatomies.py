"""``unireg anatomies``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from unireg_cli.commands.anatomies import anatomies
from unireg_cli.errors import UsageError


@pytest.fixture
def listing(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def call(region: str | None = None, as_json: bool = False) -> str:
        anatomies(region, as_json)
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
    assert set(found) == {"structures", "groups", "regions"}
    rows = {row["name"]: row for row in found["structures"]}
    assert rows["sacrum"]["regions"] == ["spine", "pelvis"]
    assert rows["vertebrae_C1"]["part_of"] == ["vertebrae_cervical"]
    groups = {row["name"]: row["structures"] for row in found["groups"]}
    assert groups["vertebrae_lumbar"] == [f"vertebrae_L{n}" for n in range(1, 6)]


def test_unknown_region_lists_the_regions() -> None:
    with pytest.raises(UsageError, match="--region leg: no such region; choose brain, head_neck, chest"):
        anatomies("leg")


def test_listing_loads_nothing_heavy() -> None:
    code = "import sys; from unireg_cli.commands.anatomies import anatomies; anatomies(); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "numpy", "SimpleITK", "scipy", "matplotlib"}.isdisjoint(done.stderr.split())
