"""``bids`` and ``dicom_out`` of the interfaces: outputs known before anything runs."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from unireg_cli.__main__ import main

PAIR = {"fixed": "tpl-Mean_T1w.nii.gz", "moving": "sub-01_T1w.nii.gz"}


@pytest.fixture(autouse=True)
def _named_by_bids(files: Path) -> None:
    for name, source in zip(PAIR.values(), ("fix", "mov"), strict=True):
        shutil.copy(files / f"{source}.nii.gz", name)


@pytest.mark.parametrize("format_", ["h5", "ants"])
def test_outputs_of_bids_are_those_that_the_command_plans(
    interfaces: ModuleType, capfd: pytest.CaptureFixture[str], format_: str
) -> None:
    register = interfaces.Register(**PAIR, bids=True, output="deriv", transform="affine", report=True, transform_format=format_)
    outputs = register._list_outputs()
    capfd.readouterr()
    assert main([*shlex.split(register.cmdline)[1:], "--dry-run", "--json"]) == 0
    (run,) = json.loads(capfd.readouterr().out)["runs"]
    single = [path for path in outputs.values() if isinstance(path, str)]
    assert sorted([*single, *outputs["sidecars"]]) == sorted(str(Path(path).absolute()) for path in run["outputs"].values())
    assert set(outputs) <= set(interfaces.Register.output_spec().get())
    folder = Path("deriv/sub-01/anat").absolute()
    assert outputs["warped"] == str(folder / "sub-01_space-Mean_desc-warped_T1w.nii.gz")
    assert all(Path(path).parent == folder for path in single)
    ends = ["h5"] if format_ == "h5" else ["nii.gz", "mat"]
    assert [path.partition("_xfm.")[2] for path in outputs["forward_transforms"]] == ends


def test_a_table_by_bids_gives_lists(interfaces: ModuleType) -> None:
    Path("pairs.csv").write_text("fixed,moving\n" + ",".join(str(Path(name).absolute()) for name in PAIR.values()) + "\n")
    outputs = interfaces.Register(pairs="pairs.csv", bids=True, output="deriv", transform="affine")._list_outputs()
    assert [Path(path).name for path in outputs["warped"]] == ["sub-01_space-Mean_desc-warped_T1w.nii.gz"]


def test_dicom_folder_is_an_output(interfaces: ModuleType) -> None:
    register = interfaces.Register(**PAIR, dicom_out="a series", transform="affine")
    assert register._list_outputs()["dicom"] == str(Path("a series").absolute()) and "--dicom-out 'a series'" in register.cmdline
    warp = interfaces.Warp(image="mov.nii.gz", reference="fix.nii.gz", transform="shift.tfm", dicom_out="w")
    assert warp._list_outputs()["dicom"] == str(Path("w").absolute()) and "--dicom-out w" in warp.cmdline
    assert "dicom" not in interfaces.Warp(image="mov.nii.gz", reference="fix.nii.gz", transform="shift.tfm")._list_outputs()
