"""What landmarks and segmentations bring: the verdicts on rows whose answer is known by hand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import landmarks
import numpy as np
import pytest
import segmentations

from unireg_cli.errors import UsageError


def landmark_rows(with_mm: list[float], folding: str = "0") -> list[dict[str, str]]:
    common = {"weights": "abc", "before_mm": "8", "tre95_mm": "9", "folding_percent": folding, "sdlogj": "0.1"}
    return [
        {**common, "person": str(person), "answer": answer, "tre_mm": str(tre)}
        for person, found in enumerate(with_mm)
        for answer, tre in (("without", 2.0), ("with", found))
    ]


@pytest.mark.parametrize(
    ("with_mm", "folding", "holds"),
    [
        ([1.0, 1.0, 1.0, 1.0, 2.0], "0", True),  # 1.2 of 2.0 mm: 40 % less
        ([1.5] * 5, "0", False),  # 25 % less
        ([1.0] * 5, "0.2", False),
        ([1.0] * 4, "0", None),  # one person too few to say so
    ],
)
def test_landmarks_are_judged_by_the_mean_over_people(with_mm: list[float], folding: str, holds: bool | None) -> None:
    verdict = landmarks.judged(landmark_rows(with_mm, folding))
    assert verdict.holds is holds


def test_what_a_hand_is_off_has_the_length_that_is_said() -> None:
    off = landmarks.noisy(np.zeros((20000, 3)), np.random.default_rng(0))
    assert np.sqrt((off**2).sum(-1).mean()) == pytest.approx(landmarks.NOISE_MM, rel=0.02)


def segmentation_rows(liver: float, others: float, pairs: int = 6) -> list[dict[str, str]]:
    common = {"weights": "abc", "set": "abdomen_ct", "folding_percent": "0", "sdlogj": "0.3"}
    dice = {"without": {"liver": 0.8, "spleen": 0.6}, "with": {"liver": liver, "spleen": others}}
    return [
        {**common, "fixed": f"f{pair}", "moving": f"m{pair}", "answer": answer, "structure": structure, "dice": str(value)}
        for pair in range(pairs)
        for answer, of in dice.items()
        for structure, value in of.items()
    ]


@pytest.mark.parametrize(
    ("liver", "others", "pairs", "holds"),
    [(0.94, 0.595, 6, True), (0.92, 0.7, 6, False), (0.94, 0.58, 6, False), (0.94, 0.6, 5, None)],
)
def test_segmentations_are_judged_by_the_asked_structure_and_by_the_others(
    liver: float, others: float, pairs: int, holds: bool | None
) -> None:
    verdict = segmentations.judged(segmentation_rows(liver, others, pairs))
    assert verdict.holds is holds
    assert f"liver Dice {liver:.4f}" in str(verdict)


@pytest.mark.parametrize("program", [landmarks, segmentations])
def test_without_rows_it_says_how_to_make_them(program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--results", str(tmp_path / "none.csv")]) == 1
    assert "make them with --measure" in capsys.readouterr().err


@pytest.mark.parametrize(("program", "columns"), [(landmarks, landmarks.COLUMNS), (segmentations, segmentations.COLUMNS)])
def test_rows_of_other_weights_stop_it_before_any_work(program: ModuleType, columns: tuple[str, ...], tmp_path: Path) -> None:
    """With --weights none too, whose rows have no SHA-256 to tell."""
    listed = '{"labels": {"0": {"0": "background", "6": "liver"}}, "registration_val": []}'
    (tmp_path / "abdomen_ct").mkdir()
    (tmp_path / "abdomen_ct" / "dataset.json").write_text(listed)
    results = tmp_path / "rows.csv"
    results.write_text(f"{','.join(columns)}\nabc{',x' * (len(columns) - 1)}\n")
    words = ["--data", str(tmp_path)] if program is segmentations else []
    with pytest.raises(UsageError, match="holds results of other weights"):
        program.main(["--measure", "--weights", "none", "--results", str(results), *words])
