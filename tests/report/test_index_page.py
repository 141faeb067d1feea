"""The index: a row for every run in order of suspicion, links relative to the page."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import pytest
from drawn import record, registration, stretched
from page_reader import Node, read_page, run_in_chromium

from unireg_cli.report.gather import gather
from unireg_cli.report.index_page import index_html, is_index, write_index

# Similarity after: the order of suspicion is bad, poor, good.
RUNS = {"good": 0.8, "bad <1> & #2?": 0.25, "poor": 0.4}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    for name, after in RUNS.items():
        made = record(registration(stretched()), similarity_affine=0.3, similarity_after=after)
        made["warnings"] = []
        made["options"]["moving"] = f"{name}.nii.gz"
        (folder / name).mkdir(parents=True)
        (folder / name / "p_.json").write_text(json.dumps(made))
        if name != "poor":
            (folder / name / "p_report.html").write_text("<p>hello</p>")
    (folder / "cut.json").write_text("{")
    return folder


def _rows(page: Node) -> list[list[str]]:
    return page.all("table", **{"class": "runs"})[0].cells()


@pytest.mark.parametrize("place", [".", "results", "elsewhere"])
def test_rows_and_links(results: Path, place: str) -> None:
    folder = results.parent / place
    folder.mkdir(exist_ok=True)
    write_index(folder / "index.html", gather(results), "t")
    page = read_page((folder / "index.html").read_text("utf-8"))
    rows = _rows(page)
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    names = ("bad <1> & #2?", "poor", "good")
    up = {".": "results/", "results": "", "elsewhere": "../results/"}[place]
    assert rows[0][1] == f"cut.json{up}cut.json"
    assert [row[1] for row in rows[1:]] == [f"{name}.nii.gz to fix <1>.nii.gz{up}{name}/p_.json" for name in names]
    # (0.25 - 0.3) / 0.7 = -0.071: 1.238, and 1 for bending in vain. (0.4 - 0.3) / 0.7 = 0.143: 0.524.
    assert [row[2] for row in rows] == ["∞", "2.24", "0.52", "0.00"]
    assert [row[4:8] for row in rows[1:]] == [["0.300", after, "0", "0.100"] for after in ("0.250", "0.400", "0.800")]
    assert rows[0][3].startswith("not a readable result record") and rows[0][4:11] == ["–"] * 7
    assert "(no report page)" in rows[2][3] and "(no report page)" not in rows[1][3] + rows[3][3] and "nothing unusual" in rows[3][3]
    links = [unquote(node.attributes["href"] or "") for node in page.all("a")]
    assert sorted(link.rsplit("/", 1)[-1] for link in links) == ["cut.json", *["p_.json"] * 3, *["p_report.html"] * 2]
    assert all((folder / link).is_file() and not link.startswith("/") for link in links)
    values = [node.attributes["value"] for node in page.all("data")]
    assert repr(0.25) in values


def test_summary_counts(results: Path) -> None:
    (results / "other.json").write_text("{}")
    text = " ".join(read_page(index_html(gather(results), "my <cohort>", results)).all("section")[0].text.split())
    assert "4 runs: 1 red 1 yellow 1 green" in text and "1 failed or cannot be read" in text and "1 other JSON files" in text
    assert "similarity before 0.300, after 0.400, SDlogJ 0.100, seconds 2.5" in text


def test_an_index_is_known_as_one(results: Path) -> None:
    write_index(results / "index.html", gather(results), "t")
    assert is_index(results / "index.html")
    assert not is_index(results / "good" / "p_report.html") and not is_index(results / "none.html") and not is_index(results)


def test_sorting_and_finding(results: Path) -> None:
    """In Chromium: a click on a heading sorts, a second one turns round, and words leave only rows that hold them."""
    write_index(results / "index.html", gather(results), "t")
    probe = """
setTimeout(() => {
  const left = () => [...document.querySelectorAll(".runs tbody tr")].filter((row) => !row.hidden);
  const names = () => left().map((row) => row.cells[1].textContent[0]).join("");
  const heads = document.querySelectorAll(".runs th"), found = [names()];
  for (const column of [5, 5, 2, 0]) { heads[column].click(); found.push(names()); }
  const find = document.getElementById("find");
  find.value = "POOR"; find.dispatchEvent(new Event("input")); found.push(names(), document.getElementById("shown").textContent);
  document.body.dataset.found = found.join(",");
}, 0);
"""
    dom = read_page(run_in_chromium(results / "index.html", results.parent, probe))
    # By similarity after: large first, then small first, what has none last; by suspicion; by rank again.
    assert dom.all("body")[0].attributes["data-found"] == "cbpg,gpbc,bpgc,cbpg,cbpg,p,1 of 4"
