"""Tables of the comparison from rows whose numbers are known, and the README's block."""

from __future__ import annotations

import re
from pathlib import Path

import benchmark_tables
import pytest
from comparing import table_of
from records import COLUMNS, Row, RowsDamaged, append_row, latest, read_rows
from writing import BEGIN, END, MISSING, between, markdown, readme_block

ROOT = Path(__file__).resolve().parents[2]


def row(tool: str, number: int, dice: float = 0.5, *, start: str = "own", **changes: object) -> Row:
    """A finished row of pair ``number``, of which each has a person of its own."""
    known = {"set": "toys", "start": start, "tool": tool, "fixed": f"f{number}", "moving": f"m{number}", "persons": f"toys/{number}"}
    numbers = {"dice": dice, "fold_pct": 0.1, "sdlogj_in": 0.25, "registration_seconds": 10.0, "process_seconds": 12.0}
    told = {"peak_rss_mb": 100 + number, "status": "done", "threads": 2, "date": "2026-01-02"}
    return {name: str((known | numbers | told | changes).get(name, "")) for name in COLUMNS}


def compared() -> list[Row]:
    """greedy is better than ANTs by 0.01 on each of four pairs; ours is better than greedy by 0.02; elastix is best, but on two pairs."""
    rows = []
    for number in range(4):
        base = 0.5 + 0.1 * number
        rows += [row("greedy", number, base), row("ants-preset", number, base - 0.01), row("unireg", number, base + 0.02)]
        crash = row("elastix", number, status="failed", reason="ended by SIGSEGV", dice="")
        rows += [row("elastix", number, 0.99) if number < 2 else crash]
        rows += [row("convexadam", number, status="absent", reason="has no affine stage of its own")]
    return rows


def test_differences_are_pair_by_pair_against_the_best_peer_with_all_pairs():
    table = table_of(compared(), "own")
    assert table is not None and table.best == "greedy" and table.persons == 4
    lines = {line.tool.name: line for line in table.lines}
    assert lines["greedy"].difference is None
    assert lines["unireg"].difference.mean == pytest.approx(0.02)
    assert lines["ants-preset"].difference.mean == pytest.approx(-0.01)
    # The difference is the same on every pair: however persons are drawn.
    assert lines["unireg"].difference.low == pytest.approx(0.02) == lines["unireg"].difference.high
    assert lines["elastix"].pairs == 2 and lines["elastix"].of == 4 and lines["elastix"].reasons == ("ended by SIGSEGV",)
    assert lines["unireg"].means["dice"] == pytest.approx(0.67) and lines["unireg"].means["peak_rss_mb"] == 103


def test_p_values_of_a_table_are_corrected_together():
    table = table_of(compared(), "own")
    by_name = {line.tool.name: line for line in table.lines}
    raw = [by_name[name].difference.p for name in ("ants-preset", "unireg", "elastix")]
    # All three are as small as the draws allow: Holm makes each the smallest times three.
    assert len(set(raw)) == 1
    assert [by_name[name].p_holm for name in ("ants-preset", "unireg", "elastix")] == pytest.approx([3 * raw[0]] * 3)


def test_a_table_tells_what_is_missing_and_why():
    text = markdown(table_of(compared(), "own"))
    assert "| greedy (best peer) | 4 | 0.6500 |" in text
    assert "| elastix | 2 of 4 |" in text and "- elastix: ended by SIGSEGV" in text and "- elastix: means are over 2 of 4 pairs" in text
    assert "- convexadam: has no affine stage of its own" in text
    assert "- fireants: not run" in text and "greedy: not run" not in text
    assert "+0.0200 [+0.0200, +0.0200]" in text
    assert "2 threads, 2026-01-02" in text


def test_rows_of_other_starts_do_not_count():
    rows = [row("greedy", 0, 0.5), row("greedy", 0, 0.9, start="affine")]
    assert table_of(rows, "own").lines[0].means["dice"] == pytest.approx(0.5)
    assert table_of(rows, "rigid") is None


def test_a_pair_that_was_tried_again_counts_once():
    rows = [row("greedy", 0, status="failed", reason="x", dice=""), row("greedy", 0, 0.7)]
    assert [one["dice"] for one in latest(rows)] == ["0.7"]
    assert table_of(rows, "own").lines[0].pairs == 1


@pytest.fixture
def results(tmp_path):
    for one in compared():
        append_row(tmp_path / "results" / "toys.csv", one)
    return tmp_path / "results"


def test_rows_come_back_as_they_were_written(results):
    assert read_rows(results / "toys.csv") == compared()


def test_a_file_with_other_columns_is_refused(tmp_path):
    (tmp_path / "toys.csv").write_text("set,tool\ntoys,greedy\n")
    with pytest.raises(RowsDamaged, match="expected the columns"):
        read_rows(tmp_path / "toys.csv")


def test_the_readme_gets_the_block_and_the_check_sees_every_change(results, tmp_path, capsys):
    readme = tmp_path / "README.md"
    words = ["--results", str(results), "--readme", str(readme), "--pictures", str(tmp_path / "images")]
    readme.write_text("# x\n")
    assert benchmark_tables.main([*words, "--check"]) == 1 and "lacks the markers" in capsys.readouterr().out
    readme.write_text(f"# x\n\n{BEGIN}\n{END}\n\nmore\n")
    assert benchmark_tables.main([*words, "--check"]) == 1 and "not the generated one" in capsys.readouterr().out
    assert benchmark_tables.main([*words, "--write"]) == 0
    text = readme.read_text()
    assert text.startswith("# x\n\n") and text.endswith("\n\nmore\n") and "| unireg | **0.670** / 0.25 / 10 |" in text
    assert (tmp_path / "images" / "benchmark-toys.png").stat().st_size > 1000
    assert benchmark_tables.main([*words, "--check"]) == 0
    readme.write_text(text.replace("0.670", "0.671"))
    assert benchmark_tables.main([*words, "--check"]) == 1


def test_without_results_it_says_so(tmp_path, capsys):
    readme = tmp_path / "README.md"
    words = ["--results", str(tmp_path), "--readme", str(readme), "--pictures", str(tmp_path / "images")]
    readme.write_text(f"{BEGIN}\n{END}\n")
    assert benchmark_tables.main([*words, "--write"]) == 0 and MISSING in readme.read_text()
    assert benchmark_tables.main([*words, "--check"]) == 0 and MISSING in capsys.readouterr().out
    readme.write_text(f"{BEGIN}\n| unireg | 0.99 |\n{END}\n")
    assert benchmark_tables.main([*words, "--check"]) == 1


def test_the_readme_of_this_repository_has_the_generated_table():
    """Where there are results there must be the block; where there is a block it must be the generated one."""
    readme = (ROOT / "README.md").read_text("utf-8")
    tables = benchmark_tables.read_tables(ROOT / "examples" / "benchmark" / "results")
    assert benchmark_tables.complaint(readme, tables) == ""
    found = between(readme)
    assert found is None or found == readme_block(tables)
    # A marker that was half deleted would hide the block from the check.
    assert len(re.findall(r"<!-- benchmark:", readme)) == (0 if found is None else 2)
