"""A pair of scans: what is known about it holds in both images."""

from __future__ import annotations

import numpy as np
import pytest

from unireg_cli.phantom.anatomy import Anatomy
from unireg_cli.phantom.ct import scan
from unireg_cli.phantom.motion import Motion
from unireg_cli.phantom.pair import PhantomPair, centred_grid, demo_grids, large_grids, make_pair
from unireg_cli.phantom.torso import Torso
from unireg_cli.spatial import Grid, Image


def _tiny() -> tuple[Grid, Grid]:
    return demo_grids(3.5)


def _value_at(image: Image, points_lps: np.ndarray) -> np.ndarray:
    index = points_lps @ image.grid.index_from_lps[:3, :3].T + image.grid.index_from_lps[:3, 3]
    i, j, k = np.rint(index).astype(int).T
    return image.voxels[k, j, i]


def test_landmarks_lie_in_their_organ_in_both_images(pair: PhantomPair) -> None:
    assert len(pair.landmark_labels) == len(pair.landmarks_fixed_lps) == len(pair.landmarks_moving_lps) > 40
    assert len(set(pair.landmark_labels)) > 8
    np.testing.assert_array_equal(pair.torso.labels_at(pair.landmarks_moving_lps), pair.landmark_labels)
    # Read back from the voxels: a landmark is two voxels deep, so rounding to the nearest one cannot leave the organ often.
    for image, points in ((pair.fixed_labels, pair.landmarks_fixed_lps), (pair.moving_labels, pair.landmarks_moving_lps)):
        assert (_value_at(image, points) == pair.landmark_labels).mean() > 0.95


def test_landmarks_follow_the_motion(pair: PhantomPair) -> None:
    np.testing.assert_allclose(pair.motion.map(pair.landmarks_fixed_lps), pair.landmarks_moving_lps, atol=1e-5)
    assert np.linalg.norm(pair.landmarks_fixed_lps - pair.landmarks_moving_lps, axis=1).mean() > 8


def test_labels_of_the_two_images_agree_through_the_motion(pair: PhantomPair) -> None:
    points = pair.fixed_labels.grid.points_lps()
    through = pair.torso.paint(pair.motion.map(points)).labels.numpy()
    # float32 positions on the edge of two labels may fall either way.
    assert (through == pair.fixed_labels.voxels).mean() > 0.9999


def test_grids_differ_in_every_way(pair: PhantomPair) -> None:
    fixed, moving = pair.fixed.grid, pair.moving.grid
    assert fixed.size != moving.size and fixed.direction != moving.direction
    assert not np.allclose(fixed.spacing, moving.spacing) and not np.allclose(fixed.center_lps, moving.center_lps)
    assert moving.cosines[0, 0] < -0.9 and moving.cosines[1, 1] < -0.9 and moving.cosines[2, 2] > 0.9
    assert pair.fixed_labels.grid == fixed and pair.moving_labels.grid == moving


def test_coarser_grids_keep_the_field_of_view() -> None:
    for fine, coarse in zip(demo_grids(), demo_grids(2.7), strict=True):
        np.testing.assert_allclose(fine.extent_mm, coarse.extent_mm)
        np.testing.assert_allclose(fine.corners_lps(), coarse.corners_lps(), atol=1e-9)


def test_large_grids_are_of_clinical_size() -> None:
    assert all(grid.size == (512, 512, 300) for grid in large_grids())


def test_seed_decides_everything() -> None:
    first, again, other = make_pair(7, grids=_tiny()), make_pair(7, grids=_tiny()), make_pair(8, grids=_tiny())
    np.testing.assert_array_equal(first.fixed.voxels, again.fixed.voxels)
    np.testing.assert_array_equal(first.moving.voxels, again.moving.voxels)
    np.testing.assert_array_equal(first.landmarks_fixed_lps, again.landmarks_fixed_lps)
    assert (first.fixed_labels.voxels != other.fixed_labels.voxels).mean() > 0.05


def test_no_motion_leaves_only_noise() -> None:
    grid = _tiny()[0]
    still = make_pair(1, amount=0.0, grids=(grid, grid), noise_hu=(10.0, 10.0))
    assert (still.fixed_labels.voxels == still.moving_labels.voxels).mean() > 0.9999
    apart = still.fixed.voxels.astype(float) - still.moving.voxels
    assert 5 < apart.std() < 16


def test_slabs_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = centred_grid((30, 24, 20), (11.0, 10.0, 14.0), np.eye(3), (0.0, 0.0, 10.0), 1.0)
    torso, motion = Torso(Anatomy.random(2)), Motion.random(2)
    voxels, labels = scan(torso, grid, 0, motion=motion, noise_hu=0.0)
    for slices in (1, 2, 7):
        monkeypatch.setattr("unireg_cli.phantom.ct._SLAB", 30 * 24 * slices)
        cut, cut_labels = scan(torso, grid, 0, motion=motion, noise_hu=0.0)
        np.testing.assert_array_equal(labels, cut_labels)
        assert np.abs(voxels.astype(int) - cut).max() <= 1
