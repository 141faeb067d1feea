from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scenes import Scene as Drawing
from scenes import cube, organs, show, texture

from unireg_cli.registration.alignment import View
from unireg_cli.registration.refinement import Level, Scene, plan_levels, refine
from unireg_cli.similarity.measure import measure
from unireg_cli.spatial import Affine, DisplacementField, Grid
from unireg_cli.spatial.field import field_from_index
from unireg_cli.spatial.jacobian import index_determinant
from unireg_cli.types import Similarity

FieldMaker = Callable[..., DisplacementField]
LNCC = measure(Similarity.LNCC)


def view(grid: Grid, scene: Drawing, through: DisplacementField | None = None, mask: np.ndarray | None = None) -> View:
    values = torch.from_numpy(show(scene, grid, through).voxels) / 1000
    return View(values, grid, None if mask is None else torch.from_numpy(mask.astype(np.float32)))


def quiet(done: int, total: int) -> None:
    pass


def sizes(levels: list[Level]) -> list[tuple[int, int, int]]:
    return [level.grid.size for level in levels]


def test_levels_double_up_to_the_grid_itself() -> None:
    grid = cube(64, 1.0)
    levels = plan_levels(grid, (60, 100, 70, 20), 0.5)
    assert sizes(levels) == [(8,) * 3, (16,) * 3, (32,) * 3, (64,) * 3]
    assert [level.steps for level in levels] == [60, 100, 70, 20]
    assert levels[-1].grid is grid
    for level in levels:
        assert np.allclose(level.grid.corners_lps(), grid.corners_lps(), rtol=0, atol=1e-9)


def test_thick_slices_keep_their_number() -> None:
    grid = Grid.from_arrays((64, 64, 6), (1.0, 1.0, 5.0), (0.0,) * 3, np.eye(3))
    assert sizes(plan_levels(grid, (60, 100, 70, 20), 0.5)) == [(8, 8, 6), (16, 16, 6), (32, 32, 6), (64, 64, 6)]


def test_a_tiny_crop_leaves_out_what_would_repeat() -> None:
    levels = plan_levels(cube(24, 1.0), (60, 100, 70, 20), 0.5)
    assert sizes(levels) == [(8,) * 3, (12,) * 3, (24,) * 3]
    assert [level.steps for level in levels] == [100, 70, 20]


def test_scales_without_steps_are_left_out() -> None:
    assert sizes(plan_levels(cube(64, 1.0), (60, 0, 20, 0), 0.5)) == [(8,) * 3, (32,) * 3]
    (nothing,) = plan_levels(cube(64, 1.0), (0, 0, 0, 0), 0.5)
    assert nothing.grid == cube(64, 1.0) and nothing.steps == 0


def test_a_repeated_scale_without_steps_does_not_take_the_steps_of_its_neighbour() -> None:
    (level,) = plan_levels(cube(8, 1.0), (60, 100, 70, 0), 0.5)
    assert level.grid.size == (8, 8, 8) and level.steps == 70


def test_more_smoothness_smooths_more() -> None:
    plans = [plan_levels(cube(32, 1.0), (10, 10, 10), smoothness) for smoothness in (0.0, 0.5, 1.0)]
    for detailed, default, regular in zip(*plans, strict=True):
        assert 0 < detailed.smoothing.velocity < default.smoothing.velocity < regular.smoothing.velocity
        assert 0 <= detailed.smoothing.field < default.smoothing.field < regular.smoothing.field


def errors(found: torch.Tensor, truth: DisplacementField, rim: int) -> tuple[float, float]:
    """Mean distance from the true place in mm before and after, all voxels but ``rim`` layers in the plane and one slice."""
    points = truth.grid.points_lps()[1:-1, rim:-rim, rim:-rim].reshape(-1, 3)
    wanted = truth.map(points)
    moved = field_from_index(found, truth.grid).map(points)
    return float(np.linalg.norm(wanted - points, axis=1).mean()), float(np.linalg.norm(wanted - moved, axis=1).mean())


@pytest.mark.parametrize("similarity", [Similarity.LNCC, Similarity.MIND])
def test_a_known_deformation_is_found(similarity: Similarity, wavy_field: FieldMaker) -> None:
    grid = cube(40, 2.0)
    truth, scene = wavy_field(grid, 12.0), texture(45, grain_mm=3.0)
    calls: list[tuple[int, int]] = []
    found = refine(
        view(grid, scene, truth),
        view(grid, scene),
        Affine.identity(),
        plan_levels(grid, (40, 40, 20), 0.5),
        measure(similarity),
        lambda *call: calls.append(call),
    )
    assert found.shape == (3, *grid.shape)
    assert float(index_determinant(found).min()) > 0
    before, after = errors(found, truth, 3)
    assert before > 2 and after < 0.3 * before
    done = [d for d, _ in calls]
    assert done == sorted(done) and {total for _, total in calls} == {100} and 0 < done[-1] <= 100


@pytest.mark.parametrize(
    ("grid", "along_z"),
    [(Grid.from_arrays((64, 64, 6), (1.2, 1.2, 8.0), (-37.8, -37.8, -20.0), np.eye(3)), 0.3), (cube(24, 2.5), 1.0)],
    ids=["thin stack", "tiny crop"],
)
def test_small_grids_are_refined_too(grid: Grid, along_z: float, wavy_field: FieldMaker) -> None:
    # Structure is longer along z where slices are thick: neighbours of 8 mm show something in common.
    stretched, scene = np.array([1, 1, along_z]), texture(45, grain_mm=4.0)
    truth = wavy_field(grid, 9.0, seed=1)
    if along_z != 1:
        # Organs move within thick slices and alike in neighbouring ones.
        truth = DisplacementField(np.repeat(truth.vectors_mm[1:2], 6, axis=0) * np.float32([1, 1, 0]), grid)
    fixed, moving = (view(grid, lambda points: scene(points * stretched), through) for through in (truth, None))
    found = refine(fixed, moving, Affine.identity(), plan_levels(grid, (40, 40, 40, 10), 0.5), LNCC, quiet)
    assert found.shape == (3, *grid.shape)
    assert float(index_determinant(found).min()) > 0
    before, after = errors(found, truth, 3)
    assert before > 1.2 and after < 0.4 * before


def test_the_affine_is_left_to_the_affine() -> None:
    grid = cube(32, 2.0)
    shift = Affine.from_parts(np.eye(3), (6.0, -4.0, 2.0))
    scene = texture(50)
    fixed = View(torch.from_numpy(show(scene, grid, shift).voxels) / 1000, grid)
    found = refine(fixed, view(grid, scene), shift, plan_levels(grid, (20, 10), 0.5), LNCC, quiet)
    assert float(found[:, 4:-4, 4:-4, 4:-4].abs().max()) < 0.1


def test_no_steps_move_nothing() -> None:
    grid = cube(16, 4.0)
    image = view(grid, organs(26))
    assert not refine(image, image, Affine.identity(), plan_levels(grid, (0, 0), 0.5), LNCC, quiet).any()


@pytest.mark.parametrize("similarity", [Similarity.LNCC, Similarity.MIND])
def test_the_velocity_leads_uphill(similarity: Similarity, wavy_field: FieldMaker) -> None:
    grid = cube(24, 2.0)
    scene = Scene(view(grid, organs(20)), view(grid, organs(20), wavy_field(grid, 3.0)), Affine.identity(), grid, measure(similarity))
    still = torch.zeros(3, *grid.shape)
    value, velocity = scene.velocity(still)
    assert value == pytest.approx(scene.value(still), abs=1e-6)
    assert scene.value(still + 0.05 * velocity / velocity.norm(dim=0).max()) > value


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_what_is_masked_pulls_nothing(side: str, wavy_field: FieldMaker) -> None:
    grid, scene = cube(32, 2.0), texture(40)
    images = {"fixed": view(grid, scene, wavy_field(grid, 6.0)).values, "moving": view(grid, scene).values}
    mask = torch.ones(grid.shape)
    mask[..., 20:] = 0
    found = []
    for artefact in (0.0, 40.0):
        spoilt = images[side].clone()
        spoilt[8:24, 10:22, 25:30] += artefact
        views = {name: View(spoilt if name == side else image, grid, mask if name == side else None) for name, image in images.items()}
        found.append(refine(views["fixed"], views["moving"], Affine.identity(), plan_levels(grid, (0, 20), 0.5), LNCC, quiet))
    # The mask is read between its voxels, so that windows at its rim may see a little further.
    assert float(found[0][..., :14].norm(dim=0).mean()) > 0.3
    assert float((found[1] - found[0])[..., :14].abs().max()) < 0.05
