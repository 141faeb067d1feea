"""``unireg warp`` of images: SimpleITK is the oracle."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from unireg_cli.io.transforms import write_transforms
from unireg_cli.spatial import Affine, Chain, Grid
from unireg_cli.types import TransformFormat

REFERENCE = Grid.from_arrays((17, 19, 15), (1.7, 1.3, 1.9), (-13.0, -11.0, -12.0), np.eye(3))
EULER = sitk.Euler3DTransform((1.0, 2.0, 3.0), 0.1, -0.05, 0.2, (2.0, -1.5, 1.0))


def read(path: str | Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def affine_of(transform: sitk.Euler3DTransform) -> Affine:
    origin = np.array(transform.TransformPoint((0, 0, 0)))
    columns = [np.array(transform.TransformPoint(axis)) - origin for axis in np.eye(3).tolist()]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.stack(columns, 1), origin
    return Affine(matrix)


def resampled(image: str, transform: sitk.Transform, way: int = sitk.sitkLinear) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.Resample(sitk.ReadImage(image), sitk.ReadImage("ref.nii.gz"), transform, way, 0.0))


@pytest.fixture(autouse=True)
def _reference(save):
    save("ref.nii.gz", np.zeros(REFERENCE.shape, np.float32), REFERENCE)


def test_image_equals_simpleitk_through_affine_and_field(unireg, save, blobs, grid, wavy_field, sitk_transform):
    save("mov.nii.gz", blobs(grid), grid)
    chain = Chain((wavy_field(grid), affine_of(EULER)))
    sitk.WriteTransform(sitk_transform(chain), "t.h5")
    done = unireg("warp", "mov.nii.gz", "-r", "ref.nii.gz", "-t", "t.h5", "-o", "out.nii.gz")
    assert done.code == 0, done.err
    truth = resampled("mov.nii.gz", sitk_transform(chain))
    assert (truth > 10).mean() > 0.2
    assert np.abs(read("out.nii.gz") - truth).mean() < 1e-3 * np.ptp(truth)
    written, reference = sitk.ReadImage("out.nii.gz"), sitk.ReadImage("ref.nii.gz")
    assert np.allclose(written.GetOrigin(), reference.GetOrigin()) and np.allclose(written.GetDirection(), reference.GetDirection())


def test_label_ids_and_dtype_survive_nearest(unireg, save, grid):
    labels = np.random.default_rng(0).choice(np.array([0, 7, 1000, 65535], np.uint16), grid.shape)
    save("seg.nii.gz", labels, grid)
    sitk.WriteTransform(EULER, "t.tfm")
    for spelling in ("nearest", "NearestNeighbor", "NEAREST"):
        done = unireg("warp", "seg.nii.gz", "-r", "ref.nii.gz", "-t", "t.tfm", "-n", spelling, "-o", "out.nii.gz", "--overwrite")
        assert done.code == 0, done.err
        warped = read("out.nii.gz")
        assert warped.dtype == np.uint16
        assert (warped == resampled("seg.nii.gz", EULER, sitk.sitkNearestNeighbor)).mean() >= 0.999


def test_integers_are_rounded_not_cut(unireg, save, blobs, grids):
    save("mov.nii.gz", blobs(grids["RAS"], dtype=np.int16), grids["RAS"])
    save("float.nii.gz", blobs(grids["RAS"], dtype=np.int16).astype(np.float64), grids["RAS"])
    sitk.WriteTransform(EULER, "t.tfm")
    assert unireg("warp", "mov.nii.gz", "-r", "ref.nii.gz", "-t", "t.tfm", "-o", "out.nii.gz").code == 0
    truth = resampled("float.nii.gz", EULER)
    assert read("out.nii.gz").dtype == np.int16
    assert np.abs(read("out.nii.gz") - truth).max() <= 0.5 + 1e-3


def test_order_is_that_of_ants(unireg, save, blobs, grids):
    """The last given is applied to the image first: a point of the result passes the first given first."""
    save("mov.nii.gz", blobs(grids["LPS"]), grids["LPS"])
    scale = sitk.ScaleTransform(3, (1.3, 1.0, 0.8))
    sitk.WriteTransform(EULER, "a.tfm")
    sitk.WriteTransform(scale, "b.tfm")
    assert unireg("warp", "mov.nii.gz", "-r", "ref.nii.gz", "-t", "a.tfm", "-t", "b.tfm", "-o", "out.nii.gz").code == 0
    right, wrong = sitk.CompositeTransform([scale, EULER]), sitk.CompositeTransform([EULER, scale])
    probe = (3.0, 4.0, 5.0)
    assert np.allclose(right.TransformPoint(probe), scale.TransformPoint(EULER.TransformPoint(probe)))
    assert np.abs(read("out.nii.gz") - resampled("mov.nii.gz", right)).max() < 1e-2
    assert np.abs(read("out.nii.gz") - resampled("mov.nii.gz", wrong)).max() > 1


@pytest.mark.parametrize("words", [("-t", "[a.tfm,1]"), ("-t", "a.tfm", "--invert")])
def test_inverse_of_one_and_of_all(unireg, save, blobs, grids, words):
    save("mov.nii.gz", blobs(grids["oblique"]), grids["oblique"])
    sitk.WriteTransform(EULER, "a.tfm")
    assert unireg("warp", "mov.nii.gz", "-r", "ref.nii.gz", *words, "-o", "out.nii.gz").code == 0
    assert np.abs(read("out.nii.gz") - resampled("mov.nii.gz", EULER.GetInverse())).max() < 1e-2


def test_inverting_all_turns_the_order_round(unireg, save, blobs, grids):
    save("mov.nii.gz", blobs(grids["LAS"]), grids["LAS"])
    scale = sitk.ScaleTransform(3, (1.3, 1.0, 0.8))
    sitk.WriteTransform(EULER, "a.tfm")
    sitk.WriteTransform(scale, "b.tfm")
    assert unireg("warp", "mov.nii.gz", "-r", "ref.nii.gz", "-t", "a.tfm", "-t", "[b.tfm,1]", "--invert", "-o", "out.nii.gz").code == 0
    # (b^-1 o a)^-1 = a^-1 o b: a point passes b, then the inverse of a.
    assert np.abs(read("out.nii.gz") - resampled("mov.nii.gz", sitk.CompositeTransform([EULER.GetInverse(), scale]))).max() < 1e-2


def test_inverse_of_a_field_is_read_from_the_file_beside_it(unireg, save, blobs, grids, wavy_field):
    grid = grids["anisotropic"]
    save("mov.nii.gz", blobs(grid), grid)
    field = wavy_field(grid, 2.0)
    chain = Chain((field, affine_of(EULER)))
    write_transforms("out_", TransformFormat.H5, chain, chain.invert(), fixed=grid, moving=grid)
    done = unireg("warp", "mov.nii.gz", "-r", "mov.nii.gz", "-t", "out_Composite.h5", "--invert", "-o", "beside.nii.gz")
    assert done.code == 0 and "out_InverseComposite.h5" in done.err
    assert unireg("warp", "mov.nii.gz", "-r", "mov.nii.gz", "-t", "out_InverseComposite.h5", "-o", "direct.nii.gz").code == 0
    assert np.array_equal(read("beside.nii.gz"), read("direct.nii.gz"))
    # A file of another run beside it is not believed.
    other = Chain((wavy_field(grid, 3.0, seed=5), Affine.identity()))
    write_transforms("new_", TransformFormat.H5, other, other.invert(), fixed=grid, moving=grid)
    Path("new_InverseComposite.h5").replace("out_InverseComposite.h5")
    done = unireg("warp", "mov.nii.gz", "-r", "mov.nii.gz", "-t", "out_Composite.h5", "--invert", "-o", "stale.nii.gz")
    assert done.code == 0 and "warning" in done.err and "not its inverse" in done.err
    assert np.abs(read("stale.nii.gz") - read("direct.nii.gz")).mean() < 0.02


def test_series_volume_by_volume_with_its_time_step(unireg, save, blobs, grids):
    grid = grids["RAS"]
    for number in range(3):
        save(f"v{number}.nii.gz", blobs(grid, (number, 0, 0)), grid)
    first = nibabel.load("v0.nii.gz")
    stack = nibabel.Nifti1Image(np.stack([np.asarray(nibabel.load(f"v{n}.nii.gz").dataobj) for n in range(3)], -1), first.affine)
    stack.header.set_zooms((*first.header.get_zooms(), 2.5))
    stack.header.set_xyzt_units("mm", "sec")
    nibabel.save(stack, "series.nii.gz")
    sitk.WriteTransform(EULER, "t.tfm")
    done = unireg("warp", "series.nii.gz", "-r", "ref.nii.gz", "-t", "t.tfm", "-o", "out.nii.gz")
    assert done.code == 0, done.err
    out = nibabel.load("out.nii.gz")
    assert out.shape == (*REFERENCE.size, 3) and out.header.get_zooms()[3] == pytest.approx(2.5)
    for number in range(3):
        truth = resampled(f"v{number}.nii.gz", EULER)
        assert np.abs(np.asarray(out.dataobj)[..., number].T - truth).max() < 1e-2


def test_label_map_under_linear_draws_a_warning_and_a_scan_does_not(unireg, save, blobs, grids):
    grid = grids["LPS"]
    save("seg.nii.gz", (blobs(grid) > 60).astype(np.uint8) * 3, grid)
    noise = np.random.default_rng(0).normal(0, 2, grid.shape)
    save("scan.nii.gz", (blobs(grid) + 20 + noise).astype(np.int16), grid)
    sitk.WriteTransform(EULER, "t.tfm")
    words = ("-r", "ref.nii.gz", "-t", "t.tfm", "--overwrite", "-o", "out.nii.gz")
    assert "looks like a label map" in unireg("warp", "seg.nii.gz", *words).err
    assert "label map" not in unireg("warp", "seg.nii.gz", *words, "-n", "label").err
    assert "label map" not in unireg("warp", "scan.nii.gz", *words).err


def test_outside_is_the_minimum_of_a_ct_zero_of_others_or_as_asked(unireg, save, blobs, grids):
    grid = grids["LPS"]
    hounsfield = np.where(blobs(grid) > 60, 40, -1000).astype(np.int16)
    save("ct.nii.gz", hounsfield, grid)
    save("mr.nii.gz", blobs(grid) + 10, grid)
    sitk.WriteTransform(sitk.TranslationTransform(3, (500.0, 0, 0)), "away.tfm")
    words = ("-r", "ref.nii.gz", "-t", "away.tfm", "--overwrite", "-o", "out.nii.gz")
    for image, more, value in (("ct.nii.gz", (), -1000), ("mr.nii.gz", (), 0), ("mr.nii.gz", ("--default-value", "-7"), -7)):
        assert unireg("warp", image, *words, *more).code == 0
        assert np.all(read("out.nii.gz") == value)


def test_chain_in_words_under_v_only(unireg, save, blobs, grids):
    save("mov.nii.gz", blobs(grids["LPS"]), grids["LPS"])
    sitk.WriteTransform(EULER, "t.tfm")
    words = ("warp", "mov.nii.gz", "-r", "ref.nii.gz", "-t", "t.tfm", "--overwrite", "-o", "out.nii.gz")
    assert "affine (determinant 1.0000)" in unireg(*words, "-v").err
    assert "affine" not in unireg(*words).err
    silent = unireg(*words, "-q")
    assert (silent.code, silent.out, silent.err) == (0, "", "")


BAD = {
    "no transform": (2, ("mov.nii.gz", "-r", "ref.nii.gz", "-o", "out.nii.gz"), "--transform"),
    "no reference": (2, ("mov.nii.gz", "-t", "t.tfm", "-o", "out.nii.gz"), "--reference"),
    "no output": (2, ("mov.nii.gz", "-r", "ref.nii.gz", "-t", "t.tfm"), "--output"),
    "nothing": (2, ("-r", "ref.nii.gz", "-t", "t.tfm", "-o", "out.nii.gz"), "nothing to warp"),
    "unknown interpolation": (2, ("mov.nii.gz", "-r", "ref.nii.gz", "-t", "t.tfm", "-n", "cubic", "-o", "out.nii.gz"), "nearest, linear"),
    "space without points": (2, ("mov.nii.gz", "-r", "ref.nii.gz", "-t", "t.tfm", "--space", "lps", "-o", "out.nii.gz"), "--points"),
    "existing output": (2, ("mov.nii.gz", "-r", "ref.nii.gz", "-t", "t.tfm", "-o", "there.nii.gz"), "--overwrite"),
    "output is input": (2, ("mov.nii.gz", "-r", "ref.nii.gz", "-t", "t.tfm", "-o", "./mov.nii.gz", "--overwrite"), "input"),
    "unknown format": (2, ("mov.nii.gz", "-r", "ref.nii.gz", "-t", "t.tfm", "-o", "out.jpg"), "format"),
    "missing folder": (2, ("mov.nii.gz", "-r", "ref.nii.gz", "-t", "t.tfm", "-o", "no/out.nii.gz"), "does not exist"),
    "quiet and verbose": (2, ("mov.nii.gz", "-r", "ref.nii.gz", "-t", "t.tfm", "-q", "-v", "-o", "out.nii.gz"), "contradict"),
    "no threads": (2, ("mov.nii.gz", "-r", "ref.nii.gz", "-t", "t.tfm", "-j", "0", "-o", "out.nii.gz"), "--threads"),
    "missing input": (3, ("nope.nii.gz", "-r", "ref.nii.gz", "-t", "t.tfm", "-o", "out.nii.gz"), "nope.nii.gz"),
    "missing transform": (3, ("mov.nii.gz", "-r", "ref.nii.gz", "-t", "nope.h5", "-o", "out.nii.gz"), "nope.h5"),
    "wrong transform": (3, ("mov.nii.gz", "-r", "ref.nii.gz", "-t", "text.h5", "-o", "out.nii.gz"), "text.h5"),
    "text as image": (3, ("text.nii", "-r", "ref.nii.gz", "-t", "t.tfm", "-o", "out.nii.gz"), "text.nii"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_words_and_files_give_one_line_a_code_and_no_file(unireg, save, blobs, grids, folder, case):
    save("mov.nii.gz", blobs(grids["LPS"]), grids["LPS"])
    sitk.WriteTransform(EULER, "t.tfm")
    Path("text.h5").write_text("not a transform")
    Path("text.nii").write_text("not an image")
    Path("there.nii.gz").write_text("old")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, words, hint = BAD[case]
    done = unireg("warp", *words)
    assert done.code == code, done.err
    assert done.err.startswith("unireg: error: ") and done.err.count("\n") == 1 and hint in done.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
