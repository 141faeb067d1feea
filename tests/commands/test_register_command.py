"""``unireg register`` on small images: files, record, exit codes, and that a failure leaves nothing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from unireg_cli.commands import pair_files
from unireg_cli.spatial import Grid

SHIFT = (2.0, -1.5, 1.0)
FIXED = Grid.from_arrays((26, 24, 22), (1.5, 1.5, 1.6), (-19.0, -18.0, -17.0), np.eye(3))
MOVING = Grid.from_arrays((24, 26, 23), (1.6, 1.4, 1.5), (20.0, 19.0, -16.0), np.diag([-1.0, -1.0, 1.0]))
AFFINE = ("--transform", "affine", "--threads", "1")
# Where it does not matter how good the result is.
QUICK = ("--transform", "rigid", "--init", "none", "--threads", "1")


def read(path: str | Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.fixture(autouse=True)
def _pair(save, blobs):
    """The moving image is the fixed one moved by SHIFT in space (and the middles of the two grids)."""
    offset = tuple(np.asarray(SHIFT) + FIXED.center_lps - MOVING.center_lps)
    save("fix.nii.gz", blobs(FIXED), FIXED)
    save("mov.nii.gz", blobs(MOVING, offset, np.int16), MOVING)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_affine_pair_gives_the_promised_files_and_the_right_answer(unireg, folder):
    before = names(folder)
    done = unireg("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", *AFFINE)
    assert done.code == 0, done.err
    assert done.out == "" and "p_.json" in done.err
    assert names(folder) - before == {"p_Warped.nii.gz", "p_Composite.h5", "p_InverseComposite.h5", "p_.json"}
    forward, inverse = sitk.ReadTransform("p_Composite.h5"), sitk.ReadTransform("p_InverseComposite.h5")
    middle = FIXED.center_lps
    assert np.linalg.norm(np.array(forward.TransformPoint(middle.tolist())) - middle - SHIFT) < 0.2 * 1.5
    assert np.allclose(inverse.TransformPoint(forward.TransformPoint((1.0, 2.0, 3.0))), (1.0, 2.0, 3.0), atol=1e-6)
    warped = sitk.ReadImage("p_Warped.nii.gz")
    assert warped.GetPixelID() == sitk.sitkInt16 and warped.GetSize() == FIXED.size
    floating = sitk.Cast(sitk.ReadImage("mov.nii.gz"), sitk.sitkFloat64)
    truth = sitk.GetArrayFromImage(sitk.Resample(floating, sitk.ReadImage("fix.nii.gz"), forward, sitk.sitkLinear, 0.0))
    assert np.abs(read("p_Warped.nii.gz") - truth).max() <= 0.5 + 1e-2


def test_record_holds_options_surroundings_results_and_the_ants_commands(unireg):
    done = unireg("register", "-f", "fix.nii.gz", "-m", "mov.nii.gz", "-o", "p_", *QUICK, "--seed", "4", "--json", "-q")
    assert done.code == 0 and done.err == ""
    record = json.loads(done.out)
    assert record == json.loads(Path("p_.json").read_text())
    assert record["schema_version"] == "1.0" and record["command"] == "register"
    assert record["options"]["fixed"] == "fix.nii.gz" and record["options"]["settings"]["transform"] == "rigid"
    assert record["seed"] == 4 and record["surroundings"]["threads"] == 1
    assert {"python", "unireg", "torch", "numpy", "SimpleITK"} <= set(record["versions"])
    assert record["grids"]["fixed"]["size"] == list(FIXED.size) and "network" in record["grids"]
    assert record["quality"]["similarity_after"] > record["quality"]["similarity_before"]
    assert record["decisions"]["moving_modality"]
    assert record["outputs"]["forward"] == "p_Composite.h5"
    assert record["apply"]["forward"].startswith("antsApplyTransforms -d 3 -i mov.nii.gz -r fix.nii.gz")
    assert {"started", "stages", "total_seconds", "peak_memory_mb"} == set(record["timing"])
    assert {"read", "write"} <= {stage["name"] for stage in record["timing"]["stages"]}


def test_only_timing_differs_between_two_runs(unireg):
    records = []
    for _ in range(2):
        words = ("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", *QUICK, "--deterministic", "--json", "--overwrite")
        done = unireg(*words)
        assert done.code == 0, done.err
        files = [Path(name).read_bytes() for name in ("p_Warped.nii.gz", "p_Composite.h5", "p_InverseComposite.h5")]
        records.append({**json.loads(done.out), "timing": None, "files": files})
    assert records[0] == records[1]


def test_everything_that_a_deformable_run_can_write(unireg, folder, save, blobs):
    offset = tuple(np.asarray(SHIFT) + FIXED.center_lps - MOVING.center_lps)
    save("seg.nii.gz", (blobs(MOVING, offset) > 60).astype(np.uint16) * 700, MOVING)
    before = names(folder)
    words = ("--jacobian", "--log-jacobian", "--inverse-warped", "--picture", "--transform-format", "ants", "--fast", "--threads", "1")
    more = ("--also", "mov.nii.gz", "again.nrrd", "--also-labels", "seg.nii.gz", "seg_in_fixed.nii.gz", "--also", "mov.nii.gz", "twice.mha")
    done = unireg("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", *words, *more)
    assert done.code == 0, done.err
    endings = {"Warped.nii.gz", "InverseWarped.nii.gz", "Jacobian.nii.gz", "LogJacobian.nii.gz", ".png", ".json"}
    endings |= {"0GenericAffine.mat", "1Warp.nii.gz", "1InverseWarp.nii.gz"}
    assert names(folder) - before == {f"p_{end}" for end in endings} | {"again.nrrd", "twice.mha", "seg_in_fixed.nii.gz"}
    assert np.array_equal(read("again.nrrd"), read("p_Warped.nii.gz")) and np.array_equal(read("twice.mha"), read("again.nrrd"))
    assert set(np.unique(read("seg_in_fixed.nii.gz"))) == {0, 700} and read("seg_in_fixed.nii.gz").dtype == np.uint16
    determinant, logarithm = read("p_Jacobian.nii.gz"), read("p_LogJacobian.nii.gz")
    assert determinant.shape == FIXED.shape and determinant.dtype == np.float32
    assert np.allclose(np.log(determinant), logarithm, atol=1e-5)
    inverse = sitk.ReadImage("p_InverseWarped.nii.gz")
    assert inverse.GetSize() == MOVING.size and inverse.GetPixelID() == sitk.sitkFloat32
    assert Path("p_.png").read_bytes().startswith(b"\x89PNG")


def test_warp_gives_the_image_that_register_gave(unireg):
    assert unireg("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", "--fast", "--threads", "1").code == 0
    assert unireg("warp", "mov.nii.gz", "-r", "fix.nii.gz", "-t", "p_Composite.h5", "-o", "w.nii.gz").code == 0
    assert np.array_equal(read("w.nii.gz"), read("p_Warped.nii.gz"))


def test_default_prefix_is_moving_to_fixed(unireg, folder):
    assert unireg("register", "fix.nii.gz", "mov.nii.gz", *QUICK).code == 0
    assert "mov_to_fixWarped.nii.gz" in names(folder)


def test_initial_transform_is_part_of_the_result(unireg):
    sitk.WriteTransform(sitk.TranslationTransform(3, (30.0, 0, 0)), "away.tfm")
    sitk.WriteTransform(sitk.TranslationTransform(3, (-30.0, 0, 0)), "back.tfm")
    done = unireg("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", *AFFINE, "--init", "away.tfm", "--init", "back.tfm")
    assert done.code == 0, done.err
    middle = FIXED.center_lps
    moved = np.array(sitk.ReadTransform("p_Composite.h5").TransformPoint(middle.tolist()))
    assert np.linalg.norm(moved - middle - SHIFT) < 0.2 * 1.5


def test_dry_run_writes_nothing_and_names_everything(unireg, folder):
    before = names(folder)
    words = ("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", "--jacobian", "--dry-run")
    done = unireg(*words)
    assert done.code == 0
    assert all(name in done.out for name in ("p_Warped.nii.gz", "p_Composite.h5", "p_Jacobian.nii.gz", "p_.json", "deformable"))
    plan = json.loads(unireg(*words, "--json").out)
    assert plan["runs"][0]["outputs"]["jacobian"] == "p_Jacobian.nii.gz"
    assert names(folder) == before


def test_overwrite_is_asked_for_before_any_work(unireg, monkeypatch):
    Path("p_InverseComposite.h5").write_text("old")

    def never(*_words: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(pair_files, "register_files", never)
    done = unireg("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", *QUICK)
    assert done.code == 2 and "p_InverseComposite.h5 exists" in done.err
    assert Path("p_InverseComposite.h5").read_text() == "old"


def test_quality_gate_fails_after_writing(unireg, monkeypatch, folder):
    """A limit below any measurement: the record is changed, since a good run has no folds."""
    honest = pair_files.make_record

    def folded(*words: object) -> dict:
        record = honest(*words)
        record["quality"]["regularity"]["folding_percent"] = 2.5
        return record

    monkeypatch.setattr(pair_files, "make_record", folded)
    words = ("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", "--fast", "--threads", "1", "--json")
    done = unireg(*words, "--fail-on-folding", "2")
    assert done.code == 6 and "--fail-on-folding 2" in done.err
    assert json.loads(done.out)["outputs"] and "p_Warped.nii.gz" in names(folder)
    assert unireg(*words, "--overwrite", "--fail-on-folding", "3").code == 0


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("where", "trouble", "code"),
    [
        ("write_transforms", lambda: _raise(RuntimeError("disk")), 1),
        ("write_transforms", lambda: _raise(MemoryError()), 5),
        ("write_image", lambda: _raise(RuntimeError("disk")), 1),
        # Signals reach the main thread, which writes the images: sent from there, they arrive at a place that is the same each time.
        ("write_image", lambda: os.kill(os.getpid(), signal.SIGINT), 130),
        ("write_image", lambda: os.kill(os.getpid(), signal.SIGTERM), 143),
    ],
)
def test_a_failure_while_writing_leaves_no_file_and_the_old_ones(unireg, folder, monkeypatch, where, trouble, code):
    Path("p_Warped.nii.gz").write_text("old")
    before = names(folder)
    monkeypatch.setattr(pair_files, where, lambda *_words, **_more: trouble())
    done = unireg("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", *QUICK, "--overwrite")
    assert done.code == code and done.err.count("unireg: error: ") == 1
    assert names(folder) == before and Path("p_Warped.nii.gz").read_text() == "old"


def test_log_file_keeps_what_is_said_and_more(unireg):
    done = unireg("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", *QUICK, "-q", "--log", "run.log")
    assert done.code == 0 and done.err == ""
    assert unireg("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", *QUICK, "-q", "--log", "run.log").code == 2
    text = Path("run.log").read_text()
    assert "INFO" in text and "p_.json" in text and "DEBUG" in text and "ERROR p_Warped.nii.gz exists" in text
    assert unireg("register", "fix.nii.gz", "mov.nii.gz", "--log", "no/run.log").code == 2


def mask(grid: Grid, value: int = 1) -> np.ndarray:
    return np.full(grid.shape, value, np.uint8)


def test_masks_are_read(unireg, save):
    save("fm.nii.gz", mask(FIXED), FIXED)
    save("mm.nii.gz", mask(MOVING), MOVING)
    done = unireg("register", "fix.nii.gz", "mov.nii.gz", "-o", "p_", *AFFINE, "--fixed-mask", "fm.nii.gz", "--moving-mask", "mm.nii.gz")
    assert done.code == 0, done.err


BAD = {
    "no moving": (2, ("fix.nii.gz",), "moving image is missing"),
    "jacobian of an affine": (2, ("fix.nii.gz", "mov.nii.gz", "--transform", "affine", "--jacobian"), "--jacobian"),
    "fast and best": (2, ("fix.nii.gz", "mov.nii.gz", "--fast", "--best"), "contradict"),
    "also without output": (2, ("fix.nii.gz", "mov.nii.gz", "--also", "mov.nii.gz"), "two values"),
    "also to an input": (2, ("fix.nii.gz", "mov.nii.gz", "--also", "mov.nii.gz", "fix.nii.gz", "--overwrite"), "is an input"),
    "resume without pairs": (2, ("fix.nii.gz", "mov.nii.gz", "--resume"), "--pairs"),
    "missing folder": (2, ("fix.nii.gz", "mov.nii.gz", "-o", "no/p_"), "does not exist"),
    "folder as prefix": (2, ("fix.nii.gz", "mov.nii.gz", "-o", "./"), "out_"),
    "unknown anatomy": (2, ("fix.nii.gz", "mov.nii.gz", "--anatomy", "livr"), "did you mean liver"),
    "missing weights": (4, ("fix.nii.gz", "mov.nii.gz", "--weights", "nope.safetensors"), "nope.safetensors"),
    "missing image": (3, ("fix.nii.gz", "nope.nii.gz"), "nope.nii.gz"),
    "missing mask": (3, ("fix.nii.gz", "mov.nii.gz", "--fixed-mask", "nope.nii.gz"), "nope.nii.gz"),
    "missing initial transform": (3, ("fix.nii.gz", "mov.nii.gz", "--init", "nope.mat"), "nope.mat"),
    "mask on another grid": (3, ("fix.nii.gz", "mov.nii.gz", "--fixed-mask", "mm.nii.gz"), "26x24x22"),
    "empty mask": (3, ("fix.nii.gz", "mov.nii.gz", "--moving-mask", "empty.nii.gz"), "empty"),
    "constant image": (3, ("fix.nii.gz", "flat.nii.gz"), "every voxel has the value 3"),
    "device missing": (2, ("fix.nii.gz", "mov.nii.gz", "--device", "cuda:99"), "cuda:99"),
    "not enough memory": (5, ("fix.nii.gz", "mov.nii.gz", "--max-memory", "0.001"), "--max-memory"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_words_and_files_give_one_line_a_code_and_no_file(unireg, save, folder, case):
    save("mm.nii.gz", mask(MOVING), MOVING)
    save("empty.nii.gz", mask(MOVING, 0), MOVING)
    save("flat.nii.gz", mask(MOVING, 3), MOVING)
    before = names(folder)
    code, words, hint = BAD[case]
    done = unireg("register", *words)
    assert done.code == code, done.err
    assert done.out == "" and done.err.startswith("unireg: error: ") and done.err.count("\n") == 1 and hint in done.err
    assert names(folder) == before
