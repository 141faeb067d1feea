"""``unireg report``: an index of what is there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from drawn import record, registration, stretched
from page_reader import read_page

from unireg_cli.report import sheets
from unireg_cli.spatial import Grid


@pytest.fixture
def results(folder):
    for name, after in (("good", 0.8), ("bad", 0.2)):
        made = record(registration(stretched()), similarity_affine=0.3, similarity_after=after)
        made["options"]["moving"] = f"{name}.nii.gz"
        (folder / "results" / name).mkdir(parents=True)
        (folder / "results" / name / "p_.json").write_text(json.dumps(made))
    return Path("results")


def order(page: str) -> list[str]:
    return [row[1].split(".")[0] for row in read_page(Path(page).read_text("utf-8")).all("table", **{"class": "runs"})[0].cells()]


def test_index_of_a_folder(unireg, results):
    done = unireg("report", results)
    assert done.code == 0 and done.out == "", done.err
    assert order("results/index.html") == ["bad", "good"]
    lines = done.err.splitlines()
    assert "bad/p_.json" in lines[0] and "similarity 0.300 → 0.300 → 0.200" in lines[0]
    assert lines[-1] == f"2 runs; wrote {results / 'index.html'}"
    # Its own page is replaced, nobody else's is.
    (results / "good" / "p_.json").unlink()
    assert unireg("report", results, "-q").code == 0 and order("results/index.html") == ["bad"]
    Path("mine.html").write_text("mine")
    refused = unireg("report", results, "-o", "mine.html")
    assert refused.code == 2 and "mine.html exists" in refused.err and Path("mine.html").read_text() == "mine"
    assert unireg("report", results, "-o", "mine.html", "--overwrite").code == 0 and order("mine.html") == ["bad"]


def test_a_broken_file_is_listed_and_not_fatal(unireg, results):
    (results / "cut.json").write_text('{"schema')
    done = unireg("report", results, "-o", "index.html")
    assert done.code == 0 and "3 runs, 1 of them failed or unreadable" in done.err
    assert order("index.html") == ["cut", "bad", "good"]


@pytest.mark.parametrize(("folder_asked", "hint"), [("no", "no such folder"), (".", "no result of unireg register")])
def test_nothing_to_gather(unireg, folder_asked, hint):
    done = unireg("report", folder_asked)
    assert done.code == 3 and hint in done.err and done.err.count("\n") == 1


def test_an_input_is_never_written_over(unireg, results):
    done = unireg("report", results, "-o", results / "bad" / "p_.json", "--overwrite")
    assert done.code == 2 and "is an input" in done.err
    assert unireg("report", results, "-o", "no/index.html").code == 2


def test_what_register_wrote_is_gathered(unireg, folder, save, blobs, monkeypatch):
    monkeypatch.setattr(sheets, "_SIZES", ((48, 5, 80),))
    grid = Grid.from_arrays((20, 20, 20), (1.5, 1.5, 1.6), (-15.0, -15.0, -15.0), np.eye(3))
    save("fix.nii.gz", blobs(grid), grid)
    save("mov.nii.gz", blobs(grid, (2.0, 1.0, 0.0)), grid)
    (folder / "runs").mkdir()
    words = ("--transform", "rigid", "--init", "none", "--threads", "1", "-q")
    assert unireg("register", "fix.nii.gz", "mov.nii.gz", "-o", "runs/a_", "--report", *words).code == 0
    assert unireg("register", "mov.nii.gz", "fix.nii.gz", "-o", "runs/b_", *words).code == 0
    done = unireg("report", "runs")
    assert done.code == 0, done.err
    page = read_page(Path("runs/index.html").read_text("utf-8"))
    assert sorted(node.attributes["href"] for node in page.all("a")) == ["a_.json", "a_report.html", "b_.json"]
    after = json.loads(Path("runs/a_.json").read_text())["quality"]["similarity_after"]
    assert repr(after) in [node.attributes["value"] for node in page.all("data")]
