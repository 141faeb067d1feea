"""The report of a real brain pair: small enough, whole, and silent in a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from page_reader import picture, read_page, run_in_chromium

from unireg_cli.__main__ import main


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["affine", "deformable"])
def test_page_of_a_real_pair(kind: str, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "brain_mr"
    pair = json.loads((folder / "dataset.json").read_text())["registration_val"][0]
    words = ["register", str(folder / pair["fixed"]), str(folder / pair["moving"]), "-o", str(tmp_path / "p_"), "--report", "-q"]
    assert main([*words, "--transform", kind, *(["--fast"] if kind == "deformable" else [])]) == 0
    file = tmp_path / "p_report.html"
    assert 300_000 < file.stat().st_size < 3_000_000
    page = read_page(file.read_text("utf-8"))
    # Nothing was so large that the pictures had to be made smaller.
    assert max(picture(node).size[0] for node in page.all("img", **{"class": "sheet"})) == 208
    assert len(page.all("img", **{"class": "sheet"})) == (21 if kind == "deformable" else 15)
    dom = read_page(run_in_chromium(file, tmp_path))
    assert next(node for node in dom.all("div") if node.attributes.get("id") == "viewer").attributes["data-ready"] == "yes"
