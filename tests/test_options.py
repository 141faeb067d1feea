"""From words to frozen options."""

from __future__ import annotations

from pathlib import Path

import pytest

from unireg_cli.errors import UsageError
from unireg_cli.options import Companion, RegisterOptions, stem
from unireg_cli.types import Effort, Interpolation, Modality, Start, TransformFormat, TransformKind
from unireg_cli.words import TransformSpec

PAIR = {"fixed": "a/fix.nii.gz", "moving": "b/mov.mha"}


def test_defaults():
    options = RegisterOptions.from_words(PAIR)
    assert (options.fixed, options.moving, options.output) == (Path("a/fix.nii.gz"), Path("b/mov.mha"), Path("mov_to_fix"))
    assert options.settings.transform is TransformKind.DEFORMABLE and options.settings.start is Start.AUTO
    assert options.transform_format is TransformFormat.H5 and options.interpolation is Interpolation.LINEAR


def test_every_flag_reaches_its_option():
    words = {
        "fixed_file": "f.nii",
        "moving_file": "m.nii",
        "output": "out/p_",
        "init": ["a.mat", "[b.h5,1]"],
        "modality": "ct",
        "moving_modality": "mr",
        "similarity": "mind",
        "anatomy": ["Left-Hippocampus,hepar", "kidneys"],
        "mode": "INTRA",
        "weights": "mine.safetensors",
        "smoothness": 0.25,
        "iterations": 7,
        "best": True,
        "fixed_mask": "fm.nii",
        "moving_mask": "mm.nii",
        "also": ["i.nii", "o.nii"],
        "also_labels": ["l.nii", "k.nii"],
        "field_spacing": "Full",
        "transform_format": "ants",
        "jacobian": True,
        "log_jacobian": True,
        "inverse_warped": True,
        "picture": True,
        "interpolation": "BSpline",
        "default_value": -5.0,
        "device": "cpu",
        "threads": 3,
        "seed": 9,
        "deterministic": True,
        "max_memory": 2.5,
        "fail_on_folding": 1.0,
        "header": "qform",
    }
    options = RegisterOptions.from_words(words)
    assert options.init == (TransformSpec(Path("a.mat")), TransformSpec(Path("b.h5"), invert=True))
    assert options.also == (Companion(Path("i.nii"), Path("o.nii")), Companion(Path("l.nii"), Path("k.nii"), labels=True))
    settings = options.settings
    assert (settings.fixed_modality, settings.moving_modality) == (Modality.CT, Modality.MR)
    assert (settings.smoothness, settings.iterations, settings.effort, settings.field_spacing) == (0.25, 7, Effort.BEST, "full")
    assert (settings.device, settings.seed, settings.deterministic, settings.similarity) == ("cpu", 9, True, "mind")
    assert (settings.anatomy, settings.mode) == (("hippocampus_left", "liver", "kidneys"), "intra")
    assert (options.smoothness, options.weights) == (0.25, "mine.safetensors")
    assert options.output == Path("out/p_")
    assert (options.transform_format, options.interpolation) == (TransformFormat.ANTS, Interpolation.BSPLINE)
    assert (options.jacobian, options.log_jacobian, options.inverse_warped, options.picture) == (True, True, True, Path("out/p_.png"))
    assert (options.default_value, options.threads, options.max_memory_gb, options.fail_on_folding) == (-5.0, 3, 2.5, 1.0)
    assert options.header == "qform"
    names = {"f.nii", "m.nii", "fm.nii", "mm.nii", "a.mat", "b.h5", "i.nii", "l.nii"}
    assert {path.name for path in options.inputs} == names


@pytest.mark.parametrize("word", ["none", "HEADER", "centers", "moments"])
def test_init_keyword_sets_the_start(word):
    options = RegisterOptions.from_words({**PAIR, "init": [word]})
    assert options.settings.start is Start(word.lower()) and options.init == ()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ({"fixed": None}, "fixed image is missing"),
        ({"moving": None}, "moving image is missing"),
        ({"fixed_file": "c.nii"}, "twice"),
        ({"fast": True, "best": True}, "contradict"),
        ({"init": ["none", "a.mat"]}, "one keyword"),
        ({"output": "results/"}, "results/out_"),
        ({"output": ".."}, "folder"),
        ({"also": ["a.nii"]}, "two values"),
        ({"smoothness": 1.5}, "--smoothness"),
        ({"field_spacing": "wide"}, "--field-spacing"),
        ({"fail_on_folding": -1.0}, "--fail-on-folding"),
        ({"max_memory": 0.0}, "--max-memory"),
        ({"interpolation": "cubic"}, "nearest, linear"),
        ({"anatomy": ["livr"]}, "did you mean liver"),
        ({"anatomy": [""]}, "a name is empty"),
        ({"anatomy": ["all", "liver"]}, "all contains liver already"),
        ({"mode": "both"}, "inter, intra"),
        ({"weights": "none", "anatomy": ["liver"]}, "--anatomy would do nothing with --weights none"),
        ({"weights": "none", "compare_with": ["liver"]}, "--compare-with would do nothing"),
        ({"transform": "affine", "anatomy": ["liver"], "weights": "a"}, "--anatomy, --weights would do nothing with --transform affine"),
        ({"modality": "ct", "fixed_modality": "mr", "moving_modality": "mr"}, "does nothing"),
        ({"transform": "affine", "jacobian": True}, "--jacobian"),
        ({"transform": "affine", "log_jacobian": True}, "--log-jacobian"),
        ({"transform": "rigid", "smoothness": 0.0}, "--smoothness"),
        ({"transform": "rigid", "iterations": 0}, "--iterations"),
        ({"transform": "affine", "fail_on_folding": 0.0}, "--fail-on-folding"),
        ({"transform": "affine", "field_spacing": "auto"}, "--field-spacing"),
    ],
)
def test_words_that_make_no_sense_are_refused(words, hint):
    with pytest.raises(UsageError, match=hint):
        RegisterOptions.from_words({**PAIR, **words})


@pytest.mark.parametrize("words", [{}, {"anatomy": None}, {"anatomy": []}, {"anatomy": ["All"]}, {"anatomy": "everything"}])
def test_all_is_what_is_asked_for_when_nothing_is(words):
    options = RegisterOptions.from_words({**PAIR, **words})
    assert options.settings.anatomy == ()
    assert options.condition == {"anatomy": ("all",), "mode": "inter", "smoothness": 0.5}


def test_a_run_that_bends_nothing_has_no_condition():
    assert RegisterOptions.from_words({**PAIR, "transform": "rigid"}).condition is None


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b.nii.gz", "b"), ("sub-01.ses-2.nii", "sub-01.ses-2"), ("x.MHA", "x"), ("folder/series", "series"), (".nii", ".nii")],
)
def test_stem_keeps_dots_that_are_the_name(path, name):
    assert stem(Path(path)) == name
