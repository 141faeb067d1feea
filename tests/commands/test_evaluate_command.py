from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
import SimpleITK as sitk

from unireg_cli.__main__ import main
from unireg_cli.io.tables import read_table


def _write(path, voxels):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((1.0, 1.0, 2.0))
    sitk.WriteImage(image, str(path))


@pytest.fixture
def dataset(tmp_path):
    """Three people with a cube each, b shifted by 3 voxels along x against a and c by 2; the transforms are known."""
    folder = tmp_path / "data"
    random = np.random.default_rng(0)
    for name, shift in (("a", 0), ("b", 3), ("c", 2)):
        labels = np.zeros((12, 24, 24), np.uint8)
        labels[4:8, 8:16, 6 + shift : 14 + shift] = 1
        if name == "a":
            # Only this one has it: not scored.
            labels[0, 0, 0] = 2
        _write(folder / "labels" / f"{name}.nii.gz", labels)
        _write(folder / "images" / f"{name}.nii.gz", (100 * labels + random.random(labels.shape) * 10).astype(np.float32))
        (folder / "keypoints").mkdir(exist_ok=True)
        (folder / "keypoints" / f"{name}.csv").write_text(f"{6 + shift},8,4\n{14 + shift},16,8\n")
    names = {k: f"./images/{k}.nii.gz" for k in "abc"}
    content = {
        "name": "cubes",
        "mode": "inter",
        "labels": {"0": {"0": "background", "1": "cube", "2": "speck"}},
        "registration_val": [{"fixed": names["a"], "moving": names["b"]}, {"fixed": names["a"], "moving": names["c"]}],
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    transforms = tmp_path / "transforms"
    transforms.mkdir()
    for name, shift in (("b", 3.0), ("c", 1.0)):
        # b is right to the voxel; c is left one voxel too short.
        sitk.WriteTransform(sitk.TranslationTransform(3, (shift, 0.0, 0.0)), str(transforms / f"{name}_to_a.tfm"))
    return folder / "dataset.json", transforms


@dataclass(frozen=True)
class Done:
    exit_code: int
    output: str = "see the captured log"


def _run(*words):
    return Done(main(["evaluate", *map(str, words)]))


def test_scores_are_those_derived_by_hand(dataset, tmp_path):
    prefix = tmp_path / "e_"
    done = _run(dataset[0], "--transforms", dataset[1], "-o", prefix)
    assert done.exit_code == 0, done.output
    right, short = read_table(tmp_path / "e_pairs.csv", ("dice",))
    assert right["dice"] == 1 and right["hd95"] == 0 and right["tre"] == pytest.approx(0, abs=1e-5)
    assert right["dice_before"] == pytest.approx(2 * 5 / 16)
    # Shifted by one voxel of eight; the speck that b and c lack counts in dice_all only.
    assert short["dice"] == pytest.approx(7 / 8) and short["dice_all"] == pytest.approx(7 / 16)
    assert short["hd95"] == pytest.approx(1)
    assert short["tre"] == pytest.approx(1, abs=1e-5) and short["tre_before"] == pytest.approx(2, abs=1e-5)
    assert short["folding"] == 0 and short["sdlogj"] == pytest.approx(0, abs=1e-5)
    summary = json.loads((tmp_path / "e_summary.json").read_text())
    assert summary["summary"]["metrics"]["dice"]["mean"] == pytest.approx((1 + 7 / 8) / 2)
    assert "Learn2Reg" in summary["rule"] and summary["summary"]["structures"].keys() == {"cube"}


def test_a_failed_pair_is_a_row_with_its_reason_and_resume_tries_it_again(dataset, tmp_path):
    prefix, lost = tmp_path / "e_", dataset[1] / "c_to_a.tfm"
    content = lost.read_text()
    lost.unlink()
    done = _run(dataset[0], "--transforms", dataset[1], "-o", prefix)
    assert done.exit_code == 3
    rows = read_table(tmp_path / "e_pairs.csv", ("error",))
    assert [row["status"] for row in rows] == ["done", "failed"] and "c_to_aComposite.h5" in rows[1]["error"]
    assert _run(dataset[0], "--transforms", dataset[1], "-o", prefix).exit_code == 2
    lost.write_text(content)
    again = _run(dataset[0], "--transforms", dataset[1], "-o", prefix, "--resume")
    assert again.exit_code == 0, again.output
    assert [row["status"] for row in read_table(tmp_path / "e_pairs.csv", ())] == ["done", "done"]
    assert _run(dataset[0], "--transform", "affine", "-o", prefix, "--resume").exit_code == 2


def test_two_processes_give_what_one_gives(dataset, tmp_path):
    for jobs in ("1", "2"):
        done = _run(dataset[0], "--transforms", dataset[1], "-o", tmp_path / f"{jobs}_", "--jobs", jobs)
        assert done.exit_code == 0, done.output
    one, two = ((tmp_path / f"{jobs}_structures.csv").read_text() for jobs in "12")
    assert one == two


def test_comparison_needs_no_data_set(dataset, tmp_path):
    # Tables of the longest names: once they left no room for the plots beside their legend.
    place = tmp_path / ("long_" * 40)
    place.mkdir()
    _run(dataset[0], "--transforms", dataset[1], "-o", place / "a_")
    shutil.copy(dataset[1] / "b_to_a.tfm", dataset[1] / "c_to_a.tfm")
    _run(dataset[0], "--transforms", dataset[1], "-o", place / "b_")
    report = tmp_path / "compared.html"
    done = _run("--compare", place / "a_pairs.csv", place / "b_pairs.csv", "-o", tmp_path / "c_", "--report", report)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "c_comparison.json").read_text())["comparison"]
    # One voxel too short became one too far: the same overlap; both pairs share person a.
    assert found["metrics"]["dice"]["mean"] == pytest.approx(0) and found["independent"] is False
    assert "box plots of Dice per method" in report.read_text()


@pytest.fixture
def report(dataset, tmp_path):
    path = tmp_path / "r.html"
    done = _run(dataset[0], "--transforms", dataset[1], "-o", tmp_path / "e_", "--report", path)
    assert done.exit_code == 0, done.output
    return path


def test_report_holds_pictures_and_asks_no_network(report):
    text = report.read_text()
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)" alt="([^"]+)"', text)
    assert {"best pair, fixed, warped and outlines of the labels", "box plots of Dice per structure"} <= {alt for _, alt in pictures}
    assert all(base64.b64decode(data).startswith(b"\x89PNG") for data, _ in pictures)
    assert not re.search(r'(src|href)="(?!data:)', text)


def test_report_is_drawn_by_a_browser(report, tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell"))), None)
    if browser is None:
        pytest.skip("no chromium on the PATH")
    shot = tmp_path / "shot.png"
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--screenshot={shot}", "--window-size=1200,3000", report.as_uri()]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(shot)))[..., :3].astype(int)
    # The pictures of pairs have black ground, and outlines in colour.
    assert (pixels.sum(-1) < 30).mean() > 0.02
    assert (np.ptp(pixels, axis=-1) > 120).any()
