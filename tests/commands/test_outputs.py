"""Outputs are known before the run, checked, and appear together or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from unireg_cli.commands.outputs import check_outputs, plan_outputs, staged
from unireg_cli.errors import UsageError
from unireg_cli.options import RegisterOptions

PAIR = {"fixed": "fix.nii.gz", "moving": "mov.nii.gz", "output": "out/p_"}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ({}, ["Warped.nii.gz", "Composite.h5", "InverseComposite.h5", ".json"]),
        ({"transform": "affine"}, ["Warped.nii.gz", "Composite.h5", "InverseComposite.h5", ".json"]),
        (
            {"transform_format": "ants"},
            ["Warped.nii.gz", "0GenericAffine.mat", "1Warp.nii.gz", "1InverseWarp.nii.gz", ".json"],
        ),
        (
            {"jacobian": True, "log_jacobian": True, "inverse_warped": True, "picture": True},
            [
                "Warped.nii.gz",
                "Composite.h5",
                "InverseComposite.h5",
                "InverseWarped.nii.gz",
                "Jacobian.nii.gz",
                "LogJacobian.nii.gz",
                ".png",
                ".json",
            ],
        ),
    ],
)
def test_names_follow_the_prefix_with_nothing_between(words, names):
    plan = plan_outputs(RegisterOptions.from_words({**PAIR, **words}))
    assert [path.as_posix() for path in plan.values()] == [f"out/p_{name}" for name in names]
    assert list(plan)[-1] == "record"


def test_companions_are_outputs_too():
    plan = plan_outputs(RegisterOptions.from_words({**PAIR, "also": ["a.nii", "b.nii"], "also_labels": ["c.nii", "d.nii"]}))
    assert {plan["also_1"], plan["also_2"]} == {Path("b.nii"), Path("d.nii")}
    with pytest.raises(UsageError, match="format"):
        plan_outputs(RegisterOptions.from_words({**PAIR, "also": ["a.nii", "b.gif"]}))


def test_clashes_are_found_before_any_work(tmp_path):
    old, new = tmp_path / "old.nii", tmp_path / "new.nii"
    old.touch()
    check_outputs([new], [old], overwrite=False)
    check_outputs([old], [], overwrite=True)
    for outputs, inputs, overwrite, hint in (
        ([old], [], False, "old.nii exists"),
        ([old], [tmp_path / "x" / ".." / "old.nii"], True, "is an input"),
        ([new, tmp_path / "new.nii"], [], False, "twice"),
        ([tmp_path / "no" / "a.nii"], [], False, "does not exist"),
        ([tmp_path], [], True, "is a folder"),
    ):
        with pytest.raises(UsageError, match=hint):
            check_outputs(outputs, inputs, overwrite=overwrite)


def test_all_appear_at_the_end(tmp_path):
    (tmp_path / "b").mkdir()
    finals = [tmp_path / "a.txt", tmp_path / "b" / "c.txt"]
    with staged(finals) as places:
        for final in finals:
            places[final].write_text("new")
            assert not final.exists() and places[final].parent.parent == final.parent
    assert all(final.read_text() == "new" for final in finals)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "b", "c.txt"]


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_none_appear_after_a_failure_and_old_ones_stay(tmp_path, error):
    old, new = tmp_path / "old.txt", tmp_path / "new.txt"
    old.write_text("old")
    with pytest.raises(type(error)), staged([old, new]) as places:
        places[old].write_text("half")
        places[new].write_text("half")
        raise error
    assert old.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["old.txt"]


def test_a_promise_not_kept_is_a_failure(tmp_path):
    with pytest.raises(RuntimeError, match=r"b\.txt"), staged([tmp_path / "a.txt", tmp_path / "b.txt"]) as places:
        places[tmp_path / "a.txt"].write_text("x")
    assert list(tmp_path.iterdir()) == []
