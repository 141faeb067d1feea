"""``register --bids``: a folder of derivatives, its names, its sidecars, alone and in a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from unireg_cli.commands.bids_files import make_dataset
from unireg_cli.spatial import Grid

GRID = Grid.from_arrays((22, 20, 18), (1.5, 1.5, 1.5), (-16.0, -15.0, -13.0), np.eye(3))
QUICK = ("--transform", "rigid", "--init", "none", "--threads", "1")
TEMPLATE = "tpl/tpl-Mean_T1w.nii.gz"
MOVING = ["raw/sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", "raw/sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz"]
BASE = "sub-01_ses-1"
PLACE = Path("deriv/sub-01/ses-1/anat")


@pytest.fixture(autouse=True)
def _images(folder, save, blobs):
    for number, name in enumerate([TEMPLATE, *MOVING]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save(name, blobs(GRID, (0.5 * number, 0, 0)), GRID)


def files(root: str = "deriv") -> set[str]:
    return {path.relative_to(root).as_posix() for path in Path(root).rglob("*") if path.is_file()}


def test_one_pair_gives_a_dataset_of_derivatives(unireg):
    done = unireg("register", TEMPLATE, MOVING[0], "--bids", "-o", "deriv", *QUICK)
    assert done.code == 0, done.err
    there = {
        *(f"{BASE}_space-Mean_desc-warped_T1w.{ending}" for ending in ("nii.gz", "json")),
        *(f"{BASE}_from-T1w_to-Mean_mode-image_xfm.{ending}" for ending in ("h5", "json")),
        *(f"{BASE}_from-Mean_to-T1w_mode-image_xfm.{ending}" for ending in ("h5", "json")),
    }
    assert files() == {f"sub-01/ses-1/anat/{name}" for name in there} | {"dataset_description.json", ".bidsignore"}
    description = json.loads(Path("deriv/dataset_description.json").read_text("utf-8"))
    assert description["DatasetType"] == "derivative" and description["GeneratedBy"][0]["Name"] == "unireg"
    warped = sitk.ReadImage(str(PLACE / f"{BASE}_space-Mean_desc-warped_T1w.nii.gz"))
    forward = sitk.ReadTransform(str(PLACE / f"{BASE}_from-T1w_to-Mean_mode-image_xfm.h5"))
    inverse = sitk.ReadTransform(str(PLACE / f"{BASE}_from-Mean_to-T1w_mode-image_xfm.h5"))
    truth = sitk.Resample(sitk.ReadImage(MOVING[0]), sitk.ReadImage(TEMPLATE), forward, sitk.sitkLinear, 0.0)
    assert np.abs(sitk.GetArrayFromImage(warped) - sitk.GetArrayFromImage(truth)).max() < 0.05
    assert np.allclose(inverse.TransformPoint(forward.TransformPoint((1.0, 2.0, 3.0))), (1.0, 2.0, 3.0), atol=1e-5)


def test_sidecars_say_what_bids_asks_for(unireg):
    Path(MOVING[0].replace(".nii.gz", ".json")).write_text('{"SkullStripped": true}')
    done = unireg("register", TEMPLATE, MOVING[0], "--bids", "-o", "deriv", "--inverse-warped", *QUICK)
    assert done.code == 0, done.err
    root = Path("deriv")
    record = json.loads((PLACE / f"{BASE}_space-Mean_desc-warped_T1w.json").read_text("utf-8"))
    assert record["SkullStripped"] is True and record["command"] == "register"
    names = {role: Path(path).name for role, path in record["outputs"].items()}
    assert names["inverse_warped"] == f"{BASE}_space-T1w_desc-Meanwarped_T1w.nii.gz"
    assert names["inverse_warped_sidecar"] == f"{BASE}_space-T1w_desc-Meanwarped_T1w.json"
    for role, reference in (("forward", TEMPLATE), ("inverse", MOVING[0]), ("inverse_warped", MOVING[0])):
        sidecar = json.loads(Path(record["outputs"][f"{role}_sidecar"]).read_text("utf-8"))
        assert set(sidecar) == {"Description", "Sources", "SpatialReference"}
        assert (root / sidecar["SpatialReference"]).resolve() == Path(reference).resolve()
        assert [(root / path).resolve() for path in sidecar["Sources"]] == [Path(MOVING[0]).resolve(), Path(TEMPLATE).resolve()]
    assert (root / record["SpatialReference"]).resolve() == Path(TEMPLATE).resolve()
    # The record tells its own command again, and the page of runs finds it.
    assert unireg("report", "deriv").code == 0 and "sub-01_ses-1_T1w.nii.gz" in Path("deriv/index.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("format_", "ends"),
    [
        ("ants", {"from-T1w_to-Mean_mode-image_desc-affine_xfm.mat", "from-T1w_to-Mean_mode-image_desc-warp_xfm.nii.gz",
                  "from-Mean_to-T1w_mode-image_desc-warp_xfm.nii.gz"}),
        ("nii", {"from-T1w_to-Mean_mode-image_xfm.nii.gz", "from-Mean_to-T1w_mode-image_xfm.nii.gz"}),
    ],
)  # fmt: skip
def test_every_format_has_its_names_and_the_record_its_commands(unireg, format_, ends):
    words = ("register", TEMPLATE, MOVING[0], "--bids", "-o", "deriv", "--transform-format", format_, *QUICK)
    done = unireg(*words)
    assert done.code == 0, done.err
    found = {path.name.removeprefix(f"{BASE}_") for path in PLACE.iterdir() if "xfm" in path.name and path.suffix != ".json"}
    assert found == ends
    record = json.loads((PLACE / f"{BASE}_space-Mean_desc-warped_T1w.json").read_text("utf-8"))
    assert all(name in record["apply"]["forward"] + record["apply"]["inverse"] for name in ends)


def test_page_and_picture_are_named_too_and_the_index_finds_them(unireg):
    done = unireg("register", TEMPLATE, MOVING[0], "--bids", "-o", "deriv", "--report", "--picture", *QUICK)
    assert done.code == 0, done.err
    stem = f"{BASE}_space-Mean_desc-warped_T1w"
    assert (PLACE / f"{stem}.png").is_file() and "--output deriv --bids" in (PLACE / f"{stem}.html").read_text("utf-8")
    assert unireg("report", "deriv").code == 0
    assert f"{stem}.html" in Path("deriv/index.html").read_text("utf-8")


def test_names_are_known_before_the_run_and_nothing_is_made(unireg):
    done = unireg("register", TEMPLATE, MOVING[0], "--bids", "-o", "deriv", *QUICK, "--dry-run", "--json")
    assert done.code == 0, done.err
    planned = {Path(path).relative_to("deriv").as_posix() for path in json.loads(done.out)["runs"][0]["outputs"].values()}
    assert not Path("deriv").exists()
    assert unireg("register", TEMPLATE, MOVING[0], "--bids", "-o", "deriv", *QUICK).code == 0
    assert files() == planned | {"dataset_description.json", ".bidsignore"}


def test_a_table_goes_into_one_dataset_and_resumes(unireg):
    Path("pairs.csv").write_text("fixed,moving\n" + "".join(f"{TEMPLATE},{moving}\n" for moving in MOVING))
    words = ("register", "--pairs", "pairs.csv", "--bids", "-o", "deriv", *QUICK, "--json")
    assert unireg(*words).code == 0
    assert {name.split("/")[0] for name in files()} == {"sub-01", "sub-02", "dataset_description.json", ".bidsignore"}
    (PLACE / f"{BASE}_from-Mean_to-T1w_mode-image_xfm.h5").unlink()
    assert unireg(*words).code == 2
    done = unireg(*words, "--resume")
    assert done.code == 0, done.err
    assert [entry["status"] for entry in json.loads(done.out)["pairs"]] == ["done", "skipped"]


def test_a_row_that_is_no_bids_is_reported_and_the_rest_go_on(unireg, save, blobs):
    save("other.nii.gz", blobs(GRID), GRID)
    Path("pairs.csv").write_text(f"fixed,moving\n{TEMPLATE},other.nii.gz\n{TEMPLATE},{MOVING[0]}\n")
    done = unireg("register", "--pairs", "pairs.csv", "--bids", "-o", "deriv", *QUICK)
    assert done.code == 2 and "line 2: --bids: other.nii.gz is no name by BIDS" in done.err
    assert (PLACE / f"{BASE}_space-Mean_desc-warped_T1w.json").is_file()


def test_what_the_folder_says_of_itself_stays(tmp_path):
    (tmp_path / "dataset_description.json").write_text('{"Name": "mine"}')
    make_dataset(tmp_path, [tmp_path / "sub-01" / "anat"])
    assert json.loads((tmp_path / "dataset_description.json").read_text("utf-8")) == {"Name": "mine"}
    assert (tmp_path / "sub-01" / "anat").is_dir() and "*_xfm.*" in (tmp_path / ".bidsignore").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("register", TEMPLATE, "other.nii.gz", "--bids"), "no name by BIDS"),
        (("register", TEMPLATE, MOVING[0], "--bids", "--compare-with", "liver"), "--bids cannot go with --compare-with"),
        (("register", TEMPLATE, MOVING[0], "--bids", "-o", "raw/sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz"), "does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused(unireg, folder, words, hint):
    before = set(folder.rglob("*"))
    done = unireg(*words)
    assert done.code == 2 and hint in done.err, done.err
    assert set(folder.rglob("*")) == before
