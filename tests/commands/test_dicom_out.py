"""``--dicom-out`` of ``register`` and ``warp``: a folder that appears whole, and what is refused before any work."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_slices import CT_TAGS, MR_TAGS, read_slices, tags_of, write_slices

from unireg_cli.spatial import Grid

pytest.importorskip("pydicom", reason="needs pydicom (pip install 'unireg[dicom]')")

TURN = sitk.Euler3DTransform((0.0, 0.0, 0.0), 0.0, 0.0, 0.3)
OBLIQUE = Grid.from_arrays((20, 22, 18), (1.5, 1.4, 1.8), (-9.0, -21.0, -7.0), np.reshape(TURN.GetMatrix(), (3, 3)))
PLAIN = Grid.from_arrays((22, 20, 17), (1.5, 1.5, 1.7), (-5.0, -16.0, -6.0), np.eye(3))
SHIFT = sitk.TranslationTransform(3, (1.5, -0.75, 0.5))
QUICK = ("--transform", "rigid", "--init", "none", "--threads", "1")
WARP = ("warp", "mr", "-t", "shift.tfm", "-r")


@pytest.fixture(autouse=True)
def _inputs(folder, blobs, save):
    write_slices(folder / "ct", blobs(OBLIQUE, dtype=np.int16), OBLIQUE, CT_TAGS, (1.0, -1024.0))
    write_slices(folder / "mr", blobs(PLAIN, dtype=np.uint16), PLAIN, MR_TAGS)
    save("fix.nii.gz", blobs(OBLIQUE, dtype=np.int16), OBLIQUE)
    sitk.WriteTransform(SHIFT, "shift.tfm")


def expected() -> np.ndarray:
    moving = sitk.Cast(read_slices(Path("mr")), sitk.sitkFloat64)
    return sitk.GetArrayFromImage(sitk.Resample(moving, sitk.ReadImage("fix.nii.gz"), SHIFT, sitk.sitkLinear, 0.0))


def test_warp_writes_the_series_and_the_file(unireg, folder):
    done = unireg(*WARP, "ct", "-o", "out.nii.gz", "--dicom-out", "warped")
    assert done.code == 0 and "wrote out.nii.gz and warped" in done.err, done.err
    image, file = read_slices(Path("warped")), sitk.ReadImage("out.nii.gz")
    assert (sitk.GetArrayFromImage(image) == sitk.GetArrayFromImage(file)).all()
    assert np.abs(sitk.GetArrayFromImage(image) - expected()).max() <= 0.5 + 1e-2
    assert image.GetSize() == OBLIQUE.size and np.allclose(image.GetDirection(), OBLIQUE.direction, atol=1e-9)
    assert np.allclose(image.GetOrigin(), OBLIQUE.origin, atol=1e-6) and np.allclose(image.GetSpacing(), OBLIQUE.spacing, atol=1e-6)
    tags = tags_of(Path("warped/0001.dcm"))
    assert (tags["0020|0052"], tags["0008|0060"]) == (CT_TAGS["0020|0052"], "MR")
    # And it is an input like any other.
    assert unireg("warp", "warped", "-t", "shift.tfm", "-r", "fix.nii.gz", "-o", "again.nii.gz").code == 0


def test_warp_needs_no_other_output(unireg, folder):
    before = {path.name for path in folder.iterdir()}
    assert unireg(*WARP, "fix.nii.gz", "--dicom-out", "warped").code == 0
    assert {path.name for path in folder.iterdir()} - before == {"warped"}
    assert tags_of(Path("warped/0001.dcm"))["0020|000d"] == MR_TAGS["0020|000d"]


def test_old_series_is_replaced_only_on_request_and_only_a_series(unireg, folder):
    Path("warped").mkdir()
    words = (*WARP, "ct", "--dicom-out", "warped")
    assert unireg(*words).code == 0
    first = tags_of(Path("warped/0001.dcm"))["0020|000e"]
    refused = unireg(*words)
    assert refused.code == 2 and "warped exists" in refused.err and "--overwrite" in refused.err
    Path("warped/0019.dcm").write_bytes(b"of an older, longer one")
    assert unireg(*words, "--invert", "--overwrite").code == 0
    assert len(list(Path("warped").iterdir())) == OBLIQUE.size[2]
    assert tags_of(Path("warped/0001.dcm"))["0020|000e"] != first
    Path("warped/notes.txt").write_text("mine")
    kept = unireg(*words, "--overwrite")
    assert kept.code == 2 and "other things than a series" in kept.err and Path("warped/notes.txt").read_text() == "mine"
    assert not list(folder.glob(".unireg-*"))


def test_failure_leaves_the_old_series(unireg, folder, monkeypatch):
    words = (*WARP, "ct", "--dicom-out", "warped", "-o", "out.nii.gz")
    assert unireg(*words).code == 0
    before = {path.name: path.read_bytes() for path in Path("warped").iterdir()}
    monkeypatch.setattr("unireg_cli.io.dicom_series._slice", lambda *_: 1 / 0)
    assert unireg(*words, "--invert", "--overwrite").code == 1
    assert {path.name: path.read_bytes() for path in Path("warped").iterdir()} == before and not list(folder.glob(".unireg-*"))


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("warp", "fix.nii.gz", "-r", "fix.nii.gz", "-t", "shift.tfm", "--dicom-out", "w"), "neither fix.nii.gz nor fix.nii.gz is"),
        (("warp", "mr", "-r", "ct", "-t", "shift.tfm"), "nowhere to write to"),
        (("warp", "mr", "-r", "ct", "-t", "shift.tfm", "--dicom-out", "ct"), "ct is an input"),
        (("warp", "mr", "-r", "ct", "-t", "shift.tfm", "--dicom-out", "."), "other things than a series"),
        (("warp", "mr", "-r", "ct", "-t", "shift.tfm", "--dicom-out", "fix.nii.gz"), "input|other things"),
        (("warp", "mr", "-r", "ct", "-t", "shift.tfm", "--dicom-out", "no/w"), "does not exist"),
        (("warp", "--points", "p.csv", "--space", "lps", "-t", "shift.tfm", "-o", "q.csv", "--dicom-out", "w"), "belongs to images"),
        (("register", "fix.nii.gz", "fix.nii.gz", "-o", "p_", "--dicom-out", "w"), "is a DICOM folder"),
        (("register", "ct", "mr", "-o", "p_", "--dicom-out", "w", "--compare-with", "liver"), "cannot go with --compare-with"),
        (("register", "--pairs", "pairs.csv", "--dicom-out", "w"), "--dicom-out cannot go with --pairs"),
    ],
)
def test_what_makes_no_sense_is_refused(unireg, folder, words, hint):
    before = {path.name for path in folder.rglob("*")}
    done = unireg(*words)
    assert done.code == 2 and re.search(hint, done.err), done.err
    assert {path.name for path in folder.rglob("*")} == before


def test_other_outputs_do_not_lie_in_the_folder(unireg):
    Path("w").mkdir()
    done = unireg("register", "ct", "mr", "-o", "w/p_", "--dicom-out", "w", *QUICK)
    assert done.code == 2 and "lies in the folder of --dicom-out" in done.err


def test_without_pydicom_it_says_what_to_install(unireg, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    real = __import__("importlib.util", fromlist=["find_spec"]).find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "pydicom" else real(name, *rest))
    done = unireg(*WARP, "ct", "--dicom-out", "w")
    assert done.code == 2 and "pip install 'unireg[dicom]'" in done.err
    assert unireg(*WARP, "ct", "-o", "out.nii.gz").code == 0


def test_series_of_four_dimensions_is_refused(unireg, sitk_image):
    volume = sitk_image(np.zeros(PLAIN.shape, np.float32), PLAIN)
    sitk.WriteImage(sitk.JoinSeries([volume, volume]), "bold.nii.gz")
    done = unireg("warp", "bold.nii.gz", "-r", "ct", "-t", "shift.tfm", "--dicom-out", "w")
    assert done.code == 2 and "4-D" in done.err


def test_register_writes_it_with_its_other_files(unireg, folder):
    done = unireg("register", "ct", "mr", "-o", "p_", "--dicom-out", "warped", *QUICK)
    assert done.code == 0, done.err
    image = read_slices(Path("warped"))
    assert (sitk.GetArrayFromImage(image) == sitk.GetArrayFromImage(sitk.ReadImage("p_Warped.nii.gz"))).all()
    record = json.loads(Path("p_.json").read_text())
    assert record["outputs"]["dicom"] == "warped" and record["options"]["dicom_out"] == "warped"


def test_pairs_have_a_column_for_it_and_resume_knows_it(unireg):
    Path("pairs.csv").write_text("fixed,moving,output,dicom_out\nct,mr,a_,a_series\nfix.nii.gz,mr,b_,b_series\n")
    words = ("register", "--pairs", "pairs.csv", *QUICK, "--json")
    done = unireg(*words)
    assert done.code == 0, done.err
    (Path("b_series") / "0001.dcm").unlink()
    again = unireg(*words, "--resume")
    # Whole or not there: what somebody took out of a folder is not looked for.
    assert [entry["status"] for entry in json.loads(again.out)["pairs"]] == ["skipped", "skipped"]
    for path in Path("b_series").iterdir():
        path.unlink()
    again = unireg(*words, "--resume")
    assert [entry["status"] for entry in json.loads(again.out)["pairs"]] == ["skipped", "done"], again.err
    assert len(list(Path("b_series").iterdir())) == OBLIQUE.size[2]
