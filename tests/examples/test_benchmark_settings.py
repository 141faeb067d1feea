"""What the runners hand to the tools, without the tools."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ants_runner import script_words
from common import Job, isotropic
from elastix_runner import STAGES, write_files
from toolbox import ENVIRONMENTS, PEERS, STARTS, TOOLS, USUAL

RUNNERS = Path(__file__).resolve().parents[2] / "examples" / "benchmark" / "runners"


def after(words: list[str], flag: str) -> list[str]:
    """Every value of a flag."""
    return [words[n + 1] for n, word in enumerate(words) if word == flag]


def test_every_tool_has_a_program_an_environment_and_a_source():
    for name, tool in TOOLS.items():
        assert tool.name == name and (RUNNERS / tool.runner).is_file() and tool.environment in ENVIRONMENTS and tool.source
        assert tool.starts <= set(STARTS) and bool(tool.missing) == (tool.starts != set(STARTS))
    assert set(PEERS) | {"none", "unireg-engine", "unireg-fast", "unireg", "unireg-best"} == set(TOOLS)
    assert set(TOOLS) - set(USUAL) == {"ants-syn-cc2"}


def test_the_script_with_radius_4_is_three_stages_from_centres_of_mass():
    words = script_words(Job(("cc", "4"), "f.nii", "m.nii", None, Path("o"), 2, "inter"), "o/")
    assert after(words, "--transform") == ["Rigid[0.1]", "Affine[0.1]", "SyN[0.2,3,0]"]
    assert after(words, "--metric")[1:] == ["MI[f.nii,m.nii,1,32,Regular,0.25]", "CC[f.nii,m.nii,1,4]"]
    assert after(words, "--convergence") == ["[1000x500x250x100,1e-6,10]"] * 2 + ["[100x70x50x20,1e-6,10]"]
    assert after(words, "--initial-moving-transform") == ["[f.nii,m.nii,1]"]
    # Each stage has its scales.
    assert after(words, "--shrink-factors") == ["8x4x2x1"] * 3 and after(words, "--smoothing-sigmas") == ["3x2x1x0vox"] * 3


def test_the_quick_script_from_a_start_is_one_stage_without_full_resolution():
    words = script_words(Job(("quick",), "f.nii", "m.nii", "s.tfm", Path("o"), 2, "inter"), "o/")
    assert after(words, "--transform") == ["SyN[0.2,3,0]"] and after(words, "--initial-moving-transform") == ["s.tfm"]
    assert after(words, "--metric") == ["MI[f.nii,m.nii,1,32]"] and after(words, "--convergence") == ["[100x70x50x0,1e-6,10]"]


@pytest.fixture
def thick(tmp_path):
    """A stack of 8 slices of 10 mm, oblique, and its file."""
    image = sitk.Image([40, 36, 8], sitk.sitkFloat32)
    image.SetSpacing((1.5, 1.5, 10.0))
    image.SetOrigin((5.0, -6.0, 7.0))
    image.SetDirection((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "thick.nii.gz"))
    return image


def test_the_isotropic_lattice_ends_where_the_image_ends(thick):
    lattice = isotropic(thick)
    assert np.ptp(lattice.GetSpacing()) < 0.05 * 1.5 and lattice.GetSize()[2] == 48
    for corner in ((0, 0, 0), (39, 35, 7), (39, 0, 7)):
        there = lattice.TransformPhysicalPointToContinuousIndex(thick.TransformIndexToPhysicalPoint(corner))
        ends = [0 if index == 0 else count - 1 for index, count in zip(corner, lattice.GetSize(), strict=True)]
        assert there == pytest.approx(ends, abs=1e-5)


def test_an_isotropic_image_stays_as_it_is():
    image = sitk.Image([20, 21, 22], sitk.sitkFloat32)
    assert isotropic(image) is image
    finer = isotropic(image, 22)
    assert finer.GetSize() == (22, 22, 22) and finer.GetSpacing() == pytest.approx((19 / 21, 20 / 21, 1))


def test_elastix_gets_its_files_and_the_start_in_its_own_format(thick, tmp_path):
    start = sitk.AffineTransform(3)
    start.SetMatrix((1, 0.25, 0, 0, 1, 0, 0, 0, 1.5))
    start.SetTranslation((1, 2, 3))
    sitk.WriteTransform(start, str(tmp_path / "s.tfm"))
    job = Job((), str(tmp_path / "thick.nii.gz"), "m", str(tmp_path / "s.tfm"), tmp_path, 2, "inter")
    assert [path.name for path in write_files(job)] == ["bspline.txt"]
    text = (tmp_path / "start.txt").read_text()
    numbers = {name: [float(value) for value in values.split()] for name, values in re.findall(r"\((\w+) ([-\d. e]+)\)", text)}
    assert numbers["TransformParameters"] == [1, 0.25, 0, 0, 1, 0, 0, 0, 1.5, 1, 2, 3] and numbers["CenterOfRotationPoint"] == [0, 0, 0]
    # Column by column: the first index axis points along (0.8, 0.6, 0).
    assert numbers["Direction"] == pytest.approx([0.8, 0.6, 0, -0.6, 0.8, 0, 0, 0, 1])
    assert numbers["Size"] == [40, 36, 8]
    lines = (tmp_path / "bspline.txt").read_text().splitlines()
    assert "(FinalGridSpacingInPhysicalUnits 16)" in lines and '(Transform "BSplineTransform")' in lines
    assert len(write_files(job._replace(start=None))) == 2 and STAGES["affine"]["AutomaticTransformInitialization"] == "true"
