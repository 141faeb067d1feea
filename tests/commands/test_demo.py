"""``unireg demo`` from the command line to its files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from unireg_cli.app import app
from unireg_cli.errors import UsageError
from unireg_cli.io.images import read_image
from unireg_cli.io.points import PointSpace, read_points
from unireg_cli.io.transforms import read_transform

_FILES = {
    "fixed.nii.gz",
    "moving.nii.gz",
    "fixed_labels.nii.gz",
    "moving_labels.nii.gz",
    "label_names.csv",
    "fixed_landmarks.csv",
    "moving_landmarks.csv",
    "moving_to_fixed_Warped.nii.gz",
    "moving_to_fixed_WarpedLabels.nii.gz",
    "moving_to_fixed_Composite.h5",
    "moving_to_fixed_InverseComposite.h5",
    "moving_to_fixed_picture.png",
}


@pytest.mark.slow
def test_files_and_summary(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "demo"
    result = CliRunner().invoke(app, ["demo", "-o", str(folder), "--coarsen", "2.5"], catch_exceptions=False)
    assert result.exit_code == 0
    assert {path.name for path in folder.iterdir()} == _FILES
    for words in ("Dice liver", "landmarks, mean (mm)", "95th percentile", "seconds", "moving_to_fixed_picture.png"):
        assert words in result.stdout
    fixed, labels = read_image(folder / "fixed.nii.gz"), read_image(folder / "fixed_labels.nii.gz")
    assert fixed.voxels.dtype == np.int16 and labels.voxels.dtype == np.uint8
    assert read_image(folder / "moving_to_fixed_Warped.nii.gz").grid.same_space(fixed.grid)
    _check_landmarks(folder, labels.voxels, labels.grid.index_from_lps)


def _check_landmarks(folder: Path, labels: np.ndarray, index_from_lps: np.ndarray) -> None:
    """What was written says by itself that the registration brought the landmarks together."""
    there = read_points(folder / "fixed_landmarks.csv", PointSpace.LPS)
    here = read_points(folder / "moving_landmarks.csv", PointSpace.LPS).points_lps
    before = np.linalg.norm(there.points_lps - here, axis=1)
    after = np.linalg.norm(read_transform(folder / "moving_to_fixed_Composite.h5").map(there.points_lps) - here, axis=1)
    back = np.linalg.norm(read_transform(folder / "moving_to_fixed_InverseComposite.h5").map(here) - there.points_lps, axis=1)
    assert before.mean() > 10 and after.mean() < 0.5 * before.mean() and back.mean() < 0.5 * before.mean()
    with (folder / "label_names.csv").open(newline="") as stream:
        names = {row["name"]: int(row["label"]) for row in csv.DictReader(stream)}
    i, j, k = np.rint(there.points_lps @ index_from_lps[:3, :3].T + index_from_lps[:3, 3]).astype(int).T
    organs = [names[row[3]] for row in there.rows]
    # Coarse voxels: a landmark 6 mm deep may round out of a thin organ.
    assert (labels[k, j, i] == organs).mean() > 0.9


def test_existing_files_are_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "fixed.nii.gz").write_bytes(b"mine")
    with pytest.raises(UsageError, match="--overwrite"):
        CliRunner().invoke(app, ["demo", "-o", str(tmp_path)], catch_exceptions=False)
    assert [path.name for path in tmp_path.iterdir()] == ["fixed.nii.gz"]
    assert (tmp_path / "fixed.nii.gz").read_bytes() == b"mine"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="cannot be made"):
        CliRunner().invoke(app, ["demo", "-o", str(tmp_path / "taken")], catch_exceptions=False)


def test_help_names_the_flags() -> None:
    text = CliRunner().invoke(app, ["demo", "--help"], terminal_width=140).stdout
    assert all(flag in text for flag in ("--output", "--seed", "--amount", "--coarsen", "--overwrite"))
