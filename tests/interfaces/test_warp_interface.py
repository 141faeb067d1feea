"""``Warp``: what the command makes of its words."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from unireg_cli.__main__ import main


def carry_out(warp: Any) -> Path:
    """Run the interface's words in this process, where its single output must appear."""
    (outputs,) = [warp._list_outputs()]
    path = Path(outputs["warped"])
    assert not path.exists()
    words = shlex.split(warp.cmdline)
    assert words[:2] == ["unireg", "warp"] and main(words[1:]) == 0 and path.is_file()
    return path


def test_labels_go_through_a_chain_as_simpleitk_takes_them(interfaces: ModuleType, files: Path) -> None:
    """antsApplyTransforms order: the last given is applied to the image first, to a point of the result last."""
    warp = interfaces.Warp(image="labels.nii.gz", reference="fix.nii.gz", transform=["shift.tfm", "turn.tfm"])
    warp.inputs.trait_set(transform_invert=[True, False], interpolation="nearest", default_value=9.0)
    warp.inputs.trait_set(quiet=True, header="sform", log="log.txt")
    path = carry_out(warp)
    assert path == files / "labels_warped.nii.gz" and (files / "log.txt").is_file()
    chain = sitk.CompositeTransform([sitk.ReadTransform("turn.tfm"), sitk.ReadTransform("shift.tfm").GetInverse()])
    labels = sitk.ReadImage("labels.nii.gz")
    truth = sitk.GetArrayFromImage(sitk.Resample(labels, labels, chain, sitk.sitkNearestNeighbor, 9.0))
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert found.dtype == np.uint8 and set(np.unique(found)) == {0, 1, 9} and (found == truth).all()


def test_inverse_of_the_whole_under_a_name_of_its_own(interfaces: ModuleType, files: Path) -> None:
    path = carry_out(interfaces.Warp(image="fix.nii.gz", reference="fix.nii.gz", transform="shift.tfm", invert=True, output="out 1.mha"))
    image = sitk.ReadImage("fix.nii.gz")
    truth = sitk.Resample(image, image, sitk.TranslationTransform(3, (-3.0, 0.0, 0.0)), sitk.sitkLinear, 0.0)
    assert path.name == "out 1.mha"
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(path))) == pytest.approx(sitk.GetArrayFromImage(truth), abs=1e-3)


def test_points(interfaces: ModuleType, files: Path) -> None:
    (files / "where.csv").write_text("x,y,z\n1,2,3\n")
    path = carry_out(interfaces.Warp(points="where.csv", space="lps", transform="shift.tfm"))
    assert path.name == "where_warped.csv" and path.read_text().splitlines()[1].startswith("-2")
    voxels = interfaces.Warp(points="where.csv", space="voxel", reference="fix.nii.gz", moving_grid="mov.nii.gz", transform="shift.tfm")
    words = shlex.split(voxels.cmdline)
    assert words[words.index("--moving-grid") + 1] == str(files / "mov.nii.gz") and words[words.index("--space") + 1] == "voxel"


def test_a_folder_of_slices_becomes_one_file(interfaces: ModuleType, files: Path) -> None:
    (files / "series.1").mkdir()
    warp = interfaces.Warp(image="series.1", reference="fix.nii.gz", transform="shift.tfm")
    assert warp._list_outputs() == {"warped": str(files / "series.1_warped.nii.gz")}


def test_what_is_missing_is_said_before_it_runs(interfaces: ModuleType, files: Path) -> None:
    with pytest.raises(ValueError, match="requires a value for input 'transform'"):
        _ = interfaces.Warp(image="fix.nii.gz").cmdline
    with pytest.raises(ValueError, match="argument 'transform'"):
        _ = interfaces.Warp(image="fix.nii.gz", transform=["shift.tfm"], transform_invert=[True, False]).cmdline


def test_output_that_exists_does_not_change_the_hash(interfaces: ModuleType, files: Path) -> None:
    warp = interfaces.Warp(image="fix.nii.gz", reference="fix.nii.gz", transform="shift.tfm", output="out.nii.gz")
    before = warp.inputs.get_hashval()[1]
    (files / "out.nii.gz").touch()
    assert warp.inputs.get_hashval()[1] == before
    warp.inputs.invert = True
    assert warp.inputs.get_hashval()[1] != before
