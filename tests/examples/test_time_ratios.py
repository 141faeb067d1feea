"""Seconds beside greedy's, pair by pair."""

from __future__ import annotations

from pathlib import Path

import pytest
import time_ratios


def row(tool: str, moving: str, registration: float, process: float) -> dict[str, str]:
    seconds = {"registration_seconds": str(registration), "process_seconds": str(process)}
    return {"set": "abdomen_mr", "fixed": "a", "moving": moving, "tool": tool, **seconds}


def test_the_whole_process_stands_beside_the_registration_of_the_same_pair():
    # Ratios 0.5, 0.2 and 0.3: their median is 0.3, though that of the seconds is 8 over 20.
    pairs = (("b", 20.0, 10.0), ("c", 40.0, 8.0), ("d", 10.0, 3.0))
    rows = [row("greedy", moving, peer, peer + 1) for moving, peer, _ in pairs]
    rows += [row("unireg-fast", moving, 1.0, process) for moving, _, process in pairs]
    told = time_ratios.told(rows)
    assert "| abdomen_mr | unireg-fast | 3 | 8.0 | 20.0 | 0.300 | 0.333, holds |" in told
    # Nothing was promised of the default on this set.
    assert time_ratios.told([*rows, row("unireg", "b", 1.0, 15.0)]).endswith("| abdomen_mr | unireg | 1 | 15.0 | 20.0 | 0.750 |  |")


def test_rows_count_together_only_if_one_day_has_them_of_all_three_tools():
    def of(tool: str, moving: str, date: str, **other: str) -> dict[str, str]:
        return {"start": "own", "status": "done", "date": date, **row(tool, moving, 1.0, 2.0), **other}

    tools = ("greedy", "unireg", "unireg-fast")
    rows = [of(tool, "b", "2026-11-28") for tool in tools]
    rows += [of("greedy", "c", "2026-11-28"), *(of(tool, "c", "2026-11-29") for tool in tools[1:])]
    rows += [of(tool, "d", "2026-11-28", status="failed" if tool == "unireg" else "done") for tool in tools]
    rows += [of(tool, "e", "2026-11-28", start="affine") for tool in tools]
    assert {(found["tool"], found["moving"]) for found in time_ratios.together(rows)} == {(tool, "b") for tool in tools}


def test_a_folder_without_such_rows_is_refused_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        time_ratios.main(["--rows", str(tmp_path), "-o", str(tmp_path / "ratios.csv")])
    assert "has no pair that unireg-fast, unireg, greedy have all done on one day" in capsys.readouterr().err
    assert not (tmp_path / "ratios.csv").exists()
