"""Slices as numbers: each layer shows what it says, at the place where it is."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import GRID, SHIFT, STRETCH, ball, registration, stretched

from unireg_cli.report.edges import edges
from unireg_cli.report.planes import foreground_center, three_planes
from unireg_cli.report.stacks import LINE_EVERY_MM, cut_stack, log_jacobian_map, pooled, prepare_sources
from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid, Image
from unireg_cli.spatial.resample import resample


def _middle(layer: np.ndarray) -> np.ndarray:
    """Row and column of the middle of what is bright."""
    return np.argwhere(layer > 0.5).mean(0)


def test_slices_are_spread_over_the_foreground_and_no_thinner_than_voxels() -> None:
    center = GRID.center_lps + np.array((4.0, -5.0, 6.0))
    image = ball(GRID, center, 9.0)
    axial, coronal, _ = three_planes(GRID, foreground_center(image))
    offsets = axial.offsets_mm(image, 99)
    # 18 mm of ball in slices of 3 mm, and a little soft edge.
    assert 6 <= len(offsets) <= 8 and abs(offsets.mean()) < 1.0 and np.diff(offsets) == pytest.approx(offsets[1] - offsets[0])
    assert np.ptp(offsets) == pytest.approx(18, abs=3)
    assert len(coronal.offsets_mm(image, 5)) == 5
    flat = Image(np.zeros(GRID.shape, np.int16), GRID)
    assert axial.offsets_mm(flat, 5).tolist() == [0.0]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_slab_is_the_plane_at_each_distance(which: int) -> None:
    plane = three_planes(GRID, GRID.center_lps, 40)[which]
    slab = plane.slab(np.array((-4.0, 0.0, 4.0)))
    assert slab.shape[0] == 3 and slab.shape[1:] == plane.grid.shape[1:]
    np.testing.assert_allclose(slab.points_lps()[1], plane.points_lps(), atol=1e-9)
    through = slab.points_lps()[2] - slab.points_lps()[0]
    np.testing.assert_allclose(through, np.broadcast_to(8 * plane.grid.cosines[:, 2], through.shape))
    assert plane.slab(np.array((2.0,))).size[2] == 1


def test_layers_show_before_affine_and_after() -> None:
    """The moving ball lies SHIFT away; the affine step brings it home, the field then bends what the stretch says."""
    fixed, moving = ball(GRID, GRID.center_lps, 8.0), ball(GRID, GRID.center_lps + SHIFT, 8.0)
    done = registration(stretched())
    warped = Image(resample(moving.voxels, GRID, GRID, done.forward), GRID)
    sources = prepare_sources(fixed, moving, warped, done, 1.0)
    _, coronal, _ = three_planes(GRID, GRID.center_lps, 60)
    stack = cut_stack(sources, coronal, np.array((-2.0, 0.0, 2.0)))
    assert set(stack.layers) == {"fixed", "before", "affine", "after", "edges", "lines", "logj"}
    assert all(layer.shape == (3, coronal.grid.size[1], coronal.grid.size[0]) for layer in stack.layers.values())
    assert all(layer.min() >= 0 and layer.max() <= 1 for layer in stack.layers.values())
    pixel = coronal.grid.spacing[0]
    home = _middle(stack.layers["fixed"][1])
    # Columns run to the patient's left (+x), rows downwards (-z).
    np.testing.assert_allclose((_middle(stack.layers["before"][1]) - home) * pixel, (-SHIFT[2], SHIFT[0]), atol=0.4)
    np.testing.assert_allclose(_middle(stack.layers["affine"][1]), home, atol=0.3)
    width = {name: np.ptp(np.argwhere(stack.layers[name][1] > 0.5)[:, 1]) + 1 for name in ("affine", "after")}
    # What is read from 1.1 times as far away looks smaller by that.
    assert width["after"] == pytest.approx(width["affine"] / 1.1, abs=1.2)
    inside = stack.layers["logj"][1][10:-10, 10:-10]
    truth = np.log(np.prod(1 + STRETCH))
    np.testing.assert_allclose((inside - 0.5) * 2 * sources.limit, truth, atol=2e-3)


def test_without_a_field_there_is_neither_affine_stop_nor_jacobian() -> None:
    image = ball(GRID, GRID.center_lps, 8.0)
    sources = prepare_sources(image, image, image, registration(None), 2.0)
    stack = cut_stack(sources, three_planes(GRID, GRID.center_lps, 30)[0], np.zeros(1))
    assert set(stack.layers) == {"fixed", "before", "after", "edges", "lines"}


def test_lines_of_a_still_field_are_straight_and_twenty_millimetres_apart() -> None:
    image = ball(GRID, GRID.center_lps, 8.0)
    still = DisplacementField(np.zeros((*GRID.shape, 3), np.float32), GRID)
    sources = prepare_sources(image, image, image, registration(still), 1.0)
    axial = three_planes(GRID, GRID.center_lps, 60)[0]
    lines = cut_stack(sources, axial, np.zeros(1)).layers["lines"][0]
    straight = np.flatnonzero((lines > 0.5).mean(0) > 0.95)
    starts = straight[np.diff(straight, prepend=-9) > 1]
    assert len(starts) >= 3
    np.testing.assert_allclose(np.diff(starts) * axial.grid.spacing[0], LINE_EVERY_MM, atol=1.1)
    assert 0.05 < (lines > 0.5).mean() < 0.35


def test_log_jacobian_of_a_stretch_and_of_a_fold() -> None:
    inner = (slice(3, -3),) * 3
    np.testing.assert_allclose(log_jacobian_map(stretched()).voxels[inner], np.log(1.1 * 0.95 * 1.2), atol=1e-5)
    folded = DisplacementField(((GRID.points_lps() - GRID.center_lps) * (-2.0, 0, 0)).astype(np.float32), GRID)
    np.testing.assert_allclose(log_jacobian_map(folded).voxels[inner], np.log(1e-3), atol=1e-5)


def test_pooling_takes_means_and_stays_in_place() -> None:
    grid = Grid.from_arrays((7, 4, 6), (1.0, 3.0, 1.0), (5.0, 6.0, 7.0), np.eye(3))
    voxels = np.arange(7 * 4 * 6, dtype=np.int16).reshape(6, 4, 7)
    small = pooled(Image(voxels, grid), 2.5)
    # Two voxels become one along x and z; the seventh of x is left over, y is coarse enough.
    assert small.grid.size == (3, 4, 3) and small.grid.spacing == (2.0, 3.0, 2.0) and small.voxels.dtype == np.float32
    assert small.voxels[0, 0, 0] == voxels[:2, 0, :2].mean() and small.voxels[2, 3, 2] == voxels[4:, 3, 4:6].mean()
    np.testing.assert_allclose(small.grid.origin, (5.5, 6.0, 7.5))
    same = pooled(Image(voxels, grid), 0.5)
    assert same.grid.same_space(grid) and np.array_equal(same.voxels, voxels)


def test_edges_of_a_disc_lie_on_its_circle() -> None:
    down, right = np.indices((80, 90))
    away = np.hypot(down - 40, right - 45)
    found = edges(np.clip((25 - away) / 3 + 0.5, 0, 1))
    assert found.sum() > 100
    np.testing.assert_allclose(away[found], 25, atol=1.2)
    # All the way round: every tenth of the circle has some.
    angle = np.arctan2(down - 40, right - 45)[found]
    assert (np.histogram(angle, 36, (-np.pi, np.pi))[0] > 0).all()
    assert not edges(np.full((20, 20), 0.4)).any() and not edges(np.zeros((1, 20))).any()


def test_affine_alone_is_the_chain_without_the_field() -> None:
    """With an initial field kept beside: only the registration's own field is left out."""
    image = ball(GRID, GRID.center_lps, 8.0)
    done = registration(stretched(), Affine.from_parts(np.eye(3), np.zeros(3)))
    sources = prepare_sources(image, image, image, done, 1.0)
    plane = three_planes(GRID, GRID.center_lps, 60)[0]
    layers = cut_stack(sources, plane, np.zeros(1)).layers
    np.testing.assert_array_equal(layers["affine"], layers["before"])
    assert done.forward == Chain((done.field, done.affine))
