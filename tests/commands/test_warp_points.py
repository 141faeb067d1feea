"""``unireg warp --points``: points go where their tissue goes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from unireg_cli.io.transforms import write_transforms
from unireg_cli.spatial import Chain
from unireg_cli.types import TransformFormat

# Fixed point -> moving point: a quarter turn about z and a shift. (1, 2, 3) -> (-2, 1, 3) + (10, 20, 30) = (8, 21, 33).
TURN = sitk.AffineTransform((0, -1, 0, 1, 0, 0, 0, 0, 1), (10.0, 20.0, 30.0))


def write(name: str, points: list[tuple[float, ...]]) -> None:
    with Path(name).open("w", newline="") as stream:
        csv.writer(stream).writerows([("x", "y", "z", "name"), *((*point, f"p{number}") for number, point in enumerate(points))])


def read(name: str) -> np.ndarray:
    with Path(name).open(newline="") as stream:
        return np.array([[float(row[axis]) for axis in "xyz"] for row in csv.DictReader(stream)])


def test_moving_points_go_to_the_fixed_space_through_the_inverse(unireg):
    sitk.WriteTransform(TURN, "t.tfm")
    write("moving.csv", [(8, 21, 33)])
    done = unireg("warp", "--points", "moving.csv", "--space", "lps", "-t", "t.tfm", "-o", "fixed.csv")
    assert done.code == 0 and "inverse of the chain" in done.err
    assert np.allclose(read("fixed.csv"), [(1, 2, 3)])
    assert ",p0" in Path("fixed.csv").read_text()


def test_inverted_chain_carries_fixed_points_to_the_moving_space(unireg):
    sitk.WriteTransform(TURN, "t.tfm")
    write("fixed.csv", [(1, 2, 3)])
    assert unireg("warp", "--points", "fixed.csv", "--space", "lps", "-t", "t.tfm", "--invert", "-o", "moving.csv").code == 0
    assert np.allclose(read("moving.csv"), [(8, 21, 33)])


def test_ras_is_lps_with_two_signs(unireg):
    sitk.WriteTransform(TURN, "t.tfm")
    write("moving.csv", [(-8, -21, 33)])
    assert unireg("warp", "--points", "moving.csv", "--space", "RAS", "-t", "t.tfm", "-o", "fixed.csv").code == 0
    assert np.allclose(read("fixed.csv"), [(-1, -2, 3)])


def test_voxels_of_one_image_become_voxels_of_the_other(unireg, save, grids):
    moving, fixed = grids["oblique"], grids["RAS"]
    save("mov.nii.gz", np.zeros(moving.shape, np.float32), moving)
    save("fix.nii.gz", np.zeros(fixed.shape, np.float32), fixed)
    sitk.WriteTransform(TURN, "t.tfm")
    mov, fix = sitk.ReadImage("mov.nii.gz"), sitk.ReadImage("fix.nii.gz")
    write("in.csv", [(3, 4, 5), (10.5, 2, 0)])
    words = ("--points", "in.csv", "--space", "voxel", "-t", "t.tfm", "--moving-grid", "mov.nii.gz", "-r", "fix.nii.gz", "-o", "out.csv")
    done = unireg("warp", *words)
    assert done.code == 0 and "outside the field of view" in done.err
    for start, end in zip([(3, 4, 5), (10.5, 2, 0)], read("out.csv"), strict=True):
        world = TURN.GetInverse().TransformPoint(mov.TransformContinuousIndexToPhysicalPoint(start))
        assert np.allclose(fix.TransformPhysicalPointToContinuousIndex(world), end, atol=1e-5)


@pytest.mark.parametrize("fmt", list(TransformFormat))
def test_a_point_lands_on_its_warped_label(unireg, save, grid, wavy_field, fmt):
    field = wavy_field(grid, 2.5)
    chain = Chain((field,))
    write_transforms("out_", fmt, chain, chain.invert(), fixed=grid, moving=grid)
    ants = ("-t", "out_1Warp.nii.gz", "-t", "out_0GenericAffine.mat")
    words = {"h5": ("-t", "out_Composite.h5"), "ants": ants, "nii": ("-t", "out_Warp.nii.gz")}
    matrix = grid.lps_from_index
    index = np.array([(n // 2 + a, n // 3 + a, n // 2 - a) for a, n in zip((0, 1, 2), grid.size, strict=True)]) % np.array(grid.size)
    index = np.clip(index, 2, np.array(grid.size) - 3)
    points = index @ matrix[:3, :3].T + matrix[:3, 3]
    write("moving.csv", [tuple(point) for point in points])
    done = unireg("warp", "--points", "moving.csv", "--space", "lps", *words[fmt], "-o", "fixed.csv")
    assert done.code == 0 and "inverted by the inverse beside it" in done.err
    back = np.stack([chain.map(point[None])[0] for point in read("fixed.csv")])
    assert np.abs(back - points).max() < 0.05 * min(grid.spacing)
    labels = np.zeros(grid.shape, np.uint8)
    for number, (i, j, k) in enumerate(index, 1):
        labels[max(k - 1, 0) : k + 2, j - 1 : j + 2, i - 1 : i + 2] = number
    save("seg.nii.gz", labels, grid)
    assert unireg("warp", "seg.nii.gz", "-r", "seg.nii.gz", *words[fmt], "-n", "nearest", "-o", "warped.nii.gz").code == 0
    warped = sitk.ReadImage("warped.nii.gz")
    for point, (i, j, k) in zip(read("fixed.csv"), index, strict=True):
        found = warped.GetPixel(warped.TransformPhysicalPointToIndex(point.tolist()))
        assert found == labels[k, j, i]


BAD = {
    "no space": (2, ("--points", "p.csv", "-t", "t.tfm", "-o", "o.csv"), "--space"),
    "image and points": (2, ("i.nii.gz", "--points", "p.csv", "--space", "lps", "-t", "t.tfm", "-o", "o.csv"), "not both"),
    "voxels without grids": (2, ("--points", "p.csv", "--space", "voxel", "-t", "t.tfm", "-o", "o.csv"), "--moving-grid"),
    "grid without voxels": (2, ("--points", "p.csv", "--space", "ras", "--moving-grid", "i.nii.gz", "-t", "t.tfm", "-o", "o.csv"), "voxel"),
    "interpolation": (2, ("--points", "p.csv", "--space", "lps", "-n", "linear", "-t", "t.tfm", "-o", "o.csv"), "--interpolation"),
    "no columns": (3, ("--points", "bad.csv", "--space", "lps", "-t", "t.tfm", "-o", "o.csv"), "bad.csv"),
    "missing": (3, ("--points", "nope.csv", "--space", "lps", "-t", "t.tfm", "-o", "o.csv"), "nope.csv"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_points_give_one_line_a_code_and_no_file(unireg, folder, case):
    sitk.WriteTransform(TURN, "t.tfm")
    write("p.csv", [(1, 2, 3)])
    Path("bad.csv").write_text("a,b,c\n1,2,3\n")
    code, words, hint = BAD[case]
    done = unireg("warp", *words)
    assert done.code == code, done.err
    assert done.err.startswith("unireg: error: ") and done.err.count("\n") == 1 and hint in done.err
    assert not Path("o.csv").exists()
