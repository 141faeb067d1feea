from __future__ import annotations

import time
import warnings

import numpy as np
import pytest

from unireg_cli.evaluation.surface import surface_distance, surface_distances
from unireg_cli.evaluation.surfels import surfel_areas


def _blob(shape, center, radii):
    index = np.indices(shape).T
    return ((((index - np.asarray(center)) / np.asarray(radii)) ** 2).sum(-1) <= 1).T


def test_flat_pieces_have_the_area_of_a_voxel_face():
    areas = surfel_areas((2.0, 3.0, 5.0))
    assert areas[0] == areas[255] == 0
    # The four corners of one side inside: a plane through the cube.
    assert areas[0b11110000] == pytest.approx(15)
    assert areas[0b11001100] == pytest.approx(10)
    assert areas[0b10101010] == pytest.approx(6)
    # One corner: a triangle with legs of half an edge.
    a, b, c = 1.0, 1.5, 2.5
    assert areas[0b10000000] == pytest.approx(0.5 * np.sqrt((a * b) ** 2 + (b * c) ** 2 + (a * c) ** 2))


def test_parallel_plates_are_as_far_apart_as_they_were_drawn():
    first = np.zeros((12, 20, 20), bool)
    first[2:4] = True
    second = np.roll(first, 3, axis=0)
    found = surface_distance(first, second, (2.5, 1, 1))
    # Elements of either plate lie on two levels, 5 mm apart: one is 7.5 mm, one 2.5 mm away from the nearest of the other's.
    assert found.hd95_mm == pytest.approx(7.5)
    assert 4.9 < found.assd_mm < 5.1


def test_equal_masks_touch_and_an_empty_one_is_infinitely_far():
    mask = _blob((10, 10, 10), (5, 5, 5), (3, 3, 3))
    assert surface_distance(mask, mask, (1, 2, 3)).hd95_mm == 0
    assert surface_distance(mask, np.zeros_like(mask), (1, 2, 3)).hd95_mm == np.inf


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.8, 1.3)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_agrees_with_the_package_surface_distance(spacing, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = pytest.importorskip("surface_distance.metrics", reason="the package surface-distance is not installed")
        random = np.random.default_rng(seed)
        first = _blob((16, 18, 20), (7, 8, 9), (4, 5, 6)) ^ (random.random((16, 18, 20)) < 0.02)
        second = _blob((16, 18, 20), (8, 9, 11), (5, 4, 6)) ^ (random.random((16, 18, 20)) < 0.02)
        theirs = metrics.compute_surface_distances(first, second, spacing)
        hd95 = metrics.compute_robust_hausdorff(theirs, 95)
        means = metrics.compute_average_surface_distance(theirs)
    ours = surface_distance(first, second, spacing)
    assert ours.hd95_mm == pytest.approx(hd95, abs=1e-6)
    assert ours.means_mm == pytest.approx(means, abs=1e-6)
    assert ours.assd_mm == pytest.approx(np.mean(means), abs=1e-6)


def test_many_labels_of_a_map_take_seconds_at_most():
    index = np.indices((40, 48, 40)) // 8
    labels = (index[0] * 36 + index[1] * 6 + index[2] + 1).astype(np.int32)
    moved = np.roll(labels, 1, axis=2)
    begin = time.perf_counter()
    found = surface_distances(labels, moved, range(1, 60), (1.0, 1.0, 1.0))
    assert time.perf_counter() - begin < 10
    assert found[8].hd95_mm > 0
    alone = surface_distance(labels == 8, moved == 8, (1.0, 1.0, 1.0))
    assert found[8] == alone
