from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scenes import cube, organs, show, texture, turn

from unireg_cli.errors import InputError, UsageError
from unireg_cli.registration.pipeline import register_images
from unireg_cli.registration.result import Registration
from unireg_cli.registration.settings import Settings
from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid, Image
from unireg_cli.spatial.jacobian import determinant
from unireg_cli.types import Effort, Similarity, Start, TransformKind

FieldMaker = Callable[..., DisplacementField]
SHIFT = np.array([3.0, -2.0, 2.5])
KINDS = [TransformKind.RIGID, TransformKind.AFFINE, TransformKind.DEFORMABLE]


def ball(center: np.ndarray, radius: float = 7.0) -> Callable[[np.ndarray], np.ndarray]:
    """A ball whose rim rises over 4 mm: points -> 0..1000."""
    return lambda points: 1000 * np.clip(0.5 - (np.linalg.norm(points - center, axis=-1) - radius) / 4, 0, 1)


def inner_points(center: np.ndarray, radius: float = 6.0) -> np.ndarray:
    steps = np.stack(np.meshgrid(*[np.linspace(-radius, radius, 9)] * 3, indexing="ij"), -1).reshape(-1, 3)
    return center + steps[np.linalg.norm(steps, axis=1) <= radius]


@pytest.fixture(scope="module")
def waves(wavy_field: FieldMaker) -> tuple[Registration, DisplacementField, Image, Image]:
    """A deformable registration of a textured pair, its truth, and both images."""
    grid = cube(32, 2.0)
    truth, scene = wavy_field(grid, 8.0), texture(40, 3.0)
    fixed, moving = show(scene, grid, truth, "fixed.nii"), show(scene, grid, name="moving.nii")
    return register_images(fixed, moving, Settings(start=Start.HEADER)), truth, fixed, moving


@pytest.mark.parametrize("kind", KINDS)
def test_a_shifted_ball_is_found_on_every_grid(grid: Grid, grids: dict[str, Grid], kind: TransformKind) -> None:
    # Fixed and moving image lie on different lattices: spacing, size and direction of the other differ.
    other = grids["oblique"] if grid is not grids["oblique"] else grids["sagittal"]
    center = 0.5 * (grid.center_lps + other.center_lps) - SHIFT / 2
    fixed, moving = show(ball(center), grid), show(ball(center + SHIFT), other)
    result = register_images(fixed, moving, Settings(transform=kind))
    points = inner_points(center)
    # A ball says nothing about turns: its middle must move by the shift, not each of its points.
    moved = (result.forward.map(points) - points).mean(axis=0)
    assert np.linalg.norm(moved - SHIFT) < 0.2 * min(grid.spacing)
    back = (result.inverse.map(points + SHIFT) - points - SHIFT).mean(axis=0)
    assert np.linalg.norm(back + SHIFT) < 0.3 * min(grid.spacing)
    assert (result.field is None) == (kind is not TransformKind.DEFORMABLE)
    assert result.quality.similarity_after > result.quality.similarity_before


def test_linear_results_are_what_they_are_called() -> None:
    grid, truth = cube(32, 3.0), Affine.from_parts(turn((1, 2, 3), 8) * 1.05, (6.0, -4.0, 3.0))
    scene = organs(34, count=60)
    fixed, moving = show(scene, grid, truth), show(scene, cube(40, 3.0))
    rigid = register_images(fixed, moving, Settings(transform=TransformKind.RIGID, start=Start.HEADER))
    affine = register_images(fixed, moving, Settings(transform=TransformKind.AFFINE, start=Start.HEADER))
    assert np.allclose(rigid.affine.matrix[:3, :3].T @ rigid.affine.matrix[:3, :3], np.eye(3), rtol=0, atol=1e-6)
    assert np.linalg.det(affine.affine.matrix[:3, :3]) == pytest.approx(1.05**3, rel=0.02)
    for result in (rigid, affine):
        assert result.forward.steps == (result.affine,)
        assert np.allclose(result.inverse.map(result.forward.map(grid.corners_lps())), grid.corners_lps(), rtol=0, atol=1e-6)
        assert [stage.name for stage in result.stages] == ["prepare", "align", "judge"]
        assert result.field is None and result.inverse_field is None and result.quality.regularity is None


def test_a_deformation_is_found(waves: tuple[Registration, DisplacementField, Image, Image]) -> None:
    result, truth, fixed, _ = waves
    points = fixed.grid.points_lps()[4:-4, 4:-4, 4:-4].reshape(-1, 3)
    wanted = truth.map(points)
    before = np.linalg.norm(wanted - points, axis=1).mean()
    assert before > 1.2
    assert np.linalg.norm(result.forward.map(points) - wanted, axis=1).mean() < 0.3 * before
    quality = result.quality
    assert quality.similarity_before <= quality.similarity_affine < quality.similarity_after <= 1


def test_the_field_has_no_fold_and_an_inverse(waves: tuple[Registration, DisplacementField, Image, Image]) -> None:
    result, _, fixed, _ = waves
    assert result.field is not None and result.inverse_field is not None
    jacobian = determinant(result.field)
    assert jacobian.min() > 0
    quality = result.quality
    assert quality.regularity is not None and quality.regularity_foreground is not None
    assert quality.regularity.folding_percent == 0 and quality.regularity.minimum == pytest.approx(float(jacobian.min()))
    assert quality.inverse_consistency is not None
    assert quality.inverse_consistency.mean_voxels < 0.1 and quality.inverse_consistency.p99_voxels < 0.5
    # And by points, through the chains as they are written.
    points = np.random.default_rng(0).uniform(-28, 28, (2000, 3))
    loop = np.linalg.norm(result.inverse.map(result.forward.map(points)) - points, axis=1) / min(fixed.grid.spacing)
    assert loop.mean() < 0.1 and np.percentile(loop, 99) < 0.5
    lengths = quality.displacement_percentiles_mm
    assert lengths is not None and lengths["p50"] <= lengths["p95"] <= lengths["p99"] <= lengths["max"]
    longest = np.linalg.norm(result.field.vectors_mm, axis=-1).max()
    assert 0.5 * longest < lengths["max"] <= longest * 1.001


def test_decisions_and_stages_are_told(waves: tuple[Registration, DisplacementField, Image, Image]) -> None:
    result = waves[0]
    assert set(result.decisions) == {"fixed_modality", "moving_modality", "similarity", "start", "device", "grid"}
    assert result.decisions["fixed_modality"].startswith("mr")
    assert result.decisions["similarity"] == "lncc (both images are of one modality)"
    assert result.decisions["start"].startswith("header")
    assert "32x32x32 voxels of 2x2x2 mm" in result.decisions["grid"]
    assert [stage.name for stage in result.stages] == ["prepare", "align", "refine", "finish"]
    assert all(stage.seconds >= 0 for stage in result.stages)
    assert result.quality.similarity_name.startswith("LNCC")
    assert result.network_grid.same_space(waves[2].grid)


def test_nothing_tears_at_the_edge_of_the_field(wavy_field: FieldMaker) -> None:
    # Structure and displacement up to the border of both images, and beyond.
    grid = cube(32, 2.0)
    truth, scene = wavy_field(grid.padded((8,) * 3, (8,) * 3), 6.0, fade=False, seed=2), texture(50, 3.0)
    result = register_images(show(scene, grid, truth), show(scene, cube(44, 2.0)), Settings(start=Start.HEADER))
    field = result.field
    assert field is not None
    faces = np.concatenate([grid.points_lps()[[0, -1]].reshape(-1, 3), grid.points_lps()[:, :, [0, -1]].reshape(-1, 3)])
    at_border = np.linalg.norm(field.map(faces) - faces, axis=1)
    assert np.percentile(at_border, 90) > 2.0
    # Along lines through the whole buffer and out of it at both ends, in hundredths of a voxel.
    low, high = field.grid.corners_lps().min(0), field.grid.corners_lps().max(0)
    for axis in range(3):
        places = np.arange(low[axis] - 4, high[axis] + 4, 0.02)
        for other in (-20.0, -3.0, 12.0, 25.0):
            line = np.full((len(places), 3), other)
            line[:, axis] = places
            jumps = np.linalg.norm(np.diff(field.map(line) - line, axis=0), axis=1)
            # A tear would show as the millimetres at the border in one such step.
            assert jumps.max() < 0.06
    assert determinant(field).min() > 0
    outermost = np.concatenate([field.vectors_mm.take(side, axis).reshape(-1, 3) for axis in range(3) for side in (0, -1)])
    assert not outermost.any()


def test_the_same_run_gives_the_same_bytes(waves: tuple[Registration, DisplacementField, Image, Image]) -> None:
    first, _, fixed, moving = waves
    again = register_images(fixed, moving, Settings(start=Start.HEADER))
    assert first.field is not None and again.field is not None
    assert first.inverse_field is not None and again.inverse_field is not None
    assert first.affine.matrix.tobytes() == again.affine.matrix.tobytes()
    assert first.field.vectors_mm.tobytes() == again.field.vectors_mm.tobytes()
    assert first.inverse_field.vectors_mm.tobytes() == again.inverse_field.vectors_mm.tobytes()
    assert first.quality == again.quality


def test_an_affine_initial_transform_is_where_the_search_begins() -> None:
    # Upside down: no start of our own gets there.
    grid = cube(32, 3.0)
    truth = Affine.from_parts(turn((1, 1, 0), 140), (9.0, -6.0, 5.0))
    near = Affine.from_parts(turn((1, 1, 0), 137), (7.0, -4.0, 5.0))
    scene = texture(90, 6.0)
    fixed, moving = show(scene, grid, truth), show(scene, cube(60, 3.0))
    split = Affine.from_parts(turn((1, 1, 0), 100), (1.0, 2.0, 3.0))
    initial = Chain((split, near.after(split.invert())))
    result = register_images(fixed, moving, Settings(transform=TransformKind.RIGID), initial=initial)
    corners = grid.corners_lps()
    assert np.linalg.norm(result.forward.map(corners) - truth.map(corners), axis=1).max() < 0.6
    assert result.forward.steps == (result.affine,)
    assert result.decisions["start"].startswith("initial transform")
    still = register_images(fixed, moving, Settings(effort=Effort.FAST), initial=initial)
    assert still.field is not None and still.forward.steps == (still.field, still.affine)
    points = inner_points(np.zeros(3), 20)
    assert np.linalg.norm(still.forward.map(points) - truth.map(points), axis=1).mean() < 0.6


@pytest.mark.parametrize("kind", [TransformKind.RIGID, TransformKind.DEFORMABLE])
def test_a_deformable_initial_transform_stays_at_the_end(kind: TransformKind, wavy_field: FieldMaker) -> None:
    grid = cube(32, 3.0)
    bend, shift = wavy_field(cube(44, 3.0), 20.0, seed=4), Affine.from_parts(turn((0, 0, 1), 3), (4.0, -3.0, 2.0))
    scene = texture(90, 5.0)
    # fixed(x) = scene(bend(shift(x))): the shift is what is left to find.
    fixed, moving = show(scene, grid, Chain((shift, bend))), show(scene, cube(50, 3.0))
    result = register_images(fixed, moving, Settings(transform=kind), initial=Chain((bend,)))
    assert result.forward.steps[-1] is bend
    assert result.forward.steps[-2] is result.affine
    points = inner_points(np.zeros(3), 30)
    wanted = bend.map(shift.map(points))
    assert np.linalg.norm(bend.map(points) - wanted, axis=1).mean() > 4
    assert np.linalg.norm(result.forward.map(points) - wanted, axis=1).mean() < 0.8
    loop = result.inverse.map(result.forward.map(points))
    assert np.linalg.norm(loop - points, axis=1).mean() < 0.3


def test_masks_keep_artefacts_out() -> None:
    grid, shift = cube(32, 2.0), np.array([4.0, -3.0, 2.0])
    scene = texture(50, 4.0)
    fixed, moving = show(scene, grid, Affine.from_parts(np.eye(3), shift)), show(scene, grid)
    keep_fixed, keep_moving = np.ones(grid.shape, np.uint8), np.ones(grid.shape, np.uint8)
    keep_fixed[:, :, 24:], keep_moving[:9] = 0, 0
    fixed.voxels[4:20, 4:28, 26:31] = 20_000
    moving.voxels[1:6, 4:28, 4:28] = 20_000
    masks = {"fixed_mask": Image(keep_fixed, grid, "f"), "moving_mask": Image(keep_moving, grid, "m")}
    settings = Settings(transform=TransformKind.AFFINE, start=Start.HEADER)
    result = register_images(fixed, moving, settings, **masks)
    points = inner_points(np.zeros(3), 18)
    assert np.linalg.norm(result.forward.map(points) - points - shift, axis=1).max() < 0.6


def test_different_modalities_take_descriptors() -> None:
    grid, shift = cube(32, 3.0), np.array([6.0, -4.0, 3.0])
    scene = organs(34, count=60)
    signed = Image(show(lambda points: 400 * (1 - scene(points) / 1000) ** 2 - 150, grid).voxels, grid)
    result = register_images(
        show(scene, grid, Affine.from_parts(np.eye(3), shift)), signed, Settings(transform=TransformKind.RIGID, start=Start.HEADER)
    )
    assert result.decisions["similarity"] == f"{Similarity.MIND.value} (the modalities differ)"
    points = inner_points(-shift, 20)
    assert np.linalg.norm((result.forward.map(points) - points).mean(axis=0) - shift) < 0.6


def test_progress_is_told_in_order() -> None:
    grid = cube(24, 3.0)
    calls: list[tuple[str, int, int]] = []
    settings = Settings(effort=Effort.FAST, start=Start.HEADER)
    register_images(show(organs(30), grid), show(organs(30, seed=1), grid), settings, progress=lambda *call: calls.append(call))
    assert list(dict.fromkeys(stage for stage, _, _ in calls)) == ["prepare", "align", "refine", "finish"]
    assert all(0 <= done <= total for _, done, total in calls)


@pytest.mark.parametrize(("spacing", "voxels"), [("full", (2.0,) * 3), ("5", (5.0,) * 3)])
def test_the_field_is_written_at_the_spacing_asked_for(spacing: str, voxels: tuple[float, ...]) -> None:
    grid = cube(24, 2.0)
    scene = organs(20, count=30)
    settings = Settings(start=Start.HEADER, field_spacing=spacing, voxel_budget=5000, effort=Effort.FAST)
    result = register_images(show(scene, grid, Affine.from_parts(np.eye(3), (2.0, 0, 0))), show(scene, grid), settings)
    assert result.network_grid.voxels <= 5000
    assert result.field is not None
    assert result.field.grid.spacing == pytest.approx(voxels, rel=0.15)
    assert determinant(result.field).min() > 0


def test_folds_of_the_optimiser_are_mended_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = cube(24, 2.0)
    scene = texture(30, 4.0)
    truth = Affine.from_parts(np.eye(3), (5.0, 0.0, 0.0))
    # Far towards the truth (2.5 voxels along x), but torn at one plane.
    torn = torch.zeros(3, *grid.shape)
    torn[0] = 2.5
    torn[0, 10:14, 10:14, 12] = -2.5
    monkeypatch.setattr("unireg_cli.registration.pipeline.refine", lambda *arguments: torn.clone())
    monkeypatch.setattr("unireg_cli.registration.pipeline.align", lambda *arguments: (Affine.identity(), "header"))
    result = register_images(show(scene, grid, truth), show(scene, grid), Settings())
    assert result.field is not None
    assert any("close to folding and were smoothed" in warning for warning in result.warnings)
    assert determinant(result.field).min() > 0
    assert np.linalg.norm(result.forward.map(np.zeros(3)) - truth.map(np.zeros(3))) < 2.5


def test_a_refinement_that_makes_it_worse_is_dropped_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = cube(24, 2.0)
    scene = texture(30, 4.0)
    away = torch.full((3, *grid.shape), 2.0)
    monkeypatch.setattr("unireg_cli.registration.pipeline.refine", lambda *arguments: away.clone())
    result = register_images(show(scene, grid), show(scene, grid), Settings(start=Start.HEADER))
    assert result.field is not None and not result.field.vectors_mm.any()
    assert result.warnings[0].startswith("the refinement did not improve the similarity and was dropped")
    assert "the similarity did not rise" in result.warnings[1]


class TestErrors:
    grid = cube(16, 4.0)

    def test_an_empty_mask(self) -> None:
        image = show(organs(24), self.grid)
        empty = Image(np.zeros(self.grid.shape, np.uint8), self.grid, "none.nii")
        with pytest.raises(InputError, match=r"none\.nii: the mask is empty"):
            register_images(image, image, Settings(), fixed_mask=empty)
        with pytest.raises(InputError, match=r"none\.nii: the mask is empty"):
            register_images(image, image, Settings(), moving_mask=empty)

    def test_a_mask_on_another_grid(self) -> None:
        image = show(organs(24), self.grid)
        other = Image(np.ones((15, 16, 16), np.uint8), self.grid.padded((0, 0, 0), (0, 0, -1)), "other.nii")
        with pytest.raises(InputError, match=r"other\.nii: a mask must lie on the grid of its image"):
            register_images(image, image, Settings(), fixed_mask=other)

    def test_a_constant_image(self) -> None:
        image, flat = show(organs(24), self.grid), Image(np.full(self.grid.shape, 7, np.int16), self.grid, "flat.nii")
        with pytest.raises(InputError, match=r"flat\.nii: every voxel has the value 7"):
            register_images(image, flat, Settings())

    def test_no_overlap_under_the_headers(self) -> None:
        image, far = show(organs(24), self.grid), self.grid.padded((100, 0, 0), (-100, 0, 0))
        with pytest.raises(InputError, match="do not overlap under the headers"):
            register_images(image, Image(image.voxels, far), Settings(start=Start.HEADER))

    def test_images_far_apart_are_brought_together(self) -> None:
        image, far = show(organs(24), self.grid), self.grid.padded((100, 0, 0), (-100, 0, 0))
        result = register_images(image, Image(image.voxels, far), Settings(transform=TransformKind.RIGID))
        assert np.allclose(result.forward.map(self.grid.center_lps), far.center_lps, rtol=0, atol=0.4)

    def test_an_unknown_device(self) -> None:
        image = show(organs(24), self.grid)
        with pytest.raises(UsageError, match="--device"):
            register_images(image, image, Settings(device="gpu"))
