"""The page of one registration: whole, alone, and with the numbers of its JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import GRID, SHIFT, ball, record, registration, stretched
from page_reader import Node, picture, read_page, run_in_chromium

from unireg_cli.report import sheets
from unireg_cli.report.registration_page import Drawing, draw_report, report_html, write_report

COMMAND = "unireg register --fixed 'a/fix <1>.nii.gz' --moving b/mov.nii.gz --output p_"


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sheets, "_SIZES", ((64, 7, 80),))
        yield


def _drawing(*, bent: bool) -> Drawing:
    fixed, moving = ball(GRID, GRID.center_lps, 9.0), ball(GRID, GRID.center_lps + SHIFT, 9.0)
    return draw_report(fixed, moving, registration(stretched() if bent else None), fixed, "mov to fix")


@pytest.fixture(scope="module")
def bent(_small: None) -> Drawing:
    return _drawing(bent=True)


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return record(registration(stretched()))


@pytest.fixture(scope="module")
def page(bent: Drawing, made: dict[str, Any]) -> Node:
    return read_page(report_html(made, bent, COMMAND))


def test_every_picture_decodes_and_has_its_size(page: Node, bent: Drawing) -> None:
    found = page.all("img", **{"class": "sheet"})
    assert len(found) == 3 * 7
    for figure, plane in zip(page.all("figure"), bent.album.planes, strict=True):
        canvas = figure.all("canvas")[0]
        assert (int(canvas.attributes["width"] or 0), int(canvas.attributes["height"] or 0)) == (plane.width, plane.height)
        offsets = [float(text) for text in (figure.attributes["data-offsets"] or "").split()]
        np.testing.assert_allclose(offsets, plane.offsets_mm, atol=0.051)
        slider = figure.all("input", **{"class": "slice"})[0]
        assert int(slider.attributes["max"] or 0) == len(offsets) - 1 and int(slider.attributes["value"] or 0) == plane.start
        for img in figure.all("img"):
            assert picture(img).size == (plane.width, plane.height * len(offsets))
            assert int(img.attributes["data-slices"] or 0) == len(offsets)
    static = picture(page.all("img", **{"class": "static"})[0])
    assert static.size[0] > 1000 and np.asarray(static).std() > 10


def test_numbers_are_those_of_the_record(page: Node, made: dict[str, Any], bent: Drawing) -> None:
    shown = {(node.attributes["class"] or ""): node for node in page.all("data")}
    values = {name: float(node.attributes["value"] or "nan") for name, node in shown.items()}
    quality = made["quality"]
    assert values["similarity"] == quality["similarity_after"] and shown["similarity"].text == "0.300 → 0.500 → 0.800"
    assert values["folding"] == quality["regularity"]["folding_percent"]
    assert values["sdlogj"] == quality["regularity_foreground"]["sdlogj"]
    assert values["worth"] == pytest.approx(0.6)
    assert values["displacement"] == quality["displacement_percentiles_mm"]["p99"]
    assert shown["displacement"].text == "1.0, 2.5, 3.5, 5.4 mm"
    assert values["inverse"] == quality["inverse_consistency"]["mean_mm"]
    assert values["affine"] == pytest.approx(1.0) and values["warnings"] == 1
    assert bent.histogram is not None and values["sd-logj"] == bent.histogram.spread
    # The whole JSON is on the page, too.
    import json

    assert json.loads(page.all("pre", **{"class": "record"})[0].text) == made


def test_lights_words_command_and_provenance(page: Node) -> None:
    lights = [node.attributes["class"] for node in page.all("table", **{"class": "numbers"})[0].all("span", **{"class": "light"})]
    # Similarity, folding, SDlogJ, bending, volume change (told only), displacement, inverse, affine, warnings.
    assert lights == ["light good"] * 4 + ["light none"] + ["light good"] * 3 + ["light fair"]
    assert "warnings 1" in page.all("p", **{"class": "verdict"})[0].text
    assert "look & see <here>" in page.all("li")[0].text
    assert page.all("title")[0].text == "mov.nii.gz to fix <1>.nii.gz"
    assert page.all("pre", **{"class": "command"})[0].text == COMMAND
    facts = dict(page.all("table", **{"class": "facts"})[0].cells())
    assert facts["fixed"] == "a/fix <1>.nii.gz: 30 × 26 × 20 voxels of 2 × 2.5 × 3 mm"
    assert "0" * 64 in facts["weights"] and "torch" in facts["versions"] and facts["time"] == "2.5 s in all: align 1.2"
    assert facts["threads"] == "1 (--threads)" and "antsApplyTransforms -d 3 -t back" in page.text


def test_what_can_be_shown(page: Node) -> None:
    views = [node.attributes["value"] for node in page.all("input", name="view")]
    assert views == ["colours", "moving", "fixed", "blend", "edges", "checkerboard", "grid", "logj"]
    viewer = next(node for node in page.all("div") if node.attributes.get("id") == "viewer")
    assert viewer.attributes["data-stops"] == "before affine after"
    assert len(page.all("svg")) == 1 and page.all("noscript")


def test_without_a_field_nothing_of_a_field_is_promised() -> None:
    drawing = _drawing(bent=False)
    page = read_page(report_html(record(registration(None)), drawing, COMMAND))
    assert drawing.histogram is None and not page.all("svg")
    assert "logj" not in [node.attributes["value"] for node in page.all("input", name="view")]
    assert "affine" not in [node.attributes["data-layer"] for node in page.all("img", **{"class": "sheet"})]


def test_written_whole_or_not_at_all(tmp_path: Path, bent: Drawing, made: dict[str, Any]) -> None:
    write_report(tmp_path / "p_report.html", made, bent, COMMAND)
    assert [path.name for path in tmp_path.iterdir()] == ["p_report.html"]
    with pytest.raises(KeyError):
        write_report(tmp_path / "q_report.html", {}, bent, COMMAND)
    assert [path.name for path in tmp_path.iterdir()] == ["p_report.html"]


_PROBE = """
setTimeout(() => {
  const canvas = document.querySelector("canvas"), found = [], copy = document.createElement("canvas");
  copy.width = canvas.width; copy.height = canvas.height;
  const reader = copy.getContext("2d", { willReadFrequently: true });
  const set = (id, value) => { const input = document.getElementById(id); input.value = value; input.dispatchEvent(new Event("input")); };
  const middle = () => {
    reader.drawImage(canvas, 0, 0);
    const data = reader.getImageData(0, 0, canvas.width, canvas.height).data;
    let sum = [0, 0, 0];
    for (let n = 0; n < data.length; n++) if (n % 4 < 3) sum[n % 4] += data[n];
    return sum.map((s) => s / canvas.width / canvas.height);
  };
  document.querySelectorAll("input[name=view]").forEach((choice) => {
    choice.checked = true;
    choice.dispatchEvent(new Event("input"));
    found.push([choice.value, ...middle()].join(":"));
  });
  document.querySelector("input[value=moving]").checked = true;
  for (const stop of [0, 0.5, 1, 1.5, 2]) { set("stop", stop); found.push([`stop${stop}`, ...middle()].join(":")); }
  document.querySelector("input[value=fixed]").checked = true;
  const slider = document.querySelector(".slice");
  for (const slice of [0, 3]) {
    slider.value = slice;
    slider.dispatchEvent(new Event("input"));
    found.push([`slice${slice}`, ...middle()].join(":"));
  }
  document.body.dataset.found = found.join(" ");
}, 0);
"""


def test_the_viewer_shows_the_sheets(tmp_path: Path, bent: Drawing, made: dict[str, Any], page: Node) -> None:
    """In Chromium: every view is drawn, with no word on the console, and mean greys are those of the sheets."""
    write_report(tmp_path / "r.html", made, bent, COMMAND)
    dom = read_page(run_in_chromium(tmp_path / "r.html", tmp_path, _PROBE))
    assert next(node for node in dom.all("div") if node.attributes.get("id") == "viewer").attributes["data-ready"] == "yes"
    words = (dom.all("body")[0].attributes["data-found"] or "").split()
    found = {name: [float(number) for number in numbers] for name, *numbers in (word.split(":") for word in words)}
    plane = bent.album.planes[0]
    axial = page.all("figure")[0]
    layers = {node.attributes["data-layer"] or "": np.asarray(picture(node).convert("L"), float) for node in axial.all("img")}

    def grey(layer: str, k: int) -> float:
        return float(layers[layer][k * plane.height : (k + 1) * plane.height].mean())

    k = plane.start
    # Two decoders of JPEG may differ by a step of grey.
    assert found["fixed"] == pytest.approx([grey("fixed", k)] * 3, abs=1.0)
    assert found["moving"] == pytest.approx([grey("after", k)] * 3, abs=1.0)
    assert found["colours"] == pytest.approx([grey("fixed", k), grey("after", k), grey("fixed", k)], abs=1.0)
    assert found["blend"] == pytest.approx([(grey("fixed", k) + grey("after", k)) / 2] * 3, abs=1.0)
    assert found["stop0"] == pytest.approx([grey("before", k)] * 3, abs=1.0)
    assert found["stop1"] == pytest.approx([grey("affine", k)] * 3, abs=1.0)
    assert found["stop1.5"] == pytest.approx([(grey("affine", k) + grey("after", k)) / 2] * 3, abs=1.0)
    assert found["slice3"] == pytest.approx([grey("fixed", 3)] * 3, abs=1.0) and found["slice0"][0] < found["slice3"][0]
    # Amber lines: more red than blue. The stretch grows everywhere: red.
    assert found["edges"][0] > found["edges"][2] + 1 and found["grid"][0] > found["grid"][2] + 1
    assert found["logj"][0] > found["logj"][2] + 20
