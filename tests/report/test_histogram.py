"""The histogram of the log-Jacobian: its numbers are those of the quality measures."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from drawn import GRID, ball, stretched

from unireg_cli.report.histogram import histogram_svg, log_jacobian_histogram
from unireg_cli.spatial import DisplacementField, Image
from unireg_cli.spatial.jacobian import determinant, regularity


def _wavy() -> DisplacementField:
    points = GRID.points_lps()
    return DisplacementField((1.5 * np.sin(points / 7.0)).astype(np.float32), GRID)


def test_spread_is_the_sdlogj_inside_the_body() -> None:
    image = ball(GRID, GRID.center_lps, 14.0)
    histogram = log_jacobian_histogram(image, _wavy(), 0.5)
    # Foreground of a magnitude image: above 5 % of its range.
    inside = image.voxels > 0.05 * 100
    assert histogram.spread == pytest.approx(regularity(determinant(_wavy()), inside).sdlogj, rel=1e-4)
    assert histogram.shares.sum() == pytest.approx(100) and len(histogram.borders) == len(histogram.shares) + 1


def test_a_stretch_is_one_bar_and_what_lies_beyond_is_kept() -> None:
    image = ball(GRID, GRID.center_lps, 12.0)
    histogram = log_jacobian_histogram(image, stretched(), 0.5)
    bar = int(histogram.shares.argmax())
    assert histogram.shares[bar] == pytest.approx(100)
    assert histogram.borders[bar] <= np.log(1.1 * 0.95 * 1.2) <= histogram.borders[bar + 1]
    narrow = log_jacobian_histogram(image, stretched(), 0.1)
    assert narrow.shares[-1] == pytest.approx(100) and narrow.mean == pytest.approx(np.log(1.1 * 0.95 * 1.2), abs=1e-5)


def test_an_image_without_a_body_in_the_field_gives_an_empty_one() -> None:
    away = Image(ball(GRID, GRID.center_lps, 8.0).voxels, GRID.padded((400, 0, 0), (-400, 0, 0)))
    histogram = log_jacobian_histogram(away, stretched(), 0.5)
    assert histogram.spread == 0 and histogram.mean == 0


def test_drawing_has_a_bar_for_every_bin_as_tall_as_its_share() -> None:
    histogram = log_jacobian_histogram(ball(GRID, GRID.center_lps, 14.0), _wavy(), 0.4)
    drawing = ElementTree.fromstring(histogram_svg(histogram))
    bars = drawing.findall("rect")
    assert len(bars) == len(histogram.shares)
    heights = np.array([float(bar.attrib["height"]) for bar in bars])
    np.testing.assert_allclose(heights / heights.max(), histogram.shares / histogram.shares.max(), atol=1e-3)
    said = [float(re.search(r": ([\d.]+) %", bar.findtext("title") or "")[1]) for bar in bars]  # type: ignore[index]
    np.testing.assert_allclose(said, histogram.shares, atol=0.006)
    assert f"{histogram.spread:.3f}" in drawing.attrib["aria-label"]
