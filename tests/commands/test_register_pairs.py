"""``unireg register --pairs``: one bad pair does not stop the rest, and nothing is done twice."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from unireg_cli.spatial import Grid

GRID = Grid.from_arrays((22, 20, 18), (1.5, 1.5, 1.5), (-16.0, -15.0, -13.0), np.eye(3))
WORDS = ("register", "--pairs", "pairs.csv", "--transform", "rigid", "--init", "none", "--threads", "1")


@pytest.fixture(autouse=True)
def _images(save, blobs):
    save("fix.nii.gz", blobs(GRID), GRID)
    save("one.nii.gz", blobs(GRID, (1.5, 0, 0)), GRID)
    save("two.nii.gz", blobs(GRID, (0, 1.5, 0)), GRID)


def table(*rows: tuple[str, ...], header: tuple[str, ...] = ("fixed", "moving", "output")) -> None:
    with Path("pairs.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def test_bad_pair_is_reported_and_the_rest_go_on(unireg):
    table(("fix.nii.gz", "one.nii.gz", "a_"), ("fix.nii.gz", "nope.nii.gz", "b_"), ("fix.nii.gz", "two.nii.gz", "c_"))
    done = unireg(*WORDS, "--json")
    assert done.code == 3
    assert "2 done, 0 skipped, 1 failed" in done.err and "line 3: nope.nii.gz" in done.err and "1 of 3 pairs failed (lines 3)" in done.err
    summary = json.loads(done.out)
    assert [entry["status"] for entry in summary["pairs"]] == ["done", "failed", "done"]
    assert Path("a_.json").is_file() and Path("c_Warped.nii.gz").is_file() and not list(Path().glob("b_*"))
    assert summary["pairs"][0]["result"] == json.loads(Path("a_.json").read_text())


def test_resume_skips_what_is_complete_and_finishes_the_rest(unireg):
    table(("fix.nii.gz", "one.nii.gz", "a_"), ("fix.nii.gz", "two.nii.gz", "c_"))
    assert unireg(*WORDS).code == 0
    Path("c_.json").unlink()
    before = Path("a_.json").read_bytes()
    again = unireg(*WORDS)
    assert again.code == 2 and "--resume" in again.err
    done = unireg(*WORDS, "--resume", "--json")
    assert done.code == 0, done.err
    assert [entry["status"] for entry in json.loads(done.out)["pairs"]] == ["skipped", "done"]
    assert Path("a_.json").read_bytes() == before and Path("c_.json").is_file()


def test_resume_with_other_options_is_no_success(unireg):
    table(("fix.nii.gz", "one.nii.gz", "a_"))
    assert unireg(*WORDS).code == 0
    done = unireg(*WORDS, "--resume", "--seed", "5")
    assert done.code == 2 and "settings" in done.err
    assert unireg(*WORDS, "--resume", "--seed", "5", "--overwrite").code == 0
    assert json.loads(Path("a_.json").read_text())["seed"] == 5


def test_a_cell_goes_before_the_flag_and_an_empty_one_does_not(unireg):
    table(
        ("fix.nii.gz", "one.nii.gz", "a_", "affine", "header"), ("fix.nii.gz", "two.nii.gz", "", "", ""),
        header=("fixed", "moving", "output", "transform", "init"),
    )  # fmt: skip
    done = unireg(*WORDS, "--dry-run", "--json")
    assert done.code == 0, done.err
    first, second = (run["options"] for run in json.loads(done.out)["runs"])
    assert (first["settings"]["transform"], first["settings"]["start"], first["output"]) == ("affine", "header", "a_")
    assert (second["settings"]["transform"], second["settings"]["start"], second["output"]) == ("rigid", "none", "two_to_fix")
    assert {path.name for path in Path().iterdir()} == {"fix.nii.gz", "one.nii.gz", "two.nii.gz", "pairs.csv"}


def test_a_bad_cell_fails_its_row_only(unireg):
    table(
        ("fix.nii.gz", "one.nii.gz", "a_", "much"), ("fix.nii.gz", "one.nii.gz", "b_", ""), ("fix.nii.gz",),
        header=("fixed", "moving", "output", "seed"),
    )  # fmt: skip
    done = unireg(*WORDS)
    assert done.code == 2 and "'much' is not a value of --seed" in done.err and "line 4: 1 columns" in done.err
    assert Path("b_.json").is_file() and not Path("a_.json").exists()


@pytest.mark.parametrize(
    ("header", "rows", "words", "code", "hint"),
    [
        (("fixed", "movin"), [("a", "b")], (), 2, "moving"),
        (("fixed",), [("a",)], (), 2, "moving"),
        (("fixed", "moving", "weights"), [("a", "b", "c")], (), 2, "weights"),
        (("fixed", "moving"), [], (), 3, "without any pairs"),
        (("fixed", "moving"), [("fix.nii.gz", "one.nii.gz"), ("x/fix.nii.gz", "y/one.nii.gz")], (), 2, "lines 2 and 3 would both write"),
        (("fixed", "moving"), [("fix.nii.gz", "one.nii.gz")], ("-o", "p_"), 2, "--output"),
        (("fixed", "moving"), [("fix.nii.gz", "one.nii.gz")], ("fix.nii.gz",), 2, "--fixed"),
    ],
)
def test_tables_that_make_no_sense_stop_before_any_work(unireg, folder, header, rows, words, code, hint):
    table(*rows, header=header)
    before = {path.name for path in folder.iterdir()}
    done = unireg(*WORDS, *words)
    assert done.code == code and hint in done.err and done.err.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == before


def test_missing_table(unireg):
    assert unireg("register", "--pairs", "nope.csv").code == 3
