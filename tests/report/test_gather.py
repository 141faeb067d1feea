"""Many runs in order of suspicion, worked out by hand; what cannot be read is told and not fatal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from drawn import record, registration, stretched

from unireg_cli.errors import InputError
from unireg_cli.report.gather import gather
from unireg_cli.report.judgement import Light


def _write(folder: Path, name: str, **changes: Any) -> Path:
    """A run without warnings, of a usual quality but for ``changes``."""
    made = record(registration(stretched()), **changes)
    made["warnings"] = []
    made["options"]["moving"] = f"{name}.nii.gz"
    path = folder / f"{name}_.json"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps(made))
    return path


def _regularity(folding: float, sdlogj: float) -> dict[str, Any]:
    numbers = {"folding_percent": folding, "sdlogj": sdlogj, "minimum": 0.5, "maximum": 2.0}
    return {"regularity": numbers, "regularity_foreground": numbers}


def test_the_worst_come_first(tmp_path: Path) -> None:
    _write(tmp_path / "a", "good")
    # 0.02 % of 0.1 %.
    _write(tmp_path / "a", "folded", **_regularity(0.02, 0.1))
    # 0.6 of 0.5 to 1.
    _write(tmp_path / "b" / "c", "rough", **_regularity(0.0, 0.6))
    # Nothing gained at all: 1, and once more for bending in vain. Rough besides: 0.9 -> 0.8.
    _write(tmp_path, "both", **_regularity(0.0, 0.9), similarity_after=0.3, similarity_affine=0.3)
    _write(tmp_path / "b", "failed", similarity_after=0.3, similarity_affine=0.3)
    runs = gather(tmp_path).runs
    assert [run.pair.split(".")[0] for run in runs] == ["both", "failed", "folded", "rough", "good"]
    assert [run.suspicion for run in runs] == pytest.approx([2.8, 2.0, 0.2, 0.2, 0.0])
    assert [run.light for run in runs] == [Light.BAD, Light.BAD, Light.GOOD, Light.GOOD, Light.GOOD]
    # Equal suspicion: by the path. What is green is no reason.
    assert runs[2].record < runs[3].record and runs[2].reasons == ()
    assert [reason.split()[0] for reason in runs[0].reasons] == ["similarity", "SDlogJ", "bending"]


def test_broken_failed_and_foreign_files(tmp_path: Path) -> None:
    _write(tmp_path, "good")
    (tmp_path / "cut.json").write_text('{"schema_version": "1.0", "command"')
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "poor.json").write_text('{"schema_version": "1.0", "command": "register", "quality": {}}')
    (tmp_path / "wrong.json").write_text(json.dumps({**json.loads((tmp_path / "good_.json").read_text()), "affine": "none"}))
    (tmp_path / "dataset.json").write_text('{"name": "brain"}')
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "doctor.json").write_text('{"schema_version": "1.0", "command": "doctor"}')
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.json").write_text("{")
    entry = {"status": "failed", "fixed": "d/f.nii", "moving": "d/m.nii", "error": "d/m.nii: no such file", "exit_code": 3}
    summary = {"schema_version": "1.0", "command": "register --pairs", "pairs": [entry, {**entry, "status": "done", "error": None}]}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    cohort = gather(tmp_path)
    assert cohort.others == 3
    problems = {run.record.name: run.problem for run in cohort.runs if run.problem is not None}
    assert set(problems) == {"cut.json", "bytes.json", "poor.json", "wrong.json", "summary.json"}
    assert problems["summary.json"] == "failed: d/m.nii: no such file" and "KeyError" in (problems["poor.json"] or "")
    assert cohort.runs[-1].record.name == "good_.json" and all(run.problem for run in cohort.runs[:-1])
    assert all(run.light is Light.BAD for run in cohort.runs[:-1])


def test_a_report_beside_the_record_is_found(tmp_path: Path) -> None:
    _write(tmp_path, "with")
    _write(tmp_path, "without")
    (tmp_path / "with_report.html").write_text("")
    found = {run.pair.split(".")[0]: run.report for run in gather(tmp_path).runs}
    assert found == {"with": tmp_path / "with_report.html", "without": None}


def test_unlike_the_others_is_suspicious_even_within_all_limits(tmp_path: Path) -> None:
    """Similarities 0.80, 0.81, ... 0.88 and one of 0.66: median 0.835, median distance 0.025, robust deviation 0.0371."""
    for n in range(9):
        _write(tmp_path, f"usual{n}", similarity_after=0.80 + 0.01 * n)
    _write(tmp_path, "odd", similarity_after=0.66)
    runs = gather(tmp_path).runs
    assert runs[0].pair.startswith("odd") and runs[0].reasons == (
        "similarity 0.66, median of all 0.835",
        "similarity gained 0.514, median of all 0.764",
    )
    # (0.175 / 0.0370650 - 3) / 3; the share gained is a multiple of it, as all start from 0.3.
    assert runs[0].suspicion == pytest.approx((0.175 / 0.0370650 - 3) / 3, rel=1e-3) and runs[0].light is Light.FAIR
    assert all(run.suspicion == 0 for run in runs[1:])


def test_few_runs_are_not_compared_and_equal_ones_are_not_unusual(tmp_path: Path) -> None:
    for n in range(6):
        _write(tmp_path, f"usual{n}")
    _write(tmp_path, "odd", similarity_after=0.66)
    assert all(run.unusual == 0 for run in gather(tmp_path).runs)
    _write(tmp_path, "seventh")
    # Now eight: all others are equal, and a spread of 0.01 is taken: 14 of them, six are red.
    odd = gather(tmp_path).runs[0]
    assert odd.pair.startswith("odd") and odd.unusual == 3


def test_nothing_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        gather(tmp_path / "no")
    (tmp_path / "dataset.json").write_text('{"name": "brain"}')
    with pytest.raises(InputError, match="no result"):
        gather(tmp_path)
