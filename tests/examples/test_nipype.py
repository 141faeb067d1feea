"""The Nipype example by the real Nipype, its plugin MultiProc among it, on a cohort of phantoms."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pipelines import EXAMPLES, make_phantoms, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("nipype") is None, reason="needs Nipype (pip install 'unireg[nipype]')"),
]


def overlap(ours: Path, theirs: Path, label: int) -> float:
    one, other = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) == label for path in (ours, theirs))
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_cohort_comes_to_the_template_with_its_labels_and_a_second_run_is_cached(tmp_path: Path) -> None:
    phantoms = tmp_path / "phantoms"
    table = make_phantoms(phantoms, 2)
    words = ("python", EXAMPLES / "nipype" / "cohort.py", table, "--template", phantoms / "template.nii.gz", "--transform", "affine")
    words += ("--processes", "2", "--output", "results", "--work", "work")
    first = run(*words, folder=tmp_path)
    assert first.count('Executing "register"') == first.count('Executing "warp"') == 2
    kept = {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "results").rglob("*")) if path.is_file()}
    endings = ("Composite.h5", "InverseComposite.h5", "Warped.nii.gz", ".json")
    names = {f"{name}/{name}_to_template{ending}" for name in ("p1", "p2") for ending in endings}
    names |= {f"{name}/labels_in_template.nii.gz" for name in ("p1", "p2")}
    assert {path.relative_to(tmp_path / "results").as_posix() for path in kept} == names
    for name in ("p1", "p2"):
        record = json.loads((tmp_path / f"results/{name}/{name}_to_template.json").read_text())
        assert (record["options"]["settings"]["transform"], record["options"]["threads"]) == ("affine", 1)
        check_labels(tmp_path, name)
    second = run(*words, folder=tmp_path)
    assert 'Executing "register"' not in second and 'Executing "warp"' not in second
    assert second.count("Cached (cohort.register)") == second.count("Cached (cohort.warp)") == 2
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def check_labels(folder: Path, name: str) -> None:
    """On the template's grid, ids kept, and nearer to the template's than where both people just lie in the same place."""
    warped, template = folder / f"results/{name}/labels_in_template.nii.gz", folder / "phantoms/template_labels.nii.gz"
    image, reference = sitk.ReadImage(str(warped)), sitk.ReadImage(str(template))
    assert image.GetSize() == reference.GetSize() and image.GetPixelID() == sitk.sitkUInt8
    own = sitk.ReadImage(str(folder / f"phantoms/{name}_labels.nii.gz"))
    assert set(np.unique(sitk.GetArrayViewFromImage(image))) <= set(np.unique(sitk.GetArrayViewFromImage(own)))
    sitk.WriteImage(sitk.Resample(own, reference, sitk.Transform(), sitk.sitkNearestNeighbor), str(folder / "before.nii.gz"))
    largest = int(np.bincount(sitk.GetArrayViewFromImage(reference).ravel())[1:].argmax()) + 1
    assert overlap(warped, template, largest) > overlap(folder / "before.nii.gz", template, largest)
