"""Which part of an image is looked at for structures that another image may show too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import cube

from unireg_cli.registration.network_grid import Box
from unireg_cli.registration.sight import Sight, shared_box
from unireg_cli.spatial import Affine, Grid

SMALL, LARGE = cube(20, 2.0), cube(100, 2.0)


def whole(grid: Grid) -> Box:
    x, y, z = (n - 1 for n in grid.size)
    return (0, 0, 0), (x, y, z)


def test_of_a_large_image_only_what_a_small_one_reaches_is_looked_at() -> None:
    # 38 mm between outermost voxel centres, 15 % more on either side: 49.4 mm about the middle, voxels 49.5 -+ 12.35.
    assert shared_box(LARGE, whole(LARGE), SMALL, whole(SMALL), Affine.identity()) == ((37, 37, 37), (62, 62, 62))
    shift = Affine.from_parts(np.eye(3), np.array([20.0, 0.0, 0.0]), np.zeros(3))
    assert shared_box(LARGE, whole(LARGE), SMALL, whole(SMALL), shift) == ((47, 37, 37), (72, 62, 62))


def test_of_the_small_one_all_is_looked_at_and_never_more_than_its_body() -> None:
    assert shared_box(SMALL, whole(SMALL), LARGE, whole(LARGE), Affine.identity()) == whole(SMALL)
    body = (3, 4, 5), (10, 11, 12)
    assert shared_box(SMALL, body, LARGE, whole(LARGE), Affine.identity()) == body


@pytest.mark.parametrize("far", [500.0, -500.0])
def test_images_that_do_not_seem_to_meet_are_looked_at_altogether(far: float) -> None:
    away = Affine.from_parts(np.eye(3), np.array([0.0, far, 0.0]), np.zeros(3))
    assert shared_box(LARGE, whole(LARGE), SMALL, whole(SMALL), away) == whole(LARGE)


@pytest.mark.parametrize(("counts", "familiarity"), [((3, 1), 0.8), ((0, 2), 0.5), ((0, 0), 0.0)])
def test_familiarity_is_the_mean_certainty_of_a_voxel(counts: tuple[int, int], familiarity: float) -> None:
    nothing = torch.zeros(1, 2, 2, 2)
    sight = Sight(nothing, nothing[0], SMALL, torch.tensor(counts), np.zeros((2, 3)), torch.tensor([0.9, 0.5]))
    assert sight.familiarity == pytest.approx(familiarity)
