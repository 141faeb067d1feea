"""Structure maps of a pair, by a segmenter that knows structures by their brightness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from brightness import BODIES, GRID, ByBrightness, balls, network
from scenes import cube
from torch import Tensor

from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.network import Network
from unireg_cli.registration import judging
from unireg_cli.registration.alignment import View
from unireg_cli.registration.maps import map_structures
from unireg_cli.registration.pipeline import register_images
from unireg_cli.registration.pull import MapPull
from unireg_cli.registration.refinement import Level, Smoothing, refine
from unireg_cli.registration.result import Registration
from unireg_cli.registration.settings import Settings
from unireg_cli.spatial import Affine, Grid, Image
from unireg_cli.spatial.drawing import draw
from unireg_cli.spatial.jacobian import index_determinant
from unireg_cli.spatial.resample import resample
from unireg_cli.types import Effort, Interpolation, Start, TransformKind


def middle(part: Tensor, grid: Grid) -> np.ndarray:
    """Centre of mass, LPS mm."""
    weight = part.clamp_min(0).numpy()[..., None]
    return np.asarray((grid.points_lps() * weight).sum(axis=(0, 1, 2)) / weight.sum())


FIXED = ((-10.0, 4.0, 0.0), 12.0, 0.4), ((14.0, -4.0, 6.0), 10.0, 0.8)


@pytest.mark.parametrize("flipped", [False, True])
def test_maps_lie_where_the_structures_are_on_an_upright_lattice(flipped: bool) -> None:
    matrix = np.diag([-2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = 31, -31, -31
    grid = Grid.from_matrix(GRID.size, matrix) if flipped else GRID
    shift = Affine.from_parts(np.eye(3), np.array([6.0, 0.0, 0.0]), np.zeros(3))
    moved = [(tuple(np.add(centre, (6, 0, 0))), radius, level) for centre, radius, level in FIXED]
    maps = map_structures(network(0.4, 0.8, 1.5), (balls(grid, *FIXED), balls(GRID, *moved)), BODIES, shift)
    # Nothing has the third brightness.
    assert maps is not None and maps.structures == (10, 20)
    assert maps.fixed.shape == (2, *maps.grid.shape) and maps.moving.shape == (2, *maps.moving_grid.shape)
    assert all(np.allclose(one.cosines, np.diag([1, -1, 1])) for one in (maps.grid, maps.moving_grid))
    sides = maps.fixed, maps.moved(shift, maps.grid)
    for channel, (centre, radius, _) in enumerate(FIXED):
        # The rim of the brighter ball is as bright as the other one.
        near = torch.from_numpy(np.linalg.norm(maps.grid.points_lps() - centre, axis=-1) < 1.3 * radius)
        for side in sides:
            assert np.allclose(middle(side[channel] * near, maps.grid), centre, atol=0.6)
            assert float(side[channel].amax()) > 0.99


def test_images_are_shown_as_finely_as_the_segmenter_was_taught() -> None:
    large = balls(GRID, ((0.0, 0.0, 0.0), 24.0, 0.4))
    fine, coarse = (map_structures(network(0.4, sight_voxels=most), (large,) * 2, BODIES, Affine.identity()) for most in (1_600_000, 4_000))
    assert fine is not None and coarse is not None
    # 4,000 of 32,768 voxels have twice the edge; padding adds some.
    assert coarse.grid.spacing[0] / fine.grid.spacing[0] > 1.9 and coarse.grid.voxels * 8 < 4_000 * 2.5


def test_what_one_image_lacks_or_shows_much_larger_is_left_out() -> None:
    one = balls(GRID, FIXED[0])
    assert map_structures(network(0.4, 0.8), (balls(GRID, *FIXED), one), BODIES, Affine.identity()).structures == (10,)  # type: ignore[union-attr]
    small = balls(GRID, (FIXED[0][0], 7.0, 0.4))
    assert map_structures(network(0.4, 0.8), (balls(GRID, *FIXED), small), BODIES, Affine.identity()) is None
    untaught = SimpleNamespace(segmenter=None)
    assert map_structures(untaught, (one, one), BODIES, Affine.identity()) is None  # type: ignore[arg-type]


def test_what_the_segmenter_is_not_sure_of_counts_less() -> None:
    # An edge that fills voxels: no rims whose brightness lies between.
    values = torch.zeros(32, 32, 32)
    values[8:24, 8:24, 8:24] = 0.4
    views = (View(values, GRID), View(values, GRID))
    known = network(0.4)
    found = []
    for probability in (0.6, 0.95):
        known.segmenter.sharpness = float(np.log(probability / (1 - probability))) / 0.08
        found.append(map_structures(known, views, BODIES, Affine.identity()))
    half, sure = found
    assert half is not None and sure is not None
    # What a map holds is the probability times the belief in it: half at 0.6, all from 0.7 on.
    assert float(half.fixed.amax()) == pytest.approx(0.6 * 0.5, abs=0.03) and float(sure.fixed.amax()) == pytest.approx(0.95, abs=1e-3)
    # How far a structure is relied on is one thing, whether it is there another.
    assert half.reliance == pytest.approx(1) and sure.reliance == pytest.approx(1)


def test_what_was_not_asked_for_counts_less_in_a_deformation_and_alike_in_an_affine() -> None:
    known, view = network(0.4, 0.8), balls(GRID, *FIXED)
    every, one, none = (map_structures(known, (view, view), BODIES, Affine.identity(), asked) for asked in ((), (20,), (30,)))
    assert every is not None and one is not None and none is not None
    assert every.shares.tolist() == [1, 1] and every.asked() is None
    # The channel of what was asked for comes first; the values are those of all.
    assert one.shares[0] == 1 and 0 < float(one.shares[1]) < 0.5
    assert torch.equal(one.fixed[0], every.fixed[1]) and torch.equal(one.fixed[1], every.fixed[0])
    assert one.alike().shares.tolist() == [1, 1] and one.weights.tolist() == every.weights.tolist()
    alone = one.asked()
    assert alone is not None and torch.equal(alone.fixed, one.fixed[:1]) and torch.equal(alone.moving, one.moving[:1])
    # What was asked for is seen nowhere: all others say where things are.
    assert none.shares.tolist() == [1, 1] and none.asked() is None


def test_what_is_not_relied_on_weighs_less_or_nothing() -> None:
    known, view = network(0.4, 0.8), balls(GRID, *FIXED)
    known.segmenter.trust = torch.tensor([0.5, 1.0])
    maps = map_structures(known, (view, view), BODIES, Affine.identity())
    assert maps is not None and [round(float(part.amax()), 2) for part in maps.fixed] == [0.5, 1.0]
    known.segmenter.trust = torch.tensor([0.0, 1.0])
    maps = map_structures(known, (view, view), BODIES, Affine.identity())
    assert maps is not None and maps.structures == (20,)


def test_maps_lead_only_where_they_are_relied_on() -> None:
    known, view = network(0.4, 0.8), balls(GRID, *FIXED)
    for first, second, leading, alone in ((0.9, 0.5, True, True), (0.2, 0.5, False, True), (0.9, 0.2, True, False)):
        known.segmenter.trust = torch.tensor([first, second])
        every, one = (map_structures(known, (view, view), BODIES, Affine.identity(), asked) for asked in ((), (20,)))
        assert every is not None and one is not None
        # Who leads does not depend on what is asked for; whether that is laid together alone does.
        assert every.leading is one.leading is leading and every.reliance == one.reliance == pytest.approx((first + second) / 2)
        assert one.asked_reliance == pytest.approx(second) and (one.asked() is not None) is alone


@pytest.mark.parametrize(
    ("names", "trust", "sliding"),
    [
        (("liver", "spleen"), (0.8, 0.8), 1.0),
        (("liver", "spleen"), (0.75, 0.69), 0.4),
        (("liver", "spleen"), (0.65, 0.65), 0.0),
        # The parts of a heart are one muscle, however sure the maps are of them; of two regions the larger trust decides.
        (("heart_ventricle_left", "heart_ventricle_right"), (0.9, 0.9), 0.0),
        (("liver", "heart_ventricle_left"), (0.9, 0.7), 1.0),
        (("liver", "heart_ventricle_left"), (0.7, 0.9), 0.0),
    ],
)
def test_organs_of_the_abdomen_slide_as_far_as_their_maps_are_relied_on(
    names: tuple[str, str], trust: tuple[float, float], sliding: float
) -> None:
    ids = [id for id in map(vocabulary().structure_id, names) if id is not None]
    known, view = network(0.4, 0.8, ids=ids), balls(GRID, *FIXED)
    known.segmenter.trust = torch.tensor(trust)
    maps = map_structures(known, (view, view), BODIES, Affine.identity())
    assert len(ids) == 2 and maps is not None and maps.sliding == pytest.approx(sliding, abs=1e-5)


def test_many_structures_share_channels_and_stay_apart() -> None:
    levels = [0.05 + 0.05 * k for k in range(18)]
    spots = [((-24.0 + 9 * (k % 6), -20.0 + 18 * (k // 6), 0.0), 4.5, level) for k, level in enumerate(levels)]
    sharp = network(*levels)
    view = balls(cube(64, 1.0), *spots)
    maps = map_structures(sharp, (view, view), (((0, 0, 0), (63, 63, 63)),) * 2, Affine.identity())
    assert maps is not None and len(maps.structures) == 18 and len(maps.fixed) == 16
    drawn = torch.stack([draw(part, maps.grid, view.grid, Affine.identity())[0] for part in maps.fixed])
    codes = []
    for centre, _, _ in spots:
        x, y, z = np.rint((view.grid.index_from_lps @ (*centre, 1))[:3]).astype(int)
        codes.append(drawn[:, z, y, x])
    apart = torch.cdist(torch.stack(codes), torch.stack(codes)) + 9 * torch.eye(18)
    assert float(apart.amin()) > 0.6


def test_maps_alone_carry_a_ball_onto_its_partner_without_folding() -> None:
    fixed, moving = balls(GRID, ((0, 0, 0), 14, 0.4)), balls(GRID, ((8, 0, 0), 12, 0.4))
    maps = map_structures(network(0.4), (fixed, moving), BODIES, Affine.identity())
    assert maps is not None
    levels = [Level(GRID, 40, Smoothing(1.5, 0.5))]

    def pull(grid: Grid) -> MapPull:
        return MapPull(maps, Affine.identity(), grid, None, 0.5)

    def overlap(displacement: Tensor | None) -> float:
        inside = draw((moving.values > 0.2).float(), GRID, GRID, Affine.identity(), displacement)[0] > 0.5
        both = float((inside & (fixed.values > 0.2)).sum())
        return 2 * both / float(inside.sum() + (fixed.values > 0.2).sum())

    found = refine(fixed, moving, Affine.identity(), levels, None, lambda _done, _total: None, None, pull)
    assert overlap(None) < 0.75 and overlap(found) > 0.93
    assert float(index_determinant(found).amin()) > 0
    # Where both maps agree already nothing moves.
    same = replace(maps, moving=maps.fixed)
    off, step = MapPull(same, Affine.identity(), GRID, None, 1.0).velocity(torch.zeros(3, *GRID.shape), 0.0)
    assert off < 0.05 and float(step.abs().amax()) < 0.05


def test_at_a_finer_scale_the_step_is_as_long_in_millimetres() -> None:
    fixed, moving = balls(GRID, ((0, 0, 0), 14, 0.4)), balls(GRID, ((3, 0, 0), 14, 0.4))
    maps = map_structures(network(0.4), (fixed, moving), BODIES, Affine.identity())
    assert maps is not None
    fine = Grid.from_arrays((64,) * 3, (1.0,) * 3, (-31.5,) * 3, np.eye(3))
    steps = {}
    for grid in (maps.grid, fine):
        _, step = MapPull(maps, Affine.identity(), grid, None, 0.3).velocity(torch.zeros(3, *grid.shape), 0.0)
        steps[grid.size] = float(step[0].amax()) * grid.spacing[0]
    assert steps[fine.size] == pytest.approx(steps[maps.grid.size], rel=0.25)


@pytest.mark.parametrize("effort", [Effort.FAST, Effort.DEFAULT])
def test_a_registration_uses_what_the_network_recognises_and_says_so(
    tiny_network: Callable[..., Network], effort: Effort, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tiny_network(still=True)
    liver, spleen = (id for id in map(vocabulary().structure_id, ("liver", "spleen")) if id is not None)
    known.segmenter = ByBrightness((0.5, 1.0))  # type: ignore[assignment]
    known.settings = replace(known.settings, segmented=(liver, spleen))
    fixed = balls(GRID, ((-10.0, 4.0, 0.0), 11.0, 0.4), ((14.0, -4.0, 6.0), 9.0, 0.8))
    moving = balls(GRID, ((-6.0, 8.0, -2.0), 12.0, 0.4), ((18.0, 1.0, 4.0), 8.0, 0.8))
    pair = [Image(view.values.numpy(), view.grid) for view in (fixed, moving)]
    settings = Settings(effort=effort, transform=TransformKind.DEFORMABLE, start=Start.HEADER)
    with_maps = register_images(*pair, settings, network=known)
    assert with_maps.decisions["structures"] == "2 seen in both images: liver, spleen"
    known.segmenter = None
    without = register_images(*pair, settings, network=known)
    assert "structures" not in without.decisions and "affine" not in without.decisions

    def overlap(found: Registration) -> float:
        moved = resample(pair[1].voxels, GRID, GRID, found.forward, Interpolation.NEAREST)
        both = [(moved == level, pair[0].voxels == level) for level in np.float32([0.4, 0.8])]
        return float(np.mean([2 * (one & other).sum() / (one.sum() + other.sum()) for one, other in both]))

    if effort is Effort.DEFAULT:
        # A network whose prediction does not help is not believed about structures either.
        monkeypatch.setattr(judging, "KNOWN_LOSS", -2.0)
        known.segmenter = ByBrightness((0.5, 1.0))  # type: ignore[assignment]
        left_out, engine = (register_images(*pair, settings, network=one) for one in (known, None))
        assert left_out.field is not None and engine.field is not None
        assert np.array_equal(left_out.affine.matrix, engine.affine.matrix)
        assert np.array_equal(left_out.field.vectors_mm, engine.field.vectors_mm)
        assert left_out.decisions["structures"].endswith("(not used)") and "affine" not in left_out.decisions

    # Images without noise need no maps to be refined; the network alone is better with them.
    assert overlap(with_maps) > 0.8 and (effort is Effort.DEFAULT or overlap(with_maps) > overlap(without) + 0.01)
    assert with_maps.quality.regularity is not None and with_maps.quality.regularity.minimum > 0
