"""The network inside a registration: its pass on any pair of images, and the pipeline around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scenes import cube, organs, show, texture, turn

from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.condition import Condition
from unireg_cli.model.network import Ask, Network
from unireg_cli.registration import judging
from unireg_cli.registration.alignment import View
from unireg_cli.registration.network_grid import Box
from unireg_cli.registration.pipeline import align_images, finish_field, register_images
from unireg_cli.registration.prediction import Prediction, Question, as_ask, displacement_on, predict, settling
from unireg_cli.registration.refinement import plan_levels, refine
from unireg_cli.registration.settings import Settings
from unireg_cli.similarity.measure import measure
from unireg_cli.spatial import Affine, DisplacementField, Grid, Image
from unireg_cli.spatial.field import field_from_index
from unireg_cli.spatial.filters import gaussian
from unireg_cli.spatial.inverse import inverse_consistency
from unireg_cli.spatial.jacobian import determinant
from unireg_cli.types import Effort, Mode, Similarity, Start, TransformKind

Make = Callable[..., Network]
FieldMaker = Callable[..., DisplacementField]
KNOWN = vocabulary()


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)


def view(image: Image) -> View:
    return View(torch.from_numpy(image.voxels) / 1000, image.grid)


def ask(*words: str, mode: Mode = Mode.INTER) -> Ask:
    return as_ask(Condition(KNOWN.resolve(words), mode), KNOWN)


def box(grid: Grid) -> Box:
    return (0, 0, 0), (grid.size[0] - 1, grid.size[1] - 1, grid.size[2] - 1)


def predicted(network: Network, fixed: View, moving: View, body: Box | None = None, voxels: int = 20_000) -> Prediction:
    return predict(Question(network, fixed, moving, Affine.identity(), ask()), body or box(fixed.grid), ((voxels, 1),))


class TestAsking:
    def test_all_and_regions_are_not_looked_for(self) -> None:
        assert len(ask().structures) == len(ask("abdomen").structures) == len(ask("abdomen", "hippocampus").structures) == 0
        assert ask().anatomy.sum() == 1

    def test_named_structures_are(self) -> None:
        asked = ask("liver", "spleen")
        assert sorted(KNOWN.name_of(int(id)) for id in asked.structures) == ["liver", "spleen"]
        # Both, and the abdomen they share.
        assert asked.anatomy.sum() == 3

    def test_type_and_smoothness(self) -> None:
        assert ask(mode=Mode.INTRA).mode.tolist() == [0, 1]
        assert ask().smoothness.tolist() == [0.5]


def test_a_displacement_changes_its_voxels_and_keeps_its_millimetres() -> None:
    own = Grid.from_arrays((8, 10, 12), (1.0, 1.0, 2.0), (0.0,) * 3, turn((1, 2, 3), 20))
    displacement = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1).expand(3, *own.shape).contiguous()
    target = own.resized((4, 20, 12))
    # Voxels of 2, 0.5 and 2 mm.
    found = displacement_on(displacement, own, target)
    assert torch.allclose(found, torch.tensor([0.5, 4.0, 3.0]).view(3, 1, 1, 1).expand(3, *target.shape))
    mm = field_from_index(displacement, own).vectors_mm, field_from_index(found, target).vectors_mm
    assert np.allclose(mm[0][0, 0, 0], mm[1][0, 0, 0], atol=1e-5)


def test_a_linear_displacement_is_read_at_the_right_places() -> None:
    own = Grid.from_arrays((12, 12, 12), (2.0,) * 3, (0.0,) * 3, np.eye(3))
    ramp = torch.arange(12.0).view(1, 1, 12).expand(12, 12, 12)
    target = Grid.from_arrays((5, 5, 5), (1.0,) * 3, (5.0, 5.0, 5.0), np.eye(3))
    # At x = 5 + i mm the ramp is 2.5 + i / 2 voxels of 2 mm, that is 5 + i of 1 mm; beyond the edges it goes on flat.
    found = displacement_on(torch.stack((ramp, torch.zeros_like(ramp), torch.zeros_like(ramp))), own, target)
    assert torch.allclose(found[0, 0, 0], torch.arange(5.0) + 5)
    far = Grid.from_arrays((3, 3, 3), (1.0,) * 3, (40.0, 5.0, 5.0), np.eye(3))
    assert torch.allclose(displacement_on(ramp[None].expand(3, -1, -1, -1), own, far)[0], torch.full((3, 3, 3), 22.0))


@pytest.mark.parametrize("size", [(20, 22, 18), (33, 17, 9), (7, 40, 31)])
def test_every_size_of_image_is_served(tiny_network: Make, size: tuple[int, int, int]) -> None:
    grid = Grid.from_arrays(size, (2.0, 2.2, 3.0), (-20.0, -20.0, -20.0), turn((1, 1, 0), 15))
    other = Grid.from_arrays((25, 21, 14), (2.0, 2.0, 3.0), (-25.0, -20.0, -20.0), np.eye(3))
    found = predicted(tiny_network(awake=0.1), view(show(organs(25), grid)), view(show(organs(25, seed=1), other)))
    assert all(n % 16 == 0 for n in found.lattice.size)
    assert found.grid.size == tuple(n // 2 for n in found.lattice.size)
    assert np.allclose(found.grid.corners_lps(), found.lattice.corners_lps())
    assert found.displacement.shape == (3, *found.grid.shape)
    assert found.belief is None
    # The whole image and more lies on it.
    index = grid.corners_lps() @ found.lattice.index_from_lps[:3, :3].T + found.lattice.index_from_lps[:3, 3]
    assert index.min() > 0 and np.all(index.max(axis=0) < np.asarray(found.lattice.size) - 1)
    assert torch.allclose(found.on(found.grid), found.displacement, rtol=0, atol=1e-4)


def test_empty_space_around_the_images_does_not_matter(tiny_network: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    # One way: the mean of both is little where a network has learnt nothing.
    monkeypatch.setattr("unireg_cli.registration.prediction._BOTH_WAYS", 0)
    grid = cube(32, 2.0)
    wide = grid.padded((12,) * 3, (9,) * 3)
    network, body = tiny_network(awake=0.1), box(grid)
    one = predicted(network, view(show(organs(26), grid)), view(show(organs(26, seed=1), grid)), body)
    shifted: Box = ((12,) * 3, (43,) * 3)
    two = predicted(network, view(show(organs(26), wide)), view(show(organs(26, seed=1), wide)), shifted)
    assert one.lattice.same_space(two.lattice)
    inside = torch.from_numpy(np.linalg.norm(one.grid.points_lps(), axis=-1) < 20)
    moved = one.displacement.square().sum(0).sqrt()[inside]
    apart = (one.displacement - two.displacement).square().sum(0).sqrt()[inside]
    assert float(moved.mean()) > 0.2
    assert float(apart.mean()) < 0.3 * float(moved.mean())


def test_a_mask_does_not_change_what_the_network_sees(tiny_network: Make) -> None:
    grid = cube(24, 2.0)
    fixed, moving = view(show(organs(24), grid)), view(show(organs(24, seed=1), grid))
    mask = torch.zeros(24, 24, 24)
    mask[8:16] = 1
    network = tiny_network(awake=0.1)
    plain = predicted(network, fixed, moving).displacement
    assert torch.equal(predicted(network, fixed, replace(moving, mask=mask)).displacement, plain)
    assert torch.equal(predicted(network, replace(fixed, mask=mask), moving).displacement, plain)


def test_the_affine_is_seen_through(tiny_network: Make) -> None:
    # A moving image drawn elsewhere and an affine that leads there are as good as no affine and an image in place.
    grid = cube(24, 2.0)
    affine = Affine.from_parts(turn((0, 0, 1), 90), (40.0, -30.0, 0.0))
    fixed, here = view(show(organs(24), grid)), show(organs(24, seed=1), grid)
    there = Grid.from_matrix(grid.size, affine.matrix @ grid.lps_from_index)
    network = tiny_network(awake=0.1)
    plain = predict(Question(network, fixed, view(here), Affine.identity(), ask()), box(grid), ((20_000, 1),))
    turned = predict(Question(network, fixed, view(Image(here.voxels, there, "moving")), affine, ask()), box(grid), ((20_000, 1),))
    assert torch.allclose(plain.displacement, turned.displacement, rtol=0, atol=1e-3)


def test_the_order_of_the_images_does_not_matter(tiny_network: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = cube(24, 2.0)
    fixed, moving = view(show(organs(24), grid)), view(show(organs(24, seed=1), grid))
    network, plan = tiny_network(awake=0.1), ((5_000, 1), (20_000, 1))
    there = predict(Question(network, fixed, moving, Affine.identity(), ask()), box(grid), plan)
    back = predict(Question(network, moving, fixed, Affine.identity(), ask()), box(grid), plan)
    assert there.inverse is not None and back.inverse is not None
    assert float(there.displacement.abs().max()) > 0.2
    assert torch.allclose(there.inverse, back.displacement, rtol=0, atol=1e-4)
    assert torch.allclose(back.inverse, there.displacement, rtol=0, atol=1e-4)
    # A pass one way alone is not like this, and finds no inverse.
    monkeypatch.setattr("unireg_cli.registration.prediction._BOTH_WAYS", 10_000)
    alone = predict(Question(network, fixed, moving, Affine.identity(), ask()), box(grid), plan)
    assert alone.inverse is None
    assert not torch.allclose(alone.displacement, there.displacement, rtol=0, atol=1e-2)


def test_beliefs_are_handed_back_for_named_structures(tiny_network: Make) -> None:
    grid = cube(16, 3.0)
    scene = view(show(organs(24), grid))
    found = predict(Question(tiny_network(), scene, scene, Affine.identity(), ask("liver")), box(grid), ((4_000, 1),))
    assert found.belief is not None and found.belief.shape == (2, *found.grid.shape)
    assert float(found.belief.min()) > 0 and float(found.belief.max()) < 1


def test_a_predicted_field_can_be_written(tiny_network: Make) -> None:
    grid = cube(32, 2.0)
    found = predicted(tiny_network(awake=0.2), view(show(organs(32), grid)), view(show(organs(32, seed=1), grid)))
    assert float(found.displacement.abs().max()) > 0.5
    field, _ = finish_field(found.displacement, found.grid, grid, "auto")
    assert float(determinant(field).min()) > 0
    assert not field.vectors_mm[0].any() and not field.vectors_mm[:, :, -1].any()
    assert inverse_consistency(field, field.invert()).mean_voxels < 0.05


@pytest.fixture(scope="module")
def pair(wavy_field: FieldMaker) -> tuple[Image, Image]:
    """A textured pair bent by a few millimetres."""
    grid, scene = cube(28, 2.0), texture(40, 3.0)
    return show(scene, grid, wavy_field(grid, 8.0), "fixed.nii"), show(scene, grid, name="moving.nii")


class TestPipeline:
    @pytest.mark.parametrize("effort", list(Effort))
    def test_every_effort_gives_a_sound_result(self, tiny_network: Make, pair: tuple[Image, Image], effort: Effort) -> None:
        stages: list[str] = []
        result = register_images(
            *pair,
            Settings(start=Start.HEADER, effort=effort, anatomy=("liver",)),
            network=tiny_network(awake=0.05),
            progress=lambda stage, done, total: stages.append(stage),
        )
        assert result.field is not None and result.inverse_field is not None
        assert float(determinant(result.field).min()) > 0 and float(determinant(result.inverse_field).min()) > 0
        assert [stage.name for stage in result.stages] == ["prepare", "align", "predict", "refine", "finish"]
        assert list(dict.fromkeys(stages)) == [s for s in ("prepare", "align", "predict", "refine", "finish") if s in stages]
        assert "predict" in stages
        lattice = result.decisions["network_grid"]
        assert "voxels of" in lattice
        assert ("the network's" in result.decisions["grid"]) is (effort is Effort.FAST)
        consistency = result.quality.inverse_consistency
        assert consistency is not None and consistency.p99_voxels < 0.2
        assert result.quality.similarity_after >= result.quality.similarity_affine

    def test_refinement_starts_from_the_prediction(
        self, tiny_network: Make, pair: tuple[Image, Image], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # An untrained network makes nothing more alike.
        monkeypatch.setitem(judging._LEAST_GAIN, Mode.INTER, -1.0)
        still, awake = (
            register_images(*pair, Settings(start=Start.HEADER, iterations=0), network=network)
            for network in (tiny_network(still=True), tiny_network(awake=0.05))
        )
        assert still.field is not None and awake.field is not None
        points = np.stack(np.meshgrid(*[np.linspace(-15.0, 15.0, 7)] * 3), axis=-1).reshape(-1, 3)
        assert float(np.abs(still.field.map(points) - awake.field.map(points)).max()) > 0.05

    @pytest.mark.parametrize(
        ("gain", "known", "helps"),
        [
            (0.02, False, {Mode.INTRA}),
            (0.01, False, set()),
            (0.1, False, set(Mode)),
            # Two people whose structures led the network may be a little less alike: what lies around these differs more.
            (-0.04, True, {Mode.INTER}),
            (-0.06, True, set()),
            (0.1, True, set(Mode)),
        ],
    )
    def test_how_much_a_prediction_must_gain_depends_on_who_is_shown(
        self, pair: tuple[Image, Image], monkeypatch: pytest.MonkeyPatch, gain: float, known: bool, helps: set[Mode]
    ) -> None:
        grid = pair[0].grid
        nothing = Prediction(torch.zeros(3, *grid.shape), None, grid, grid, None)
        aligned = align_images(*pair, Settings(start=Start.HEADER))
        monkeypatch.setattr(judging, "likeness", lambda _pair, _affine, prediction=None, voxels=0: 0.5 + gain * (prediction is not None))
        assert {mode for mode in Mode if judging.prediction_helps(nothing, aligned, aligned.affine, mode, known=known)} == helps
        assert ("left out" in aligned.pair.decisions["prediction"]) is (Mode.INTRA not in helps)

    def test_refinement_keeps_what_it_was_given(self, pair: tuple[Image, Image]) -> None:
        fixed, moving = (view(image) for image in pair)
        known = torch.full((3, *fixed.grid.shape), 1.5)
        levels = plan_levels(fixed.grid, (0, 5), 0.5)
        alike = measure(Similarity.LNCC)
        shifted = Affine.from_parts(np.eye(3), np.full(3, 1.5) * fixed.grid.spacing)
        # A constant displacement known before is the same as a shift within the affine: the refinement adds the same to either.
        there = partial(displacement_on, known, fixed.grid)
        before = refine(fixed, moving, Affine.identity(), levels, alike, lambda *_: None, there)
        within = refine(fixed, moving, shifted, levels, alike, lambda *_: None)
        assert float(within.abs().max()) > 0.1
        assert torch.allclose(before, within, atol=1e-3)

    def test_with_a_network_that_says_nothing_it_is_nearly_the_engine(self, tiny_network: Make, pair: tuple[Image, Image]) -> None:
        settings = Settings(start=Start.HEADER)
        engine = register_images(*pair, settings)
        quality = register_images(*pair, settings, network=tiny_network(still=True)).quality
        assert engine.quality.similarity_after > engine.quality.similarity_affine + 0.1
        assert quality.similarity_after > engine.quality.similarity_after - 0.03
        assert "predict" not in [stage.name for stage in engine.stages] and "network_grid" not in engine.decisions

    def test_fast_is_the_network_alone(self, tiny_network: Make, pair: tuple[Image, Image]) -> None:
        result = register_images(*pair, Settings(start=Start.HEADER, effort=Effort.FAST), network=tiny_network(still=True))
        assert result.field is not None and not result.field.vectors_mm.any()
        assert result.quality.similarity_after == pytest.approx(result.quality.similarity_affine)

    def test_fast_with_iterations_refines(self, tiny_network: Make, pair: tuple[Image, Image]) -> None:
        settings = Settings(start=Start.HEADER, effort=Effort.FAST, iterations=20)
        result = register_images(*pair, settings, network=tiny_network(still=True))
        assert result.quality.similarity_after > result.quality.similarity_affine + 0.05
        assert "the network's" not in result.decisions["grid"]

    def test_a_prediction_that_makes_it_worse_is_dropped_and_told(self, tiny_network: Make, pair: tuple[Image, Image]) -> None:
        result = register_images(*pair, Settings(start=Start.HEADER, effort=Effort.FAST), network=tiny_network(awake=1.0))
        assert result.field is not None and not result.field.vectors_mm.any()
        assert any("dropped" in warning for warning in result.warnings)
        # What is told is the similarity of what is handed back.
        assert result.quality.similarity_after == result.quality.similarity_affine

    def test_a_prediction_that_brings_little_is_no_start_for_a_refinement(self, tiny_network: Make, pair: tuple[Image, Image]) -> None:
        settings = Settings(start=Start.HEADER)
        engine = register_images(*pair, settings)
        left_out = register_images(*pair, settings, network=tiny_network(awake=1.0))
        assert left_out.decisions["prediction"].startswith("left out") and "prediction" not in engine.decisions
        assert left_out.field is not None and engine.field is not None
        assert np.array_equal(left_out.field.vectors_mm, engine.field.vectors_mm)
        assert left_out.steering is not None and left_out.steering.network_smoothness is None

    def test_linear_results_need_no_network(self, tiny_network: Make, pair: tuple[Image, Image]) -> None:
        result = register_images(*pair, Settings(transform=TransformKind.RIGID, start=Start.HEADER), network=tiny_network())
        assert result.field is None and "network_grid" not in result.decisions


def test_a_settled_field_is_smoothed_by_the_width(tiny_network: Make) -> None:
    grid = cube(32, 2.0)
    found = predicted(tiny_network(awake=0.3), view(show(organs(27), grid)), view(show(organs(27, seed=1), grid)))
    assert torch.equal(found.settled(0.0), found.displacement)
    assert torch.allclose(found.settled(1.5), gaussian(found.displacement, (1.5,) * 3))
    assert float(found.settled(1.5).diff(dim=-1).square().mean()) < float(found.displacement.diff(dim=-1).square().mean())


def test_fields_settle_more_the_smoother_they_are_asked_for_and_for_one_person() -> None:
    # At the usual smoothness of two people half a voxel, at the end of the scale six times that.
    assert settling(Mode.INTER, 0.4) == pytest.approx(0.48) and settling(Mode.INTER, 1.0) == pytest.approx(4.05)
    assert settling(Mode.INTRA, 0.0) == 0.0 < settling(Mode.INTER, 0.65) < settling(Mode.INTRA, 0.65)


def test_a_thin_lattice_is_finite_in_bfloat16_too(tiny_network: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without care one pass in ten was NaN on a CPU with AMX.
    monkeypatch.setattr("unireg_cli.registration.prediction.gains_from_bfloat16", lambda _device: True)
    grid = Grid.from_arrays((7, 40, 31), (2.0, 2.2, 3.0), (-20.0, -20.0, -20.0), np.eye(3))
    network, image = tiny_network(awake=0.1), view(show(organs(25), grid))
    assert all(bool(predicted(network, image, image).displacement.isfinite().all()) for _ in range(20))


def test_a_start_on_the_first_lattice_is_passed_on_it(tiny_network: Make) -> None:
    """The start is on the very lattice that is shown first: no pass is left out for that."""
    image, other = (view(show(organs(32, seed=seed), cube(32, 2.0))) for seed in (0, 1))
    network, asked = tiny_network(awake=0.3), as_ask(Condition(vocabulary().everything()), vocabulary())
    box = ((0, 0, 0), (31, 31, 31))
    lattice = predict(Question(network, image, other, Affine.identity(), asked), box, ((20_000, 1),)).lattice
    nothing = torch.zeros(3, *lattice.shape)
    start = Prediction(nothing, nothing, lattice, lattice, None)
    found = predict(Question(network, image, other, Affine.identity(), asked), box, ((20_000, 1),), start)
    assert found.displacement.abs().max() > 0.01
