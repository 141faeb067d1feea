"""Conditions as the network sees them."""

from __future__ import annotations

import numpy as np
import pytest

from unireg_cli.errors import UsageError
from unireg_cli.model.anatomy import Vocabulary
from unireg_cli.model.anatomy_table import AnatomyTable, Flip, Group, Region, Structure
from unireg_cli.model.condition import Condition, encode
from unireg_cli.types import Mode


@pytest.fixture(scope="module")
def tiny() -> Vocabulary:
    """Two ears in the head, a toe in the foot; ids 3 head, 4 foot, 5 all; a nose that came later, 6."""
    return Vocabulary.from_table(
        AnatomyTable(
            structures=(
                Structure(0, "ear_left", ("head",), ("ears",), Flip.SWAP, ()),
                Structure(1, "ear_right", ("head",), ("ears",), Flip.SWAP, ()),
                Structure(2, "toe", ("foot",), (), Flip.SAME, ()),
                Structure(6, "nose", ("head",), (), Flip.SAME, ()),
            ),
            regions=(Region(3, "head", (), ()), Region(4, "foot", (), ()), Region(5, "all", (), ())),
            groups=(Group("ears", (), ()),),
        )
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ear_left"], [1, 0, 0, 1, 0, 0, 0]),
        (["ears"], [1, 1, 0, 1, 0, 0, 0]),
        (["toe", "nose"], [0, 0, 1, 1, 1, 0, 1]),
        (["head"], [1, 1, 0, 1, 0, 0, 1]),
        (["foot"], [0, 0, 1, 0, 1, 0, 0]),
        (["all"], [0, 0, 0, 0, 0, 1, 0]),
        ([], [0, 0, 0, 0, 0, 1, 0]),
    ],
)
def test_anatomy_vector_by_hand(tiny: Vocabulary, words: list[str], expected: list[float]) -> None:
    vectors = encode(Condition(tiny.resolve(words)), tiny)
    assert vectors.anatomy.tolist() == expected
    assert vectors.anatomy.dtype == np.float32


@pytest.mark.parametrize(("mode", "expected"), [(Mode.INTER, [1, 0]), (Mode("intra"), [0, 1])])
def test_mode_and_smoothness(tiny: Vocabulary, mode: Mode, expected: list[float]) -> None:
    vectors = encode(Condition(tiny.resolve(["toe"]), mode, 0.25), tiny)
    assert vectors.mode.tolist() == expected
    assert vectors.smoothness.tolist() == [0.25]
    assert vectors.mode.dtype == vectors.smoothness.dtype == np.float32


def test_spelling_does_not_matter_to_a_condition(tiny: Vocabulary) -> None:
    assert Condition(tiny.resolve(["Left Ear,ear-right"])) == Condition(tiny.resolve(["ears"]))


@pytest.mark.parametrize("smoothness", [-0.01, 1.01, float("nan")])
def test_smoothness_out_of_range(tiny: Vocabulary, smoothness: float) -> None:
    with pytest.raises(UsageError, match="--smoothness"):
        Condition(tiny.resolve(["toe"]), smoothness=smoothness)


def test_no_anatomy_at_all(tiny: Vocabulary) -> None:
    with pytest.raises(ValueError, match="at least one structure"):
        Condition(tiny.request([]))
