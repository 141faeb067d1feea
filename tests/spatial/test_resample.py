from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import DTypeLike

from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid
from unireg_cli.spatial.resample import resample
from unireg_cli.types import Interpolation

FieldMaker = Callable[..., DisplacementField]
Twin = Callable[[Chain], sitk.Transform]
ImageMaker = Callable[[np.ndarray, Grid], sitk.Image]

TILT = Affine.from_parts(np.array([[0.97, 0.11, 0.0], [-0.08, 1.04, 0.07], [0.06, 0.0, 0.93]]), (1.3, -2.1, 0.7))
SITK = {Interpolation.LINEAR: sitk.sitkLinear, Interpolation.NEAREST: sitk.sitkNearestNeighbor, Interpolation.BSPLINE: sitk.sitkBSpline}
DTYPES = [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]


def texture(grid: Grid, seed: int = 3) -> np.ndarray:
    """A rough image with values from 0 to 250, float64."""
    return np.random.default_rng(seed).uniform(0, 250, grid.shape)


def through_simpleitk(
    voxels: np.ndarray, grid: Grid, reference: Grid, twin: sitk.Transform, kind: int, default: float, make: ImageMaker
) -> np.ndarray:
    target = make(np.zeros(reference.shape, np.uint8), reference)
    return sitk.GetArrayFromImage(sitk.Resample(make(voxels, grid), target, twin, kind, default))


def line(values: list[float], dtype: DTypeLike = np.float32) -> tuple[np.ndarray, Grid]:
    """An image of one row of voxels, 1 mm apart."""
    return np.array(values, dtype).reshape(1, 1, -1), Grid.from_arrays((len(values), 1, 1), (1, 1, 1), (0, 0, 0), np.eye(3))


def at(x: float) -> Grid:
    """A reference with one voxel at x mm."""
    return Grid((1, 1, 1), (1.0, 1.0, 1.0), (float(x), 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", list(SITK))
def test_agrees_with_simpleitk(
    grid: Grid,
    grids: dict[str, Grid],
    dtype: DTypeLike,
    kind: Interpolation,
    wavy_field: FieldMaker,
    sitk_transform: Twin,
    sitk_image: ImageMaker,
) -> None:
    moving = grids["oblique"]
    chain = Chain((wavy_field(grid, fade=False), TILT))
    voxels = texture(moving).astype(dtype)
    found = resample(voxels, moving, grid, chain, kind, default=-7.0)
    # SimpleITK truncates integers: rounding and clamping are checked against its result in floating point.
    expected = through_simpleitk(voxels.astype(np.float64), moving, grid, sitk_transform(chain), SITK[kind], -7.0, sitk_image)
    assert found.dtype == dtype
    assert found.shape == grid.shape
    assert 0.2 < (expected != -7).mean() < 1.0
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        expected = np.clip(expected, limits.min, limits.max)
        off = np.abs(found.astype(np.float64) - expected)
        assert off.max() <= 0.5 + 0.02
        assert np.array_equal(found[off < 0.4], np.rint(expected[off < 0.4]).astype(dtype))
    else:
        assert np.abs(found - expected).max() < 0.02


@pytest.mark.parametrize("kind", [Interpolation.NEAREST, Interpolation.LABEL])
@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64])
def test_ids_beyond_float32_survive(grid: Grid, kind: Interpolation, dtype: DTypeLike, wavy_field: FieldMaker) -> None:
    # 2^24 + 1 is the first integer that float32 cannot hold.
    names = np.array([0, 2**24 + 1, 2**24 + 3, 2**30 + 7], dtype)
    voxels = names[(grid.points_lps()[..., 0] > grid.center_lps[0]) * 2 + (grid.points_lps()[..., 1] > grid.center_lps[1]) * 1]
    found = resample(voxels, grid, grid, Chain((wavy_field(grid), TILT)), kind)
    assert found.dtype == dtype
    assert sorted(np.unique(found)) == sorted(names)


def test_nearest_equals_simpleitk_exactly(grid: Grid, wavy_field: FieldMaker, sitk_transform: Twin, sitk_image: ImageMaker) -> None:
    voxels = np.random.default_rng(0).integers(2**24, 2**31 - 1, grid.shape).astype(np.int32)
    chain = Chain((wavy_field(grid, fade=False), TILT))
    expected = through_simpleitk(voxels, grid, grid, sitk_transform(chain), sitk.sitkNearestNeighbor, 5, sitk_image)
    assert np.array_equal(resample(voxels, grid, grid, chain, Interpolation.NEAREST, default=5), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", list(Interpolation))
def test_identity_keeps_every_voxel(grid: Grid, dtype: DTypeLike, kind: Interpolation) -> None:
    voxels = (np.random.default_rng(1).random(grid.shape) < 0.03) * np.array(200, dtype)
    voxels[2:9, 5:12, 6:13] = 100
    found = resample(voxels.astype(dtype), grid, grid, Chain(), kind)
    assert np.allclose(found, voxels, rtol=0, atol=0 if np.issubdtype(dtype, np.integer) else 1e-2)


def test_moved_ball_is_the_ball_drawn_at_the_moved_place(grid: Grid) -> None:
    shift, radius = np.array([2.0, -1.5, 2.5]), 7.0

    def ball(centre: np.ndarray) -> np.ndarray:
        return np.clip(radius + 0.5 - np.linalg.norm(grid.points_lps() - centre, axis=-1), 0, 1).astype(np.float32)

    # The pull-back maps a fixed point to the moving point: x + shift, so the ball appears shifted by -shift.
    found = resample(ball(grid.center_lps), grid, grid, Chain((Affine.from_parts(np.eye(3), shift),)))
    expected = ball(grid.center_lps - shift)
    assert abs(found.sum() / expected.sum() - 1) < 0.02
    points = grid.points_lps()
    centroid = (found[..., None] * points).sum((0, 1, 2)) / found.sum()
    assert np.abs(centroid - (grid.center_lps - shift)).max() < 0.05 * max(grid.spacing)


def test_default_outside_and_edge_value_in_the_rim() -> None:
    voxels, grid = line([10, 20, 30])
    for kind in Interpolation:
        values = {x: float(resample(voxels, grid, at(x), Chain(), kind, default=-1000)[0, 0, 0]) for x in (-0.51, -0.49, 2.49, 2.5, 90)}
        assert values[-0.51] == values[2.5] == values[90] == -1000
        if kind is not Interpolation.BSPLINE:
            assert (values[-0.49], values[2.49]) == (10, 30)


@pytest.mark.parametrize("kind", list(SITK))
def test_half_voxel_rim_agrees_with_simpleitk(grid: Grid, kind: Interpolation, sitk_image: ImageMaker, sitk_transform: Twin) -> None:
    voxels = texture(grid)
    # A finer reference whose outermost voxels lie 0.6, 0.35, 0.1 ... voxels beyond the centres of the image.
    start = grid.lps_from_index[:3, :3] @ np.full(3, -0.6) + grid.origin
    reference = Grid.from_arrays(np.asarray(grid.size) * 4 + 4, np.asarray(grid.spacing) / 4, start, grid.cosines)
    found = resample(voxels, grid, reference, Chain(), kind, default=-99)
    expected = through_simpleitk(voxels, grid, reference, sitk_transform(Chain()), SITK[kind], -99, sitk_image)
    assert np.array_equal(found == -99, expected == -99)
    assert np.abs(found - expected).max() < 0.02


@pytest.mark.parametrize("kind", list(SITK))
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_single_slice_image_agrees_with_simpleitk(
    grid: Grid, kind: Interpolation, axis: int, sitk_image: ImageMaker, sitk_transform: Twin
) -> None:
    size = list(grid.size)
    size[axis] = 1
    thin = grid.resized(size)
    voxels = texture(thin)
    chain = Chain((Affine.from_parts(np.eye(3), (0.31, -0.22, 0.17)),))
    found = resample(voxels, thin, thin, chain, kind, default=-1)
    if kind is Interpolation.BSPLINE:
        # SimpleITK cannot spline a single slice; a constant along the thin axis is the same image.
        more = [4 * (a == axis) for a in range(3)]
        voxels, thick = np.repeat(voxels, 9, axis=2 - axis), thin.padded(more, more)
        inside = through_simpleitk(texture(thin), thin, thin, sitk_transform(chain), sitk.sitkNearestNeighbor, -1, sitk_image) != -1
        expected = np.where(inside, through_simpleitk(voxels, thick, thin, sitk_transform(chain), SITK[kind], -1, sitk_image), -1)
    else:
        expected = through_simpleitk(voxels, thin, thin, sitk_transform(chain), SITK[kind], -1, sitk_image)
    assert (expected != -1).mean() > 0.7
    assert np.abs(found - expected).max() < 0.02


def test_label_vote_of_one_slice() -> None:
    voxels, grid = line([3, 3, 9, 9], np.uint16)
    assert [int(resample(voxels, grid, at(x), Chain(), Interpolation.LABEL)[0, 0, 0]) for x in (0, 1.4, 1.6, 3)] == [3, 3, 9, 9]


def test_integers_are_rounded_and_clamped() -> None:
    voxels, grid = line([0, 1], np.uint8)
    values = [int(resample(voxels, grid, at(x), Chain(), Interpolation.LINEAR)[0, 0, 0]) for x in (0.4, 0.6)]
    assert values == [0, 1]
    assert resample(voxels, grid, at(9), Chain(), Interpolation.LINEAR, default=-1024).item() == 0
    assert resample(voxels, grid, at(9), Chain(), Interpolation.LINEAR, default=1024).item() == 255
    # A cubic spline overshoots a step: 0 0 255 255 must not wrap around.
    steps, grid = line([0, 0, 0, 255, 255, 255], np.uint8)
    assert resample(steps, grid, at(1.5), Chain(), Interpolation.BSPLINE).item() == 0
    assert resample(steps, grid, at(3.5), Chain(), Interpolation.BSPLINE).item() == 255


def test_pieces_make_the_same_image(monkeypatch: pytest.MonkeyPatch, grid: Grid, wavy_field: FieldMaker) -> None:
    chain = Chain((wavy_field(grid), TILT))
    whole = {kind: resample(texture(grid), grid, grid, chain, kind) for kind in Interpolation}
    monkeypatch.setattr("unireg_cli.spatial.resample._CHUNK", 900)
    monkeypatch.setattr("unireg_cli.spatial.resample._VOTE_CHUNK", 70)
    for kind, expected in whole.items():
        assert np.allclose(resample(texture(grid), grid, grid, chain, kind), expected, rtol=0, atol=2e-3)


def test_input_is_not_changed(grid: Grid, wavy_field: FieldMaker) -> None:
    voxels = texture(grid).astype(np.int16)
    kept = voxels.copy()
    for kind in Interpolation:
        resample(voxels, grid, grid, Chain((wavy_field(grid),)), kind)
    assert np.array_equal(voxels, kept)


def test_reversed_and_big_endian_arrays(grid: Grid) -> None:
    voxels = texture(grid).astype(np.int16)
    chain = Chain((TILT,))
    for kind in Interpolation:
        expected = resample(voxels, grid, grid, chain, kind)
        assert np.array_equal(resample(voxels[::-1].copy()[::-1], grid, grid, chain, kind), expected)
        assert np.array_equal(resample(voxels.astype(">i2"), grid, grid, chain, kind), expected)


def three_labels(grid: Grid) -> np.ndarray:
    """Background, a ball, and a box beside it."""
    offset = (grid.points_lps() - grid.center_lps) @ grid.cosines
    voxels = np.zeros(grid.shape, np.uint16)
    voxels[np.linalg.norm(offset - (-4, 0, 0), axis=-1) < 7] = 11
    voxels[(np.abs(offset - (6, 1, 0)) < (4, 6, 5)).all(axis=-1)] = 500
    return voxels


def vote_at(voxels: np.ndarray, x: float, y: float, z: float) -> int:
    cube = Grid((3, 3, 3), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    place = Grid((1, 1, 1), (1.0, 1.0, 1.0), (x, y, z), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    return int(resample(voxels, cube, place, Chain(), Interpolation.LABEL).item())


def test_label_vote_by_hand() -> None:
    # With s = 0.45 a neighbour one voxel off weighs w = exp(-1 / 0.405) = 0.0847: all 26 together (1 + 2 w)^3 - 1 = 0.600 < 1.
    lone = np.full((3, 3, 3), 4, np.uint8)
    lone[1, 1, 1] = 9
    assert vote_at(lone, 1, 1, 1) == 9
    # 0.45 voxels off along every axis, weights along one axis are exp(-0.5) = 0.607, exp(-0.747) = 0.474 and 0.0056:
    # 9 has 0.607^3 = 0.223 of 1.086^3 = 1.281, less than half, though it is the nearest.
    assert vote_at(lone, 1.45, 1.45, 1.45) == 4
    row = lone.copy()
    row[1, 1, :] = 9
    # On the middle of the row it wins; 0.45 off along y and z it has 0.607^2 = 0.368 of 1.086^2 = 1.180.
    assert vote_at(row, 1, 1, 1) == 9
    assert vote_at(row, 1, 1.45, 1.45) == 4


def test_label_vote_counts_labels_not_voxels() -> None:
    # 9 holds x = 1; the two sides have ids 4 and 5. 0.45 off, 9 weighs 0.607 and 5 weighs 0.474: 9 wins.
    voxels = np.empty((3, 3, 3), np.uint8)
    voxels[..., 0], voxels[..., 1], voxels[..., 2] = 4, 9, 5
    assert vote_at(voxels, 1.45, 1, 1) == 9
    assert vote_at(voxels, 1.55, 1, 1) == 5


def test_label_vote_never_invents_a_label(grid: Grid, wavy_field: FieldMaker) -> None:
    voxels = three_labels(grid)
    found = resample(voxels, grid, grid.resized((33, 29, 31)), Chain((wavy_field(grid), TILT)), Interpolation.LABEL, default=7)
    assert set(np.unique(found)) == {0, 7, 11, 500}


def test_label_vote_agrees_with_nearest_away_from_boundaries(grid: Grid, wavy_field: FieldMaker) -> None:
    voxels = three_labels(grid)
    chain = Chain((wavy_field(grid), TILT))
    nearest = resample(voxels, grid, grid, chain, Interpolation.NEAREST)
    voted = resample(voxels, grid, grid, chain, Interpolation.LABEL)
    # A voxel of the image is deep inside its label if none of its 26 neighbours has another.
    padded = np.pad(voxels, 1, mode="edge")
    window = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3))
    deep = (window.max((3, 4, 5)) == window.min((3, 4, 5))).astype(np.uint8)
    deep_there = resample(deep, grid, grid, chain, Interpolation.NEAREST) == 1
    assert deep_there.mean() > 0.1
    assert np.array_equal(voted[deep_there], nearest[deep_there])
    assert (voted != nearest).any()


def test_label_vote_is_smoother_than_nearest(grids: dict[str, Grid]) -> None:
    """On a reference three times finer, the vote's ball is nearer to the true ball than the stairs of nearest."""
    grid = grids["LPS"]
    fine = grid.resized([3 * n for n in grid.size])
    centre = grid.center_lps
    truth = np.linalg.norm(fine.points_lps() - centre, axis=-1) < 9
    coarse = (np.linalg.norm(grid.points_lps() - centre, axis=-1) < 9).astype(np.uint8)
    wrong = {kind: (resample(coarse, grid, fine, Chain(), kind) != truth).sum() for kind in (Interpolation.NEAREST, Interpolation.LABEL)}
    assert wrong[Interpolation.LABEL] < wrong[Interpolation.NEAREST]


def plateau_field(grid: Grid, shift_mm: tuple[float, float, float]) -> DisplacementField:
    """The same shift all over the middle of the grid, fading to zero at its edge."""
    waves = [np.clip(1.6 * np.sin(np.pi * np.linspace(0, 1, n)), 0, 1) for n in grid.shape]
    weight = waves[0][:, None, None] * waves[1][:, None] * waves[2]
    return DisplacementField((weight[..., None] * np.asarray(shift_mm)).astype(np.float32), grid)


@pytest.mark.parametrize("kind", [Interpolation.NEAREST, Interpolation.LABEL])
@pytest.mark.parametrize("name", ["oblique", "anisotropic"])
def test_points_and_labels_land_together(grid: Grid, grids: dict[str, Grid], name: str, kind: Interpolation) -> None:
    """A ball of the moving image, warped to the fixed grid, has its centroid where the inverse chain carries its centre."""
    # Images twice as fine as the field, so that a ball of 5 mm is more than three slices of the anisotropic grids.
    fixed, moving = (each.resized([2 * n for n in each.size]) for each in (grid, grids[name]))
    middle = Affine.from_parts(TILT.matrix[:3, :3], moving.center_lps - grid.center_lps, grid.center_lps)
    chain = Chain((plateau_field(grid, (2.5, -2.0, 2.0)), middle))
    ball = (np.linalg.norm(moving.points_lps() - moving.center_lps, axis=-1) < 5).astype(np.int16) * 42
    centre = moving.points_lps()[ball == 42].mean(0)
    centroid = fixed.points_lps()[resample(ball, moving, fixed, chain, kind) == 42].mean(0)
    landed = chain.invert().map(centre)
    assert np.linalg.norm(landed - centroid) < 0.25 * max(*fixed.spacing, *moving.spacing)
    # By hand: back through the affine, then against the shift of the plateau.
    assert np.linalg.norm(landed - (middle.invert().map(centre) - (2.5, -2.0, 2.0))) < 0.05
    # The forward chain, the mistake that is easily made, carries it elsewhere.
    assert np.linalg.norm(chain.map(centre) - centroid) > 1.5
