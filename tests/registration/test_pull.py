from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import cube

from unireg_cli.model.anatomy import vocabulary
from unireg_cli.registration.alignment import View
from unireg_cli.registration.pull import LandmarkPull, Pulls, StructurePull
from unireg_cli.registration.refinement import plan_levels, refine
from unireg_cli.registration.segmentations import Segmentations, Structures, codes_on, find_structures
from unireg_cli.similarity.measure import measure
from unireg_cli.spatial import Affine, Image
from unireg_cli.spatial.jacobian import index_determinant
from unireg_cli.types import Similarity

GRID = cube(28, 2.0)
CPU = torch.device("cpu")


def ball(center: tuple[float, float, float], radius: float, label: int = 1) -> np.ndarray:
    """A ball about ``center``, mm."""
    return (np.linalg.norm(GRID.points_lps() - np.asarray(center), axis=-1) < radius).astype(np.uint8) * label


def structures(fixed: np.ndarray, moving: np.ndarray) -> Structures:
    image = Image(np.zeros(GRID.shape), GRID)
    return find_structures(Segmentations(Image(fixed, GRID), Image(moving, GRID)), image, image, (), vocabulary())


def test_the_border_of_a_structure_is_drawn_to_its_partner() -> None:
    # The moving ball lies one voxel (2 mm) further along x: u must become +1 voxel along x.
    pull = StructurePull(structures(ball((0, 0, 0), 14), ball((2, 0, 0), 14)), Affine.identity(), GRID, None, CPU)
    off, step = pull.velocity(torch.zeros(3, *GRID.shape), 0.0)
    border = torch.from_numpy(np.abs(np.linalg.norm(GRID.points_lps(), axis=-1) - 14) < 2)
    ahead = border & torch.from_numpy(np.abs(GRID.points_lps()[..., 0]) > 11)
    assert 0.3 < off < 0.7  # the mean of |cos| over a sphere is one half
    # Along the normal only, so cos^2 along x: its mean over the caps beyond 11 of 14 mm is 0.80, divided by 1 + floor.
    assert float(step[0][ahead].mean()) == pytest.approx(0.80 / 1.1, abs=0.06)
    there = torch.zeros(3, *GRID.shape)
    there[0] = 1.0
    off, step = pull.velocity(there, 0.0)
    assert off < 0.05 and float(step.abs().amax()) < 0.3


def test_what_the_moving_map_does_not_show_does_not_pull() -> None:
    # Both show the same ball, but the moving map ends in its middle.
    whole = ball((0, 0, 0), 14)
    half = GRID.padded((0, 0, 0), (-14, 0, 0))
    image = Image(np.zeros(GRID.shape), GRID)
    cut = Image(np.zeros(half.shape), half)
    maps = Segmentations(Image(whole, GRID), Image(np.ascontiguousarray(whole[:, :, :14]), half))
    found = find_structures(maps, image, cut, (), vocabulary())
    off, step = StructurePull(found, Affine.identity(), GRID, None, CPU).velocity(torch.zeros(3, *GRID.shape), 0.0)
    assert off < 0.1 and float(step.abs().amax()) < 0.5


def test_a_landmark_is_drawn_to_its_target_and_then_left_alone() -> None:
    places, targets = torch.tensor([[14.0, 14.0, 14.0]]), torch.tensor([[15.0, 14.0, 13.5]])
    pull = LandmarkPull(places, targets, torch.ones(1), GRID)
    off, step = pull.velocity(torch.zeros(3, *GRID.shape), 0.0)
    assert off == pytest.approx(1.25**0.5) and step[:, 14, 14, 14].tolist() == pytest.approx([0.5, 0.0, -0.25])
    there = torch.zeros(3, *GRID.shape)
    there[0], there[2] = 1.0, -0.5
    off, step = pull.velocity(there, 0.0)
    assert off == 0 and not step.any()
    both = Pulls([pull, pull]).velocity(torch.zeros(3, *GRID.shape), 0.0)
    assert both[0] == pytest.approx(2 * 1.25**0.5) and both[1][:, 14, 14, 14].tolist() == pytest.approx([1.0, 0.0, -0.5])


def test_structures_come_together_where_the_images_show_nothing() -> None:
    given = structures(ball((0, 0, 0), 14), ball((5, -3, 0), 11))
    noise = torch.rand(GRID.shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    view = View(noise, GRID)
    levels = plan_levels(GRID, (20, 30), 0.5)

    def make(grid):  # type: ignore[no-untyped-def]
        return StructurePull(given, Affine.identity(), grid, None, CPU)

    found = refine(view, view, Affine.identity(), levels, measure(Similarity.LNCC), lambda *_: None, None, make)
    codes = torch.from_numpy(given.moving.voxels)
    before = given.dice(codes_on(codes, GRID, GRID, Affine.identity()).numpy())[0]
    after = given.dice(codes_on(codes, GRID, GRID, Affine.identity(), found).numpy())[0]
    assert before < 0.65 and after > 0.93
    assert float(index_determinant(found).min()) > 0
