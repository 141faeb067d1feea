"""Flags that steer, from words to frozen options."""

from __future__ import annotations

from pathlib import Path

import pytest

from unireg_cli.commands.command_line import command_line
from unireg_cli.commands.comparison import second_answer
from unireg_cli.errors import UsageError
from unireg_cli.io.points import PointSpace
from unireg_cli.options import RegisterOptions
from unireg_cli.steering_words import SteeringFiles

PAIR = {"fixed": "fix.nii.gz", "moving": "mov.nii.gz"}
SEG = {"fixed_seg": "a.nii", "moving_seg": "b.nii"}
POINTS = {"fixed_points": "a.csv", "moving_points": "b.csv"}


def test_every_flag_reaches_its_option():
    words = {**PAIR, **SEG, **POINTS, "seg_labels": ["6=hepar, 1=spleen", "2=Left Kidney"], "space": "RAS", "compare_with": ["liver"]}
    options = RegisterOptions.from_words(words)
    labels = ((6, "liver"), (1, "spleen"), (2, "kidney_left"))
    assert options.steering == SteeringFiles(Path("a.nii"), Path("b.nii"), labels, Path("a.csv"), Path("b.csv"), PointSpace.RAS)
    assert {"a.nii", "b.nii", "a.csv", "b.csv"} <= {path.name for path in options.inputs}
    line = command_line(options)
    for text in ("--fixed-seg=a.nii", "--moving-points=b.csv", "--seg-labels=6=liver,1=spleen,2=kidney_left", "--space=ras"):
        assert text in line
    assert "--compare-with=liver" in line
    assert RegisterOptions.from_words(PAIR).steering is None


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ({"fixed_seg": "a.nii"}, "--fixed-seg steers only together with --moving-seg"),
        ({"moving_points": "a.csv"}, "--moving-points steers only together with --fixed-points"),
        ({"seg_labels": ["1=liver"]}, "--seg-labels would do nothing without --fixed-seg"),
        ({**SEG, "space": "ras"}, "--space would do nothing without --fixed-points"),
        ({**SEG, "fast": True}, "--fast leaves out the refinement, which is what --fixed-seg and --moving-seg steer"),
        ({**POINTS, "fast": True}, "--fast leaves out the refinement, which is what --fixed-points"),
        ({**SEG, "transform": "affine"}, "--fixed-seg, --moving-seg would do nothing with --transform affine"),
        ({**SEG, "seg_labels": ["liver"]}, "write labels from 1 on with their names"),
        ({**SEG, "seg_labels": ["0=liver"]}, "write labels from 1 on"),
        ({**SEG, "seg_labels": ["1=liver,1=spleen"]}, "label 1 is named twice"),
        ({**SEG, "seg_labels": ["1=livr"]}, r"--seg-labels: unknown name 'livr'; did you mean liver.*without --seg-labels all"),
        ({**SEG, "seg_labels": ["1=all"]}, "a label is one structure"),
        ({**POINTS, "space": "mni"}, "--space must be one of lps, ras, voxel"),
        ({"compare_with": ["all"]}, "--compare-with all asks for what --anatomy asks for"),
        ({"compare_with": ["liver"], "also": ["a.nii", "b.nii"]}, "--also cannot go with --compare-with"),
        ({"compare_with": ["liver"], "picture": "my.png"}, "--picture with a name cannot go with --compare-with"),
        ({**POINTS, "weights": "none", "anatomy": ["liver"]}, "--anatomy would do nothing with --weights none"),
    ],
)
def test_words_that_make_no_sense_are_refused(words, hint):
    with pytest.raises(UsageError, match=hint) as caught:
        RegisterOptions.from_words({**PAIR, **words})
    assert "\n" not in str(caught.value)


def test_without_a_network_the_segmentations_give_anatomy_a_meaning():
    options = RegisterOptions.from_words({**PAIR, **SEG, "weights": "none", "anatomy": ["liver"], "seg_labels": ["1=liver"]})
    assert options.settings.anatomy == ("liver",)


@pytest.mark.parametrize(
    ("output", "other", "prefix"),
    [("out_", ["all"], "out_all_"), (None, ["All"], "mov_to_fix_all_"), ("d/p_", ["spleen,left kidney"], "d/p_spleen-kidney_left_")],
)
def test_the_second_answer_has_a_name_of_its_own(output, other, prefix):
    words = {**PAIR, **SEG, "output": output, "anatomy": ["liver"], "compare_with": other, "picture": True}
    options = RegisterOptions.from_words(words)
    second = second_answer(options)
    assert second is not None
    assert second.output == Path(prefix) and second.picture == Path(f"{prefix}.png") and second.compare_with is None
    assert second.settings.anatomy == options.compare_with and second.steering == options.steering
    assert second_answer(second) is None
