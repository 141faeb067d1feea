"""Names by BIDS, from the names of two files."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from unireg_cli.bids import BidsName, bids_names
from unireg_cli.errors import UsageError

ROOT = Path("deriv")
TO_TEMPLATE = ("tpl/tpl-MNI152NLin2009cAsym_res-01_T1w.nii.gz", "raw/sub-01/ses-2/anat/sub-01_ses-2_run-1_T1w.nii.gz")


def test_subject_to_template() -> None:
    names = bids_names(ROOT, *map(Path, TO_TEMPLATE))
    folder = ROOT / "sub-01" / "ses-2" / "anat"
    assert names.image("warped") == folder / "sub-01_ses-2_run-1_space-MNI152NLin2009cAsym_desc-warped_T1w.nii.gz"
    assert names.transform(".h5") == folder / "sub-01_ses-2_run-1_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5"
    assert names.transform(".h5", inverse=True) == folder / "sub-01_ses-2_run-1_from-MNI152NLin2009cAsym_to-T1w_mode-image_xfm.h5"
    assert names.transform(".mat", part="affine").name.endswith("_mode-image_desc-affine_xfm.mat")
    assert names.image("x", moved=False).name == "sub-01_ses-2_run-1_space-T1w_desc-x_T1w.nii.gz"
    assert names.prefix == folder / "sub-01_ses-2_run-1_space-MNI152NLin2009cAsym_"


@pytest.mark.parametrize(
    ("fixed", "moving", "here", "there"),
    [
        ("sub-01_T1w", "sub-01_T2w", "T2w", "T1w"),
        ("sub-02_T1w", "sub-01_T1w", "T1w", "sub02T1w"),
        ("sub-01_ses-1_T1w", "sub-01_ses-2_T1w", "T1w", "ses1T1w"),
        ("sub-01_ses-1_run-2_T1w", "sub-01_ses-1_run-1_FLAIR", "FLAIR", "run2T1w"),
        ("sub-02_ses-1_T1w", "sub-01_ses-1_T1w", "T1w", "sub02ses1T1w"),
        ("sub-01_T1w", "sub-01_acq-hi_T1w", "acqhiT1w", "T1w"),
        ("tpl-MNIInfant_cohort-1_T2w", "sub-01_T1w", "T1w", "MNIInfantcohort1"),
        ("sub-02_acq-a+b_T1w", "sub-01_T1w", "T1w", "sub02acqabT1w"),
    ],
)
def test_a_space_is_called_by_what_tells_it_apart(fixed: str, moving: str, here: str, there: str) -> None:
    names = bids_names(ROOT, Path(f"{fixed}.nii.gz"), Path(f"{moving}.nii.gz"))
    assert (names.here, names.there) == (here, there)


def test_results_say_their_own_space_and_description() -> None:
    moving = Path("x/sub-01_space-T2w_res-2_label-GM_desc-preproc_probseg.nii.gz")
    names = bids_names(ROOT, Path("tpl-MNI_T1w.nii"), moving)
    assert names.image("warped").name == "sub-01_space-MNI_label-GM_desc-warped_probseg.nii.gz"


@pytest.mark.parametrize(("place", "datatype"), [("sub-01/perf", "perf"), ("scans", "anat"), ("", "anat"), ("anat", "anat")])
def test_files_lie_where_the_moving_image_lies_in_its_dataset(place: str, datatype: str) -> None:
    assert bids_names(ROOT, Path("tpl-A_T1w.nii"), Path(place) / "sub-9_asl.nii").folder == ROOT / "sub-9" / datatype


@pytest.mark.parametrize(
    ("fixed", "moving", "hint"),
    [
        ("sub-01_T1w.nii.gz", "patient1.nii.gz", "patient1.nii.gz is no name by BIDS"),
        ("fixed.nii.gz", "sub-01_T1w.nii.gz", "fixed.nii.gz is no name by BIDS"),
        ("sub-01_T1w.nii.gz", "sub-01.nii.gz", "no name by BIDS"),
        ("sub-01_T1w.nii.gz", "sub-01_sub-02_T1w.nii.gz", "no name by BIDS"),
        ("sub-01_T1w.nii.gz", "sub-01_run_T1w.nii.gz", "no name by BIDS"),
        ("sub-01_T1w.nii.gz", "sub-0_1-a_T1-w.nii.gz", "no name by BIDS"),
        ("sub-01_T1w.nii.gz", "tpl-MNI_T1w.nii.gz", "let the template be FIXED"),
        ("acq-hi_T1w.nii.gz", "sub-01_T1w.nii.gz", "neither sub- nor tpl-"),
        ("a/sub-01_T1w.nii.gz", "b/sub-01_T1w.nii.gz", "differ in nothing"),
    ],
)
def test_other_names_are_refused(fixed: str, moving: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint) as caught:
        bids_names(ROOT, Path(fixed), Path(moving))
    assert caught.value.exit_code == 2


def test_two_fixed_images_never_share_names() -> None:
    moving = Path("sub-01_ses-1_T1w.nii")
    fixed = ["sub-01_ses-2_T1w", "sub-02_ses-1_T1w", "sub-02_ses-2_T1w", "sub-01_ses-1_T2w", "sub-01_ses-1_acq-hi_T2w", "sub-02_T1w"]
    fixed += ["tpl-A_T1w", "tpl-A_cohort-1_T1w"]
    assert len({bids_names(ROOT, Path(f"{name}.nii"), moving).prefix for name in fixed}) == len(fixed)


@pytest.fixture(scope="module")
def schema() -> Any:
    try:
        return importlib.import_module("bidsschematools.schema").load_schema()
    except ModuleNotFoundError as error:
        pytest.skip(f"needs the BIDS schema (pip install bidsschematools): {error}")


def test_warped_images_are_derivatives_by_the_schema_of_bids(schema: Any) -> None:
    """Entities in the schema's order, each allowed for the suffix in a derivative of its datatype."""
    order = {schema.objects.entities[name].name: place for place, name in enumerate(schema.rules.entities)}
    long = {schema.objects.entities[name].name: name for name in schema.rules.entities}
    for moving in ("sub-01_ses-2_acq-x_run-1_T1w.nii.gz", "sub-01_ce-gd_T2w.nii", "perf/sub-01_asl.nii", "pet/sub-01_trc-FDG_pet.nii"):
        path = bids_names(ROOT, Path(TO_TEMPLATE[0]), Path(moving)).image("warped")
        name = BidsName.parse(path)
        places = [order[key] for key, _ in name.entities]
        assert places == sorted(places)
        rules = schema.rules.files.deriv.imaging.values()
        rules = [rule for rule in rules if name.suffix in rule.suffixes and name.datatype in rule.datatypes]
        allowed = [{long[key] for key, _ in name.entities} <= set(rule.entities) and ".nii.gz" in rule.extensions for rule in rules]
        assert any(allowed), path
        assert all(re.fullmatch(schema.objects.formats.label.pattern, value) for key, value in name.entities if key in ("space", "desc"))
