from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import Scene, corner_error_voxels, cube, organs, show, turn

from unireg_cli.registration import alignment
from unireg_cli.registration.alignment import Pose, Problem, Search, View, align, climb, coarser, rotation
from unireg_cli.registration.normalise import normalise
from unireg_cli.registration.starts import candidates
from unireg_cli.similarity.measure import measure
from unireg_cli.spatial import Affine, Grid, Image
from unireg_cli.types import Modality, Similarity, Start, TransformKind

# The wide moving field of view holds the whole fixed one under every truth here, the other cuts its corners off.
GRID, WIDE = cube(32, 3.0), cube(44, 3.0)
RIGID = Affine.from_parts(turn((1, 2, 3), 15), (12.0, -14.0, 8.0))
AFFINE = Affine.from_parts(turn((1, 2, 3), 10) @ np.array([[1.08, 0.05, 0], [0, 0.93, 0.04], [-0.03, 0, 1.05]]), (6.0, -8.0, 5.0))
LNCC, MIND = measure(Similarity.LNCC), measure(Similarity.MIND)


def view(image: Image, mask: np.ndarray | None = None) -> View:
    return View(normalise(image, Modality.OTHER), image.grid, None if mask is None else torch.from_numpy(mask.astype(np.float32)))


def quiet(done: int, total: int) -> None:
    pass


def other_contrast(scene: Scene) -> Scene:
    """Dark where the scene is bright, and not in proportion."""
    return lambda points: 500 * (1 - scene(points) / 1000) ** 2


def body_error_voxels(found: Affine, truth: Affine, reach: float = 34.0) -> float:
    """Largest distance of the eight corners of the body's box, in voxels of GRID."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-0.85, 0.85) for z in (-0.7, 0.7)]) * reach
    fixed = truth.invert().map(corners)
    return float(np.linalg.norm(found.map(fixed) - corners, axis=1).max() / 3.0)


@pytest.mark.parametrize(
    ("kind", "truth", "seen"),
    [(TransformKind.RIGID, RIGID, GRID), (TransformKind.AFFINE, AFFINE, GRID), (TransformKind.AFFINE, AFFINE, WIDE)],
    ids=["rigid, part seen", "affine, part seen", "affine, all seen"],
)
def test_a_known_map_is_found(kind: TransformKind, truth: Affine, seen: Grid) -> None:
    scene = organs(34, count=60)
    fixed, moving = view(show(scene, GRID, truth)), view(show(scene, seen))
    found, start = align(fixed, moving, candidates(fixed, moving, Start.AUTO), kind, LNCC, quiet)
    assert corner_error_voxels(GRID, Affine.identity(), truth) > 5
    assert body_error_voxels(found, truth) < 0.2
    assert start
    if kind is TransformKind.RIGID:
        assert np.allclose(found.matrix[:3, :3].T @ found.matrix[:3, :3], np.eye(3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("degrees", [5, 15])
def test_another_contrast_is_aligned_by_descriptors(degrees: float) -> None:
    truth = Affine.from_parts(turn((1, 2, 3), degrees), (9.0, -7.0, 4.0))
    fixed, moving = view(show(organs(34), GRID, truth)), view(show(other_contrast(organs(34)), WIDE))
    found, _ = align(fixed, moving, candidates(fixed, moving, Start.HEADER), TransformKind.RIGID, MIND, quiet)
    assert body_error_voxels(Affine.identity(), truth) > 4
    assert body_error_voxels(found, truth) < 1.0


def test_half_a_field_of_view_away() -> None:
    truth = Affine.from_parts(np.eye(3), (48.0, 0.0, 0.0))
    fixed, moving = view(show(organs(34), GRID, truth)), view(show(organs(34), GRID))
    found, _ = align(fixed, moving, candidates(fixed, moving, Start.AUTO), TransformKind.RIGID, LNCC, quiet)
    # Half the body is cut off in the fixed image.
    assert body_error_voxels(found, truth) < 1.0


def test_never_less_alike_than_the_start() -> None:
    fixed, moving = view(show(organs(34), GRID)), view(show(organs(34, seed=5), GRID))
    start = Affine.from_parts(turn((0, 0, 1), 5), (4.0, 0.0, 0.0))
    # Two bodies with nothing alike inside.
    found, name = align(fixed, moving, {"header": start}, TransformKind.AFFINE, LNCC, quiet)
    assert name.startswith("header")
    problem = Problem(fixed, moving, GRID.voxels, LNCC)
    assert problem.value(found) >= problem.value(start)


def test_a_perfect_start_stays() -> None:
    fixed, moving = view(show(organs(34), GRID, RIGID)), view(show(organs(34), WIDE))
    found, _ = align(fixed, moving, {"initial transform": RIGID}, TransformKind.RIGID, LNCC, quiet)
    assert body_error_voxels(found, RIGID) < 0.1


UPRIGHT, OVER = Affine.identity(), Affine.from_parts(np.diag([1.0, -1.0, -1.0]), np.zeros(3))


@pytest.mark.parametrize(("at_the_finest", "chosen"), [((0.3, 0.2), "upright"), ((0.2, 0.3), "turned over")])
def test_a_body_turned_over_must_win_at_the_finest_scale(monkeypatch, at_the_finest, chosen) -> None:
    """The outline of a trunk is as good upside down; at the coarse scale that may even be better."""

    def climbed(_search: Search, affine: Affine, _numbers: int, voxels: int, _steps: int) -> tuple[Affine, float]:
        turned = float(np.trace(affine.matrix[:3, :3])) < 0
        return affine, (0.4, 0.5)[turned] if voxels == alignment._SCALES[0] else at_the_finest[turned]

    monkeypatch.setattr(Search, "climb", climbed)
    monkeypatch.setattr(Search, "value", lambda *_: 0.1)
    seen = view(show(organs(34), GRID))
    done = []
    found, name = align(
        seen, seen, {"turned over": OVER, "upright": UPRIGHT}, TransformKind.AFFINE, LNCC, lambda step, total: done.append((step, total))
    )
    assert name == chosen and found is {"upright": UPRIGHT, "turned over": OVER}[chosen]
    assert done == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_a_search_that_flattens_or_mirrors_the_image_is_lost(monkeypatch) -> None:
    seen = view(show(organs(34), GRID))
    for scale in (0.05, -1.0, 20.0):
        lost = Affine.from_parts(np.diag([scale, 1.0, 1.0]), np.zeros(3))
        monkeypatch.setattr(alignment, "climb", lambda *_words, lost=lost: (lost, 0.9))
        search = Search(seen, seen, LNCC)
        found, value = search.climb(UPRIGHT, 12, 20_000, 5)
        assert found is UPRIGHT and value == pytest.approx(search.value(UPRIGHT, 20_000))


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_an_artefact_outside_the_mask_does_not_pull(side: str) -> None:
    truth = Affine.from_parts(turn((0, 0, 1), 4), (6.0, -3.0, 2.0))
    scene, start = organs(34, count=60), {"header": Affine.identity()}
    fixed, moving = show(scene, GRID, truth), show(scene, WIDE)
    spoilt = fixed if side == "fixed" else moving
    mask = np.ones(spoilt.grid.shape)
    mask[:, : 9 if side == "fixed" else 15] = 0
    spoilt.voxels[4:28, 1 : 8 if side == "fixed" else 13, 4:28] = 3000
    views = {name: view(image, mask if name == side else None) for name, image in (("fixed", fixed), ("moving", moving))}
    found, _ = align(views["fixed"], views["moving"], start, TransformKind.RIGID, LNCC, quiet)
    assert body_error_voxels(found, truth) < 0.5


def test_gradient_of_a_problem_is_its_slope() -> None:
    # Textures known well beyond both fields of view: the overlap does not change with the map.
    moving = view(show(organs(60, count=80), WIDE))
    fixed = view(show(organs(60, count=80), cube(16, 3.0), RIGID))
    for comparison in (LNCC, MIND):
        problem = Problem(fixed, moving, GRID.voxels, comparison)
        gradient = problem.value_and_gradient(RIGID)[1]
        value = problem.value_and_gradient(AFFINE)[0]
        assert value == pytest.approx(problem.value(AFFINE), rel=1e-5)
        near = Affine.from_parts(turn((1, 2, 3), 13), (11.0, -13.0, 7.0))
        gradient = problem.value_and_gradient(near)[1]
        toward = (RIGID.matrix - near.matrix)[:3]
        step = 0.02
        ahead, behind = (problem.value(Affine(near.matrix + np.vstack((sign * step * toward, np.zeros(4))))) for sign in (1, -1))
        # The slopes of the moving image are central differences, those of its interpolant are not: alike, not equal.
        assert float((gradient * toward).sum()) == pytest.approx((ahead - behind) / (2 * step), rel=0.25)


def test_climb_never_falls() -> None:
    problem = Problem(view(show(organs(34), GRID, RIGID)), view(show(organs(34), WIDE)), 20_000, LNCC)
    pose = Pose(GRID.center_lps, 40.0)
    start = Affine.from_parts(turn((1, 2, 3), 9), (9.0, -11.0, 6.0))
    found, value = climb(problem, start, pose, 6, 30)
    assert value > problem.value(start)
    assert value == pytest.approx(problem.value(found), rel=1e-5)
    same, unchanged = climb(problem, found, pose, 6, 0)
    assert unchanged >= problem.value(found) - 1e-6 and np.isfinite(same.matrix).all()


def test_rotation_is_rodrigues() -> None:
    axis = np.array([1.0, -2.0, 0.5])
    angle = np.linalg.norm(axis)
    assert np.allclose(rotation(axis), turn(tuple(axis), np.degrees(angle)), rtol=0, atol=1e-12)
    assert np.array_equal(rotation(np.zeros(3)), np.eye(3))


@pytest.mark.parametrize("numbers", [6, 12])
def test_pose_moves_the_rim_by_about_a_millimetre_and_knows_its_slope(numbers: int) -> None:
    pose = Pose(np.array([5.0, -3.0, 2.0]), 40.0)
    assert pose.affine(np.zeros(numbers)).is_identity
    rim = pose.center + np.array([0, 0, 40.0])
    for n in range(numbers):
        change = np.zeros(numbers)
        change[n] = 0.01
        assert np.linalg.norm(pose.affine(change).map(rim) - rim) <= 0.0101
    point = np.random.default_rng(0).normal(size=numbers)
    slopes = pose.derivative(point)
    for n in range(numbers):
        nudge = np.zeros(numbers)
        nudge[n] = 1e-5
        expected = (pose.affine(point + nudge).matrix - pose.affine(point - nudge).matrix)[:3] / 2e-5
        assert np.allclose(slopes[n], expected, rtol=0, atol=1e-6)


def test_coarser_keeps_the_field_of_view_and_the_budget(grid: Grid) -> None:
    for voxels in (600, 2000, 10**7):
        smaller = coarser(grid, voxels)
        assert smaller.voxels <= max(voxels * 1.01, 512)
        assert np.allclose(smaller.corners_lps(), grid.corners_lps(), rtol=0, atol=1e-6)
        # The finest axes go first: but for rounding to whole voxels, edges come closer to each other.
        assert max(smaller.spacing) / min(smaller.spacing) <= max(1.2, max(grid.spacing) / min(grid.spacing))
    assert coarser(grid, 10**7) == grid
    assert coarser(cube(64, 1.0), spacing=2.0).size == (32, 32, 32)
    assert coarser(cube(6, 1.0), spacing=4.0).size == (6, 6, 6)
