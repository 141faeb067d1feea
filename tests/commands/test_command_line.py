"""The command line on a report gives the same options again."""

from __future__ import annotations

import shlex
from dataclasses import fields
from typing import Any

import pytest
import typer

from unireg_cli.app import app
from unireg_cli.commands.command_line import command_line
from unireg_cli.loading import choose_weights, complete
from unireg_cli.options import RegisterOptions
from unireg_cli.registration.settings import Settings

PAIR = {"fixed": "a b/fix'd.nii.gz", "moving": "mov.nii.gz"}
CASES: list[dict[str, Any]] = [
    {},
    {"transform": "affine", "init": ["moments"], "seed": 3, "threads": 2, "device": "cpu", "header": "sform"},
    {"anatomy": ["liver,spleen", "kidneys"], "mode": "intra", "smoothness": 0.25, "best": True, "deterministic": True},
    {"fast": True, "init": ["a b.mat", "[c.h5,1]"], "modality": "ct", "moving_modality": None, "similarity": "mind", "weights": "none"},
    {"iterations": 0, "field_spacing": "full", "jacobian": True, "log_jacobian": True, "inverse_warped": True, "fail_on_folding": 0.0},
    {"also": ["x y.nii", "out 1.nii"], "also_labels": ["l.nii", "m.nii"], "transform_format": "ants", "interpolation": "BSpline"},
    {"fixed_mask": "fm.nii", "moving_mask": "mm.nii", "default_value": -1000.0, "max_memory": 4.5, "fixed_modality": "mr"},
    {"report": True, "picture": ""},
    {"fixed_seg": "f s.nii", "moving_seg": "ms.nii", "seg_labels": ["6=liver,1=spleen"], "compare_with": ["spleen"]},
    {"fixed_points": "f.csv", "moving_points": "m p.csv", "space": "ras"},
    {"report": True, "picture": "x y.png", "output": "out dir/p_"},
    {"dicom_out": "a series/"},
    {"bids": True, "fixed": "tpl-MNI_T1w.nii.gz", "moving": "raw/sub-01/anat/sub-01_T1w.nii.gz", "output": "derivatives"},
]


def parsed(line: str) -> RegisterOptions:
    """What the app makes of a line."""
    words = shlex.split(line)
    assert words[:2] == ["unireg", "register"]
    command = typer.main.get_command(app).commands["register"]  # type: ignore[attr-defined]
    return RegisterOptions.from_words(command.make_context("register", words[2:]).params)


@pytest.mark.parametrize("words", CASES)
def test_there_and_back(words):
    options = RegisterOptions.from_words({**PAIR, **words})
    assert parsed(command_line(options)) == options
    # As the run itself has them, with the weights' own smoothness filled in.
    done = complete(options, choose_weights([options]))
    assert complete(parsed(command_line(done)), choose_weights([options])) == done


def test_every_option_is_tried():
    """A new one must be told on the line, too. The voxel budget has no flag."""
    usual = RegisterOptions.from_words({"fixed": "f.nii", "moving": "m.nii"})
    tried = [RegisterOptions.from_words({**PAIR, **words}) for words in CASES]
    for name in (entry.name for entry in fields(RegisterOptions) if entry.name not in ("settings", "fixed", "moving")):
        assert any(getattr(options, name) != getattr(usual, name) for options in tried), name
    for name in (entry.name for entry in fields(Settings) if entry.name != "voxel_budget"):
        assert any(getattr(options.settings, name) != getattr(usual.settings, name) for options in tried), name


def test_what_changes_nothing_is_left_out():
    options = RegisterOptions.from_words({"fixed": "f.nii", "moving": "m.nii"})
    assert command_line(options) == "unireg register --fixed f.nii --moving m.nii --output m_to_f"
