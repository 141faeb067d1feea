"""The experiment with a set left out: its list of pairs, its runs and its verdict, on made-up rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gap
import pytest

from trainer.config_file import read_config
from trainer.finetune_data import _listed


def rows(dice: dict[str, float], changed: float = 0.0, pairs: int = 6) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for pair in range(pairs):
        for method, value in dice.items():
            cells: list[Any] = ["abdomen_mr", method, "abdomen_mr", f"f{pair}", "m", value + 0.01 * (pair - (pairs - 1) / 2), 0.1, 1.0]
            found.append(dict(zip(gap.COLUMNS, map(str, cells), strict=True)))
    for method in ("start", "controller"):
        cells = ["abdomen_mr", method, "brain_mr", "f", "m", 0.5, 0.1, changed if method == "controller" else 0.0]
        found.append(dict(zip(gap.COLUMNS, map(str, cells), strict=True)))
    return found


@pytest.mark.parametrize(
    ("controller", "all_of_it", "changed", "holds"),
    [(0.71, 0.71, 0.0, True), (0.70, 0.70, 0.0, False), (0.71, 0.69, 0.0, False), (0.71, 0.705, 0.0, True), (0.71, 0.71, 1e-7, False)],
)
def test_claim_holds_if_half_the_gap_is_closed_and_nothing_else_moves(
    controller: float, all_of_it: float, changed: float, holds: bool
) -> None:
    """By hand: from 0.60 to 0.81 the half is 0.105."""
    verdict = gap.judged(rows({"start": 0.60, "joint": 0.81, "controller": controller, "all": all_of_it}, changed), "abdomen_mr")
    assert verdict is not None and verdict.holds is holds


def test_a_small_gap_or_a_part_of_the_pairs_shows_nothing() -> None:
    small = gap.judged(rows({"start": 0.60, "joint": 0.62, "controller": 0.62, "all": 0.62}), "abdomen_mr")
    assert small.holds is None and "nothing to win back" in small.lines[-1]
    part = gap.judged(rows({"start": 0.60, "joint": 0.80, "controller": 0.75, "all": 0.75}, pairs=2), "abdomen_mr")
    assert part.holds is None
    assert gap.judged([], "abdomen_mr") is None


def test_five_pairs_are_ten_scans_with_their_labels(tmp_path: Path) -> None:
    scans = [{"image": f"./images/{k}.nii.gz", "label": f"./labels/{k}.nii.gz"} for k in range(12)]
    content = {"name": "x", "region": "abdomen", "modality": {"0": "MR"}, "labels": {"0": {"1": "liver"}}, "training": scans}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    listed = _listed(gap.five_pairs(tmp_path / "dataset.json", tmp_path / "own" / "pairs.json"))
    assert len(listed.pairs) == 5 and len(listed.files) == 10 and listed.region == "abdomen"
    assert listed.pairs[4] == tuple((tmp_path / f"images/{k}.nii.gz").as_posix() for k in (8, 9))
    assert listed.files[listed.pairs[0][0]] == str(tmp_path / "labels/0.nii.gz")


@pytest.mark.parametrize("left_out", gap.SETS)
def test_start_is_the_joint_run_without_the_set_and_torsos_stand_in_for_ct(left_out: str, tmp_path: Path) -> None:
    base, study = read_config(gap.study.UNSEEN_CONFIG), gap.study
    joint, start = (study.config_of(run, base, tmp_path, tmp_path, tmp_path) for run in (study.seeing(), gap.start_run(left_out)))
    theirs = [source for source in joint.sources if Path(source.path).parent.name != left_out]
    assert start.sources[:4] == tuple(theirs) and len(theirs) == 4
    assert start.steps == joint.steps and start.losses == joint.losses and start.optimiser == joint.optimiser
    instead = start.sources[4:]
    assert [source.phantoms for source in instead] == [("torso",)] * (left_out == "abdomen_ct")
    assert all(source.voxels == gap.lattices(left_out) for source in instead)


def test_wrong_sets_and_no_rows_are_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        gap.main(["--only", "brain_mr"])
    assert gap.main(["--results", str(tmp_path / "none.csv")]) == 1
