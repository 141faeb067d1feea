"""Sheets are pictures of the promised sizes, hold the slices one below the other, and fit into their budget."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from drawn import GRID, SHIFT, ball, registration, stretched
from PIL import Image as Picture

from unireg_cli.report import sheets
from unireg_cli.report.planes import three_planes
from unireg_cli.report.sheets import Album, make_album
from unireg_cli.report.stacks import cut_stack, prepare_sources
from unireg_cli.spatial import DisplacementField, Grid, Image


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """Pictures as small as the scenes: first and last resort."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sheets, "_SIZES", ((96, 9, 76), (64, 5, 60)))
        yield


@pytest.fixture(scope="module")
def album(_small: None) -> Album:
    moving = ball(GRID, GRID.center_lps + SHIFT, 9.0)
    return make_album(ball(GRID, GRID.center_lps, 9.0), moving, registration(stretched()), ball(GRID, GRID.center_lps, 9.0))


_TRUE_SIZES = sheets._SIZES


def _pixels(content: bytes) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(content)).convert("L"), np.float64) / 255


def test_three_planes_with_all_layers(album: Album) -> None:
    assert [plane.plane.name for plane in album.planes] == ["axial", "coronal", "sagittal"]
    for plane in album.planes:
        count = len(plane.offsets_mm)
        assert count >= 5 and 0 < plane.start < count - 1
        assert abs(plane.offsets_mm[plane.start]) == min(abs(offset) for offset in plane.offsets_mm)
        assert set(plane.sheets) == {"fixed", "before", "affine", "after", "edges", "lines", "logj"}
        for name, sheet in plane.sheets.items():
            opened = Picture.open(io.BytesIO(sheet.content))
            assert opened.size == (plane.width, plane.height * count)
            assert (opened.format, sheet.kind) == (("PNG", "image/png") if name in ("edges", "lines") else ("JPEG", "image/jpeg"))


def test_slices_lie_one_below_the_other(album: Album) -> None:
    fixed = ball(GRID, GRID.center_lps, 9.0)
    planes = three_planes(GRID, GRID.center_lps, 96)
    coronal = album.planes[1]
    sources = prepare_sources(fixed, fixed, fixed, registration(stretched()), planes[1].grid.spacing[0])
    truth = cut_stack(sources, coronal.plane, np.array(coronal.offsets_mm)).layers["fixed"]
    sheet = _pixels(coronal.sheets["fixed"].content)
    for k in (0, coronal.start, len(truth) - 1):
        # What JPEG takes away.
        assert np.abs(sheet[k * coronal.height : (k + 1) * coronal.height] - truth[k]).mean() < 0.01
    # The ball is largest in its middle.
    areas = [(sheet[k * coronal.height : (k + 1) * coronal.height] > 0.5).sum() for k in range(len(truth))]
    assert max(areas) == areas[coronal.start] or areas[coronal.start] > 0.95 * max(areas)
    assert areas[0] < 0.7 * max(areas)


def test_sheets_shrink_until_they_fit(album: Album) -> None:
    images = ball(GRID, GRID.center_lps, 9.0), ball(GRID, GRID.center_lps + SHIFT, 9.0)
    whole = sum(plane.size_bytes for plane in album.planes)
    small = make_album(*images, registration(stretched()), images[0], budget=whole - 1)
    assert sum(plane.size_bytes for plane in small.planes) < whole
    assert small.planes[0].width < album.planes[0].width
    # The smallest are taken if nothing fits.
    least = make_album(*images, registration(stretched()), images[0], budget=0)
    assert max(least.planes[0].width, least.planes[0].height) == sheets._SIZES[-1][0]


def test_even_noise_keeps_the_budget_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is larger than noise: the true last resort is small enough."""
    monkeypatch.setattr(sheets, "_SIZES", _TRUE_SIZES[-1:])
    rng = np.random.default_rng(3)
    grid = Grid.from_arrays((64, 64, 64), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0), np.eye(3))
    noise = Image(rng.uniform(0, 1000, grid.shape).astype(np.float32), grid)
    wild = DisplacementField((4 * rng.normal(size=(*grid.shape, 3))).astype(np.float32), grid)
    album = make_album(noise, noise, registration(wild), noise)
    assert sum(plane.size_bytes for plane in album.planes) <= sheets._BUDGET
