"""``--report`` and ``--picture``: named before the run, written with everything else or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from page_reader import picture, read_page

from unireg_cli.commands.outputs import plan_outputs
from unireg_cli.errors import UsageError
from unireg_cli.options import RegisterOptions
from unireg_cli.report import sheets
from unireg_cli.spatial import Grid

FIXED = Grid.from_arrays((26, 24, 22), (1.5, 1.5, 1.6), (-19.0, -18.0, -17.0), np.eye(3))
MOVING = Grid.from_arrays((24, 26, 23), (1.6, 1.4, 1.5), (20.0, 19.0, -16.0), np.diag([-1.0, -1.0, 1.0]))
QUICK = ("--transform", "rigid", "--init", "none", "--threads", "1", "-q")
PAIR = {"fixed": "fix.nii.gz", "moving": "mov.nii.gz", "output": "out/p_"}


@pytest.fixture
def _pair(save, blobs, monkeypatch):
    monkeypatch.setattr(sheets, "_SIZES", ((48, 5, 80),))
    offset = tuple(np.array((2.0, -1.5, 1.0)) + FIXED.center_lps - MOVING.center_lps)
    save("fix.nii.gz", blobs(FIXED), FIXED)
    save("mov.nii.gz", blobs(MOVING, offset, np.int16), MOVING)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("words", "roles"),
    [
        ({}, {}),
        ({"report": True}, {"report": "out/p_report.html"}),
        ({"picture": True}, {"picture": "out/p_.png"}),
        ({"picture": ""}, {"picture": "out/p_.png"}),
        ({"picture": "here/mine.PNG"}, {"picture": "here/mine.PNG"}),
        ({"picture": False, "transform": "affine", "report": True}, {"report": "out/p_report.html"}),
    ],
)
def test_known_from_the_words_alone(words, roles):
    plan = plan_outputs(RegisterOptions.from_words({**PAIR, **words}))
    assert {role: path.as_posix() for role, path in plan.items() if role in ("picture", "report")} == roles
    assert list(plan)[-1] == "record"


def test_a_picture_is_a_png():
    with pytest.raises(UsageError, match=r"mine\.jpg: a picture is written as PNG"):
        RegisterOptions.from_words({**PAIR, "picture": "mine.jpg"})


@pytest.mark.usefixtures("_pair")
def test_page_of_a_deformable_run(unireg, folder):
    done = unireg("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", "--report", "--picture", "mine.png", "--fast", "--threads", "1")
    assert done.code == 0, done.err
    assert {"p_report.html", "mine.png"} <= names(folder) and "p_.png" not in names(folder)
    record = json.loads(Path("p_.json").read_text())
    assert record["outputs"]["report"] == "p_report.html" and record["outputs"]["picture"] == "mine.png"
    assert "report" in [stage["name"] for stage in record["timing"]["stages"]]
    page = read_page(Path("p_report.html").read_text("utf-8"))
    assert json.loads(page.all("pre", **{"class": "record"})[0].text) == record
    values = {node.attributes["class"]: float(node.attributes["value"] or "nan") for node in page.all("data")}
    assert values["similarity"] == record["quality"]["similarity_after"]
    # Drawn from the field of the run itself: the spread inside the body is that of the JSON.
    assert values["sd-logj"] == pytest.approx(record["quality"]["regularity_foreground"]["sdlogj"], rel=1e-3, abs=1e-5)
    assert len([picture(node) for node in page.all("img")]) == 3 * 7 + 1
    command = page.all("pre", **{"class": "command"})[0].text
    assert command == "unireg register --fixed fix.nii.gz --moving mov.nii.gz --output p_ --fast --threads=1 --report --picture=mine.png"


@pytest.mark.usefixtures("_pair")
def test_the_usual_picture_and_a_page_without_a_field(unireg, folder):
    done = unireg("register", "--picture", "fix.nii.gz", "mov.nii.gz", "-o", "p_", *QUICK, "--report")
    assert done.code == 0, done.err
    assert {"p_.png", "p_report.html", "p_.json"} <= names(folder)
    assert not read_page(Path("p_report.html").read_text("utf-8")).all("svg")
    # Nothing is replaced unasked, a picture of one's own least of all.
    Path("keep.png").write_bytes(b"mine")
    refused = unireg("register", "fix.nii.gz", "mov.nii.gz", "-o", "q_", "--picture", "keep.png", *QUICK)
    assert refused.code == 2 and "keep.png exists" in refused.err and Path("keep.png").read_bytes() == b"mine"


@pytest.mark.usefixtures("_pair")
def test_a_page_that_fails_leaves_nothing(unireg, folder, monkeypatch):
    before = names(folder)

    def fail(*_words, **_more):
        raise RuntimeError("no ink")

    monkeypatch.setattr("unireg_cli.report.registration_page.report_html", fail)
    done = unireg("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", "--report", *QUICK)
    assert done.code == 1 and "no ink" in done.err and names(folder) == before


@pytest.mark.usefixtures("_pair")
def test_many_pairs_get_a_page_each(unireg, folder):
    Path("pairs.csv").write_text("fixed,moving,output\nfix.nii.gz,mov.nii.gz,a_\nmov.nii.gz,fix.nii.gz,b_\nfix.nii.gz,none.nii.gz,c_\n")
    words = ("register", "--pairs", "pairs.csv", "--transform", "rigid", "--init", "none", "--threads", "1")
    refused = unireg(*words, "--picture", "one.png")
    assert refused.code == 2 and "--picture" in refused.err
    done = unireg(*words)
    assert done.code == 3 and "a_report.html" not in names(folder)
    # Finished without a page: --resume makes what is missing, and nothing twice.
    again = unireg(*words, "--report", "--picture", "--resume", "--json")
    assert again.code == 3
    pairs = json.loads(again.out)["pairs"]
    assert [entry["status"] for entry in pairs] == ["done", "done", "failed"]
    assert {"a_report.html", "b_report.html", "a_.png", "b_.png"} <= names(folder) and "c_report.html" not in names(folder)
    title = read_page(Path("b_report.html").read_text("utf-8")).all("title")[0].text
    assert title == "fix.nii.gz to mov.nii.gz"
    third = json.loads(unireg(*words, "--report", "--picture", "--resume", "--json").out)["pairs"]
    assert [entry["status"] for entry in third] == ["skipped", "skipped", "failed"]
