"""The page of results: made of committed rows, and known to be stale when one of them changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import costs
import forward_speed
import numpy as np
import pytest
import results_page
import scoring_speed
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def repository(tmp_path):
    """A copy of what the page is made from, with rows of one measurement."""
    (tmp_path / "examples" / "claims").mkdir(parents=True)
    rows = []
    for side in (100, 200, 300):
        seconds = {"registration_seconds": 2.0, "process_seconds": 5 + side**3 / 1e6}
        rows.append({"method": "fast", "side": side, "voxels": side**3, **seconds, "peak_rss_mb": 300})
    costs.write_rows(tmp_path / "examples" / "benchmark" / "results" / "costs" / "scaling.csv", rows, 2)
    return tmp_path


def test_a_straight_line_is_found_again():
    assert costs.line_through([1.0, 2.0, 4.0], [5.0, 7.0, 11.0]) == pytest.approx((3.0, 2.0, 1.0))
    assert costs.line_through([1.0, 2.0], [5.0, 7.0]) is None


def test_the_network_alone_is_timed_in_both_types(tmp_path, capsys):
    path = tmp_path / "forward.csv"
    threads = torch.get_num_threads()
    assert forward_speed.main(["--size", "32", "32", "64", "--rounds", "1", "--threads", str(threads), "-o", str(path)]) == 0
    rows = costs.read_rows(path)
    assert [(row["size"], row["type"]) for row in rows] == [("32x32x64", "float32"), ("32x32x64", "bfloat16")]
    assert all(0 < float(row["seconds"]) < 60 and float(row["peak_memory_gb"]) > 0.05 for row in rows)
    assert "| 32x32x64 | float32 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        forward_speed.main(["--size", "33", "32", "64", "-o", str(path)])
    assert "multiples of 32" in capsys.readouterr().err


def test_scoring_is_timed(tmp_path, capsys):
    path = tmp_path / "scoring.csv"
    words = ["--size", "16", "20", "24", "--labels", "5", "--pairs", "6", "--draws", "50", "--rounds", "1", "-o"]
    assert scoring_speed.main([*words, str(path)]) == 0
    rows = costs.read_rows(path)
    assert [row["step"] for row in rows] == ["distances of 5 labels, 16x20x24", "50 draws, 6 pairs x 5 labels"]
    assert all(0 < float(row["seconds"]) < 20 for row in rows)
    assert "| 50 draws, 6 pairs x 5 labels |" in capsys.readouterr().out
    fixed, warped = scoring_speed.two_maps((16, 20, 24), 5)
    assert fixed.shape == warped.shape == (24, 20, 16) and set(np.unique(fixed)) == {1, 2, 3, 4, 5}
    assert (warped[3:, 3:, 3:] == fixed[:-3, :-3, :-3]).all()


def test_the_page_tells_the_rows_and_what_is_missing(repository):
    text = results_page.page(repository)
    assert "- fast, process_seconds: 5.0 s + 1.00 s per million voxels (R^2 1.000)" in text
    assert "| fast | 200^3 | 2.0 | 13.0 | 300 |" in text
    assert "2 threads" in text and "python examples/benchmark/" in text
    assert text.count("Not measured yet.") == len(results_page.CLAIMS) + len(results_page.COSTS) - 1
    assert "The comparison has not been run yet" in text


@pytest.mark.parametrize(("name", "rows"), [("iterations", "curves"), ("parity", "parity")])
def test_a_claim_is_told_once_its_rows_are_there(repository, name, rows):
    claims = repository / "examples" / "claims"
    (claims / f"{name}.py").write_text("print('judged')")
    assert results_page.claim(repository, name, "A claim").endswith("Not measured yet.")
    (claims / "results").mkdir()
    (claims / "results" / f"{rows}.csv").write_text("run\n")
    assert results_page.claim(repository, name, "A claim").endswith("```text\njudged\n```")


def test_a_changed_row_makes_the_page_stale(repository, tmp_path):
    page = tmp_path / "docs" / "results.md"
    assert "is missing" in results_page.complaint(page, repository)
    words = ["--page", str(page), "--root", str(repository)]
    assert results_page.main([*words, "--write"]) == 0 and results_page.main([*words, "--check"]) == 0
    rows = repository / "examples" / "benchmark" / "results" / "costs" / "scaling.csv"
    rows.write_text(rows.read_text().replace("300", "301"))
    assert results_page.main([*words, "--check"]) == 1


def test_without_any_row_no_page_is_asked_for(repository, tmp_path):
    shutil.rmtree(repository / "examples" / "benchmark")
    assert results_page.complaint(tmp_path / "results.md", repository) == ""


def test_the_page_of_this_repository_was_made_from_its_rows():
    assert results_page.complaint(ROOT / "docs" / "results.md", ROOT) == ""
