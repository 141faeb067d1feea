"""``unireg register`` with segmentations, landmarks and a second answer, on small images."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import unireg_cli
from unireg_cli.spatial import Grid

GRID = Grid.from_arrays((22, 20, 18), (1.5, 1.5, 1.5), (-16.0, -15.0, -13.0), np.eye(3))
SHIFT = (1.5, -1.5, 0.0)
WORDS = ("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", "--threads", "1", "--init", "none", "--weights", "none", "--iterations", "3")
SEG = ("--fixed-seg", "fix_seg.nii.gz", "--moving-seg", "mov_seg.nii.gz")
POINTS = ("--fixed-points", "fix.csv", "--moving-points", "mov.csv")


def balls(shift: tuple[float, float, float] = (0.0, 0.0, 0.0), radius: float = 4.5) -> np.ndarray:
    """Labels 1 and 2, two balls in space."""
    points = GRID.points_lps() - GRID.center_lps - np.asarray(shift)
    return sum(
        ((np.linalg.norm(points - np.asarray(place), axis=-1) < radius) * label for place, label in (((-5, 0, 0), 1), ((5, 1, 0), 2))),
        start=np.zeros(GRID.shape, int),
    ).astype(np.uint8)


def table(name: str, points: np.ndarray) -> None:
    with Path(name).open("w", newline="") as stream:
        csv.writer(stream).writerows([("x", "y", "z"), *points.tolist()])


@pytest.fixture(autouse=True)
def _files(save, blobs, shipped):
    save("fix.nii.gz", blobs(GRID), GRID)
    save("mov.nii.gz", blobs(GRID, SHIFT), GRID)
    save("fix_seg.nii.gz", balls(), GRID)
    # Larger than in the fixed image, which no affine of these images mends.
    save("mov_seg.nii.gz", balls(SHIFT, 5.5), GRID)
    points = GRID.center_lps + np.array([[0.0, 0, 0], [4, 0, 0], [-4, 2, 1], [0, -5, 2]])
    table("fix.csv", points)
    table("mov.csv", points + np.asarray(SHIFT))


def test_the_record_says_what_steered_and_what_came_of_it(unireg):
    asked = ("--fixed-mask", "fix_seg.nii.gz", "--seg-labels", "1=liver,2=spleen", "--anatomy", "liver", "--smoothness", "0.3")
    done = unireg(*WORDS, *SEG, *POINTS, *asked, "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record == json.loads(Path("p_.json").read_text())
    steering = record["steering"]
    assert (steering["anatomy"], steering["mode"], steering["smoothness"]) == (["liver"], "inter", 0.3)
    assert steering["stiffness"] == pytest.approx(0.8) and steering["attention"] is None
    liver, spleen = steering["structures"]
    assert (liver["label"], liver["name"], liver["steers"], spleen["name"], spleen["steers"]) == (1, "liver", True, "spleen", False)
    assert liver["dice_after"] > liver["dice_before"] + 0.05 and liver["dice_network"] is None
    landmarks = steering["landmarks"]
    assert landmarks["count"] == landmarks["steering"] == 4 and len(landmarks["after_mm"]) == 4
    assert landmarks["after"]["mean_mm"] < 1.0
    assert record["options"]["steering"]["seg_labels"] == [[1, "liver"], [2, "spleen"]]
    assert record["quality"]["regularity"]["folding_percent"] == 0


def test_a_run_without_guides_says_what_it_was_asked_for(unireg):
    done = unireg(*WORDS, "--mode", "intra", "--json")
    assert done.code == 0, done.err
    steering = json.loads(done.out)["steering"]
    assert (steering["anatomy"], steering["mode"], steering["stiffness"]) == (["all"], "intra", pytest.approx(1.2))
    assert steering["structures"] == [] and steering["landmarks"] is None and steering["attention"] is None
    assert steering["scales"][-1]["most_steps"] == 3


def test_two_answers_side_by_side_from_one_affine(unireg, folder):
    words = (*WORDS, *SEG, "--seg-labels", "1=liver,2=spleen", "--anatomy", "liver", "--compare-with", "all")
    plan = unireg(*words, "--dry-run", "--json")
    assert plan.code == 0, plan.err
    named = {path for run in json.loads(plan.out)["runs"] for path in run["outputs"].values()}
    before = {path.name for path in folder.iterdir()}
    done = unireg(*words)
    assert done.code == 0, done.err
    assert {path.name for path in folder.iterdir()} - before == named and {"p_Warped.nii.gz", "p_all_Warped.nii.gz"} < named
    first, second = (json.loads(Path(name).read_text()) for name in ("p_.json", "p_all_.json"))
    assert first["affine"] == second["affine"] and first["steering"]["anatomy"] == ["liver"] and second["steering"]["anatomy"] == ["all"]
    assert [part["steers"] for part in first["steering"]["structures"]] == [True, False]
    assert [part["steers"] for part in second["steering"]["structures"]] == [True, True]
    assert "align" not in {stage["name"] for stage in second["timing"]["stages"]}
    lines = done.out.splitlines()
    assert lines[0].split() == ["liver", "all"] and any(line.startswith("SDlogJ") for line in lines)
    liver = next(line.split() for line in lines if line.startswith("Dice liver"))
    assert liver[2] == f"{first['steering']['structures'][0]['dice_after']:.4f}*"


def test_columns_of_a_table_steer(unireg):
    header = ("fixed", "moving", "output", "fixed_seg", "moving_seg", "seg_labels", "fixed_points", "moving_points", "space")
    row = ("fix.nii.gz", "mov.nii.gz", "t_", "fix_seg.nii.gz", "mov_seg.nii.gz", "1=liver", "fix.csv", "mov.csv", "lps")
    bad = ("fix.nii.gz", "mov.nii.gz", "u_", "fix_seg.nii.gz", "", "", "", "", "")
    with Path("pairs.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([header, row, bad])
    done = unireg("register", "--pairs", "pairs.csv", *WORDS[5:])
    assert done.code == 2 and "line 3: --fixed-seg steers only together with --moving-seg" in done.err
    steering = json.loads(Path("t_.json").read_text())["steering"]
    assert steering["structures"][0]["name"] == "liver" and steering["landmarks"]["count"] == 4


def test_from_python(save):
    points = np.loadtxt("fix.csv", delimiter=",", skiprows=1)
    done = unireg_cli.register(
        "fix.nii.gz", "mov.nii.gz", fixed_seg="fix_seg.nii.gz", moving_seg="mov_seg.nii.gz", seg_labels={1: "liver"}, fixed_points=points,
        moving_points=points + np.asarray(SHIFT), weights="none", init="none", iterations=3,
    )  # fmt: skip
    steering = done.record()["steering"]
    assert steering["structures"][0]["name"] == "liver" and steering["landmarks"]["after"]["mean_mm"] < 1.0


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (SEG[:2], 2, "--fixed-seg steers only together with --moving-seg"),
        ((*SEG, "--fast"), 2, "leave out --fast"),
        ((*SEG, "--seg-labels", "9=liver"), 3, "label 9 (liver) is absent"),
        (("--fixed-seg", "far.nii.gz", "--moving-seg", "mov_seg.nii.gz"), 3, "far.nii.gz: does not overlap fix.nii.gz in space"),
        (("--fixed-seg", "nope.nii.gz", "--moving-seg", "mov_seg.nii.gz"), 3, "nope.nii.gz: no such file"),
        (("--fixed-points", "outside.csv", "--moving-points", "mov.csv"), 3, "outside.csv: point 1 at (500.0, 0.0, 0.0) mm"),
        (("--fixed-points", "short.csv", "--moving-points", "mov.csv"), 3, "short.csv has 3 points and mov.csv 4"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing(unireg, save, folder, words, code, hint):
    save("far.nii.gz", balls(), GRID.padded((200, 0, 0), (-200, 0, 0)))
    table("outside.csv", np.full((4, 3), (500.0, 0, 0)))
    table("short.csv", np.zeros((3, 3)))
    before = {path.name for path in folder.iterdir()}
    done = unireg(*WORDS, *words)
    assert done.code == code and hint in done.err and done.err.count("\n") == 1, done.err
    assert {path.name for path in folder.iterdir()} == before
