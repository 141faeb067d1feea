"""The picture of a registration: which side is where, and that every panel shows something."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from unireg_cli.registration.result import Quality, Registration
from unireg_cli.report.picture import log_jacobian, write_picture
from unireg_cli.report.planes import display_window, foreground_center, three_planes
from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid, Image
from unireg_cli.spatial.inverse import ConsistencyError
from unireg_cli.spatial.jacobian import Regularity

_ORIENTATIONS = [
    np.eye(3)[:, list(order)] * np.asarray(signs, float) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]


def _turn(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _grid(cosines: np.ndarray) -> Grid:
    """24 x 20 x 16 voxels of 2 x 3 x 4 mm along the axes of ``cosines``, centred on (10, -20, 30)."""
    size, spacing = np.array((24, 20, 16)), np.array((2.0, 3.0, 4.0))
    return Grid.from_arrays(size, spacing, np.array((10.0, -20, 30)) - cosines @ ((size - 1) / 2 * spacing), cosines)


def _ball(grid: Grid, center: np.ndarray, radius: float = 5.0) -> Image:
    away = np.linalg.norm(grid.points_lps() - center, axis=-1)
    return Image((100.0 * np.clip((radius + 2 - away) / 4, 0, 1)).astype(np.float32), grid)


@pytest.mark.parametrize(("cosines", "oblique"), [(cosines, 9.0 * (n % 3 > 0)) for n, cosines in enumerate(_ORIENTATIONS)])
def test_marker_at_the_left_front_top_is_on_its_side(cosines: np.ndarray, oblique: float) -> None:
    grid = _grid(_turn(oblique) @ cosines)
    # Left is +x, front is -y, top is +z in LPS.
    marker = grid.center_lps + np.array((11.0, -12.0, 13.0))
    axial, coronal, sagittal = (plane.cut(_ball(grid, marker)) for plane in three_planes(grid, marker))
    for layer, right, upper in ((axial, True, True), (coronal, True, True), (sagittal, False, True)):
        row, column = (np.array(np.nonzero(layer > 50)) / np.array(layer.shape)[:, None]).mean(1)
        assert (column > 0.5) == right and (row < 0.5) == upper


@pytest.mark.parametrize("cosines", _ORIENTATIONS[::5])
def test_pixels_are_square_millimetres_and_cover_the_view(cosines: np.ndarray) -> None:
    grid = _grid(cosines)
    # Extents along the patient's axes, whatever the file's.
    x, y, z = np.abs(cosines) @ grid.extent_mm
    for plane, (width, height) in zip(three_planes(grid, grid.center_lps), ((x, y), (x, z), (y, z)), strict=True):
        assert plane.grid.spacing[0] == plane.grid.spacing[1] and max(plane.grid.size) <= 256
        assert plane.width_mm == pytest.approx(width, rel=0.01) and plane.height_mm == pytest.approx(height, rel=0.01)
        layer = plane.cut(_ball(grid, grid.center_lps, 10.0))
        # The cut through the middle of a ball of 10 mm has its area.
        assert (layer > 50).sum() * plane.grid.spacing[0] ** 2 == pytest.approx(np.pi * 100, rel=0.06)


def test_slice_goes_through_the_foreground() -> None:
    grid = _grid(_turn(20.0))
    center = grid.center_lps + np.array((6.0, -9.0, 10.0))
    np.testing.assert_allclose(foreground_center(_ball(grid, center, 8.0)), center, atol=0.5)
    constant = Image(np.full(grid.shape, 7, np.int16), grid)
    np.testing.assert_allclose(foreground_center(constant), grid.center_lps, atol=1e-9)
    low, high = display_window(constant)
    assert low < high


def test_ct_gets_a_soft_tissue_window() -> None:
    voxels = np.full((10, 10, 10), -1000, np.int16)
    voxels[2:8] = 60
    assert display_window(Image(voxels, Grid((10, 10, 10), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1)))) == (-200, 300)


def test_log_jacobian_of_a_stretch() -> None:
    grid = _grid(_turn(30.0))
    points = grid.points_lps()
    stretch = np.array([0.1, -0.05, 0.2])
    field = DisplacementField(((points - grid.center_lps) * stretch).astype(np.float32), grid)
    inner = points[6:10, 8:12, 8:12]
    np.testing.assert_allclose(log_jacobian(field, inner), np.log(1.1 * 0.95 * 1.2), atol=1e-4)
    assert log_jacobian(DisplacementField(((points - grid.center_lps) * (-2.0, 0, 0)).astype(np.float32), grid), inner).max() < -6


def _registration(grid: Grid, *, deformable: bool) -> Registration:
    affine = Affine.from_parts(_turn(5.0), np.array([3.0, 0, 0]))
    quality = Quality("LNCC", 0.3, 0.5, 0.8)
    field = None
    if deformable:
        away = ((grid.points_lps() - grid.center_lps) ** 2).sum(-1, keepdims=True)
        field = DisplacementField((np.exp(-away / 300) * np.array([3.0, 2, -4])).astype(np.float32), grid)
        numbers = Regularity(0.0, 0.1, 0.7, 1.4)
        quality = Quality("LNCC", 0.3, 0.5, 0.8, numbers, numbers, {"p50": 1.0, "max": 5.4}, ConsistencyError(0.01, 0.1, 0.005, 0.05))
    forward = Chain((affine,) if field is None else (field, affine))
    return Registration(forward, forward, affine, field, field, grid, quality, {}, (), ())


def _written(tmp_path: Path, cosines: np.ndarray, *, deformable: bool) -> np.ndarray:
    from matplotlib.image import imread

    grid = _grid(cosines)
    images = [_ball(grid, grid.center_lps + np.array((shift, 0.0, 0.0)), 14.0) for shift in (0.0, 6.0, 1.0)]
    write_picture(tmp_path / "p.png", images[0], images[1], _registration(grid, deformable=deformable), images[2], "a title with $ and _")
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
    return imread(tmp_path / "p.png")[..., :3]


@pytest.mark.parametrize("deformable", [True, False])
def test_every_panel_shows_something(tmp_path: Path, deformable: bool) -> None:
    page = _written(tmp_path, _ORIENTATIONS[11], deformable=deformable)
    count = 9 if deformable else 8
    # Margins of the page are known in inches at 110 dots an inch: cut the rest into columns and rows.
    inside = page[80:-52, 36:-110]
    for column in np.array_split(inside, count, axis=1):
        for panel in np.array_split(column, 3, axis=0):
            assert panel.std() > 0.03


def test_columns_are_what_they_say(tmp_path: Path) -> None:
    page = _written(tmp_path, np.eye(3), deformable=True)[80:-52, 36:-110]
    fixed, _, _, before, after, outlined, *_, jacobian = np.array_split(page, 9, axis=1)
    magenta, green = (before[..., 0] - before[..., 1] > 0.5).sum(), (before[..., 1] - before[..., 0] > 0.5).sum()
    assert magenta > 100 and green > 100
    coloured = (np.abs(after[..., 0] - after[..., 1]) > 0.5).sum()
    assert coloured < 0.5 * (magenta + green)
    grey = fixed[np.ptp(fixed, axis=-1) < 0.02]
    assert len(grey) > 0.98 * fixed[..., 0].size
    assert (np.ptp(jacobian, axis=-1) > 0.3).mean() > 0.02
    # Nothing else is yellow in a grey picture.
    amber = outlined[..., 0] - outlined[..., 2] > 0.25
    assert 50 < amber.sum() < 0.2 * amber.size


def test_the_histogram_stands_beside_the_colours(tmp_path: Path) -> None:
    bent = _written(tmp_path, np.eye(3), deformable=True)
    straight = _written(tmp_path, np.eye(3), deformable=False)
    # The right margin: colour bar, its numbers, and the bars of the histogram on the dark ground.
    assert bent[80:-52, -56:-8].std() > 0.05 and straight[80:-52, -100:-8].std() < 0.01


def test_jpeg_is_the_same_picture(tmp_path: Path) -> None:
    import io

    from matplotlib.image import imread

    from unireg_cli.report.picture import picture_jpeg

    grid = _grid(np.eye(3))
    images = [_ball(grid, grid.center_lps + np.array((shift, 0.0, 0.0)), 14.0) for shift in (0.0, 6.0, 1.0)]
    content = picture_jpeg(images[0], images[1], _registration(grid, deformable=True), images[2], "t")
    write_picture(tmp_path / "p.png", images[0], images[1], _registration(grid, deformable=True), images[2], "t")
    png = imread(tmp_path / "p.png")[..., :3]
    jpeg = imread(io.BytesIO(content), format="jpeg") / 255
    assert jpeg.shape == png.shape and np.abs(jpeg - png).mean() < 0.02
    assert len(content) < (tmp_path / "p.png").stat().st_size
