from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from unireg_cli.__main__ import main
from unireg_cli.io.tables import read_table

_SHARED = Path(__file__).parents[2].parent / "shared"


@pytest.mark.data
def test_scores_are_those_of_the_independent_scorer(tmp_path):
    folder, script = _SHARED / "data" / "cardiac_mr", _SHARED / "bench" / "score.py"
    if not folder.is_dir() or not script.is_file():
        pytest.skip("the data sets of ../shared/data, or ../shared/bench/score.py, are not here")
    content = json.loads((folder / "dataset.json").read_text())
    pair = {side: str(folder / name) for side, name in content["registration_val"][0].items()}
    content |= {"training": [], "training_paired_images": [], "registration_val": [pair]}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    fixed = sitk.ReadImage(pair["fixed"])
    # A smooth random field of a few mm: 5 x 5 x 4 knots over the field of view.
    knots = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(4, 5, 5, 3)) * 4, isVector=True)
    knots.SetDirection(fixed.GetDirection())
    knots.SetOrigin(fixed.GetOrigin())
    knots.SetSpacing([s * n / (k - 1) for s, n, k in zip(fixed.GetSpacing(), fixed.GetSize(), knots.GetSize(), strict=True)])
    field = sitk.Cast(sitk.Resample(knots, fixed, sitk.Transform(), sitk.sitkLinear), sitk.sitkVectorFloat32)
    names = [Path(pair[side]).name.removesuffix(".nii.gz") for side in ("moving", "fixed")]
    place = tmp_path / f"{names[0]}_to_{names[1]}.nii.gz"
    sitk.WriteImage(field, str(place))

    spec = importlib.util.spec_from_file_location("independent_scorer", script)
    scorer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scorer)
    labels = [pair[side].replace("/images/", "/labels/") for side in ("fixed", "moving")]
    theirs, _ = scorer.score(*labels, str(place))

    assert main(["evaluate", str(tmp_path / "dataset.json"), "--transforms", str(tmp_path), "-o", str(tmp_path / "e_")]) == 0
    (ours,) = read_table(tmp_path / "e_pairs.csv", ("dice",))
    pairs = {"dice_all": "dice", "folding": "fold_pct", "sdlogj": "sdlogj", "folding_inside": "fold_pct_in", "sdlogj_inside": "sdlogj_in"}
    for own, other in pairs.items():
        assert ours[own] == pytest.approx(theirs[other], abs=1e-5), own
