"""The comparison's own machinery on a drawn pair: rows, starts, resuming, failures, and processes that end badly."""

from __future__ import annotations

import csv
import json
import sys

import benchmark
import numpy as np
import pytest
import SimpleITK as sitk
from benchmark import pair_limits
from common import matrix_of, ras_from_lps, write_affine
from environments import EnvironmentMissing
from judging import NotScored, hausdorff, scores
from processes import run_process

# The ball of the moving image lies so far from the fixed one's, mm: where a fixed point's tissue is found.
SHIFT = (3.0, -4.0, 2.0)
SCORER = """
import json, sys
import numpy as np, SimpleITK as sitk
fixed, moving = (sitk.ReadImage(path) for path in sys.argv[1:3])
warped = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, sitk.ReadTransform(sys.argv[3]), sitk.sitkNearestNeighbor, 0)) > 0
here = sitk.GetArrayFromImage(fixed) > 0
print(json.dumps({"dice": 2 * float((here & warped).sum() / (here.sum() + warped.sum())), "labels": 1, "fold_pct": 0.0, "sdlogj_in": 0.0}))
"""


def ball(center) -> tuple[sitk.Image, sitk.Image]:
    """A smooth ball of radius 7 mm about an LPS point on a flipped grid of 1 mm voxels, and its label."""
    image = sitk.Image([30, 32, 28], sitk.sitkFloat32)
    image.SetOrigin((14.0, 16.0, -14.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    z, y, x = np.meshgrid(np.arange(28), np.arange(32), np.arange(30), indexing="ij")
    points = np.stack((14.0 - x, 16.0 - y, z - 14.0), -1)
    apart = np.linalg.norm(points - np.asarray(center), axis=-1)
    drawn = []
    for voxels in (100 / (1 + np.exp(apart - 7)).astype(np.float32), (apart < 7).astype(np.uint8)):
        drawn.append(sitk.GetImageFromArray(voxels))
        drawn[-1].CopyInformation(image)
    return drawn[0], drawn[1]


@pytest.fixture
def place(tmp_path):
    """A folder with a set of one pair of one person, a scorer, and the true shift as the start that all tools share."""
    for name, center in (("a", (0.0, 0.0, 0.0)), ("b", SHIFT)):
        for kind, image in zip(("images", "labels"), ball(center), strict=True):
            (tmp_path / "balls" / kind).mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(image, str(tmp_path / "balls" / kind / f"{name}.nii.gz"))
    pair = {"fixed": "images/a.nii.gz", "moving": "images/b.nii.gz"}
    facts = {"name": "balls", "mode": "intra", "labels": {"0": {"0": "background", "1": "ball"}}, "registration_val": [pair]}
    (tmp_path / "balls" / "dataset.json").write_text(json.dumps(facts))
    (tmp_path / "score.py").write_text(SCORER)
    start = tmp_path / "work" / "starts" / "affine" / "balls" / "b_to_a.tfm"
    start.parent.mkdir(parents=True)
    sitk.WriteTransform(sitk.TranslationTransform(3, SHIFT), str(start))
    return tmp_path


@pytest.fixture
def run(place, monkeypatch):
    """The benchmark in this process, where no environment can be made; returns the exit code and the rows."""

    def python_of(environment, work):
        if environment == "here":
            return sys.executable
        raise EnvironmentMissing(f"pip install {environment} failed: no network")

    monkeypatch.setattr(benchmark, "python_of", python_of)

    def call(*words):
        known = ["--data", place, "--scorer", place / "score.py", "-o", place / "out", "--work", place / "work", "--threads", "1"]
        code = benchmark.main([str(word) for word in (*known, "--sets", "balls", *words)])
        with (place / "out" / "balls.csv").open(newline="") as file:
            return code, list(csv.DictReader(file))

    return call


def test_a_row_has_scores_and_costs_of_the_written_transform(run):
    code, rows = run("--tools", "none", "--starts", "own", "affine")
    assert code == 0 and [row["start"] for row in rows] == ["own", "affine"]
    own, shared = rows
    # The true shift moves every voxel of the ball onto one of the other's; the header leaves them 5.4 mm apart.
    assert float(shared["dice"]) == 1.0 and float(shared["hd95"]) == 0.0
    assert float(own["dice"]) < 0.6 and float(own["hd95"]) > 3
    assert own["status"] == "done" and own["lost"] == "0" and float(own["process_seconds"]) > 0 and float(own["peak_rss_mb"]) > 20
    assert (own["set"], own["fixed"], own["moving"], own["threads"]) == ("balls", "a", "b", "1")
    assert all(person.startswith("balls/") for person in own["persons"].split(";"))


def test_finished_rows_are_not_made_again_and_failed_ones_when_asked(run):
    words = ("--tools", "none", "greedy", "convexadam", "--starts", "own")
    code, rows = run(*words)
    assert code == 1 and [row["status"] for row in rows] == ["done", "failed", "absent"]
    assert rows[1]["reason"] == "pip install greedy failed: no network" and rows[2]["reason"] == "has no affine stage of its own"
    assert run(*words) == (0, rows)
    code, again = run(*words, "--retry")
    assert code == 1 and [row["tool"] for row in again] == ["none", "greedy", "convexadam", "greedy"]


def test_a_start_that_cannot_be_made_is_a_failed_row(run):
    _, rows = run("--tools", "none", "--starts", "rigid")
    assert rows[0]["status"] == "failed" and "the shared start needs greedy" in rows[0]["reason"]


@pytest.mark.slow
def test_unireg_bends_from_the_start_that_it_is_given(run):
    code, rows = run("--tools", "unireg-engine", "--starts", "affine")
    assert code == 0, rows
    # From the header alone it is below 0.6. LNCC has little to hold on to in a ball without texture: the edge moves by half a voxel.
    assert float(rows[0]["dice"]) > 0.8 and float(rows[0]["registration_seconds"]) > 0
    assert rows[0]["version"].endswith("weights none")


def test_limits_of_pairs_are_for_all_or_for_one_tool():
    assert pair_limits(["3", "ants-syn-cc4=1"]) == {"": 3, "ants-syn-cc4": 1}
    for wrong in ("x", "nobody=3", "0", "greedy="):
        with pytest.raises(SystemExit, match="--pairs takes"):
            pair_limits([wrong])


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; print('first'); sys.exit('it is broken')", "exit code 1: it is broken"),
        ("import os; os.kill(os.getpid(), 11)", "ended by SIGSEGV: no message"),
        ("import time; time.sleep(60)", "longer than 0.5 s"),
    ],
)
def test_a_process_that_ends_badly_says_how(program, reason, tmp_path):
    assert run_process([sys.executable, "-S", "-c", program], tmp_path / "log", {}, 0.5 if "sleep" in program else 60).reason == reason


def test_memory_is_that_of_the_largest_child(tmp_path):
    child = "x = b'1' * 80_000_000"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {child!r}])"
    ended = run_process([sys.executable, "-S", "-c", program], tmp_path / "log", {}, 60)
    assert ended.reason == "" and 80 < ended.peak_rss_mb < 160


def test_a_matrix_survives_its_file_and_has_no_centre(tmp_path):
    turn = sitk.AffineTransform(3)
    turn.SetMatrix((0, -1, 0, 1, 0, 0, 0, 0, 1))
    turn.SetCenter((10, 0, 0))
    turn.SetTranslation((1, 2, 3))
    sitk.WriteTransform(turn, str(tmp_path / "turn.tfm"))
    matrix = matrix_of(str(tmp_path / "turn.tfm"))
    # (10, 0, 0) is the fixed point of the turn, then shifted.
    assert matrix @ (10, 0, 0, 1) == pytest.approx((11, 2, 3, 1))
    write_affine(matrix, tmp_path / "plain.tfm")
    assert matrix_of(str(tmp_path / "plain.tfm")) == pytest.approx(matrix)
    # The same map told in RAS: x and y change their signs before and after.
    assert ras_from_lps(matrix) @ (-10, 0, 0, 1) == pytest.approx((-11, -2, 3, 1))


def test_a_transform_that_is_none_is_not_scored(place):
    (place / "broken.tfm").write_text("nothing")
    labels = [place / "balls" / "labels" / f"{name}.nii.gz" for name in "ab"]
    with pytest.raises(NotScored, match="the scorer failed"):
        scores(place / "score.py", *labels, place / "broken.tfm", distances=False)


def test_a_label_that_the_warp_loses_is_counted(place):
    away = sitk.TranslationTransform(3, (500.0, 0.0, 0.0))
    sitk.WriteTransform(away, str(place / "away.tfm"))
    labels = [place / "balls" / "labels" / f"{name}.nii.gz" for name in "ab"]
    assert hausdorff(*labels, place / "away.tfm") == {"lost": 1}
