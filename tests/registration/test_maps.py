"""Structure maps of a pair, by a segmenter that knows structures by their brightness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scenes import cube
from torch import Tensor, nn

from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.network import Network
from unireg_cli.registration.alignment import View
from unireg_cli.registration.maps import brought_together, map_structures
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

GRID = cube(32, 2.0)
BODIES = (((0, 0, 0), (31, 31, 31)),) * 2


class ByBrightness(nn.Module):
    """Structure k has brightness ``levels[k]``."""

    def __init__(self, levels: Sequence[float]) -> None:
        super().__init__()
        self.levels = torch.tensor(levels)
        self.bias = torch.zeros(len(levels))
        self.trust = torch.ones(len(levels))

    def forward(self, images: Tensor, _known: Tensor) -> Tensor:
        return nn.functional.avg_pool3d(images, 2)

    def logits(self, features: Tensor, structures: Tensor) -> Tensor:
        found = 200 * (0.08 - (features - self.levels[structures][None, :, None, None, None]).abs())
        return torch.cat((torch.zeros_like(found[:, :1]), found), dim=1)


def network(*levels: float):  # type: ignore[no-untyped-def]
    """A network with ids 10, 20, ... for these."""
    ids = tuple(10 * (1 + k) for k in range(len(levels)))
    return SimpleNamespace(segmenter=ByBrightness(levels), settings=SimpleNamespace(segmented=ids, divisor=4))


def balls(grid: Grid, *balls: tuple[tuple[float, float, float], float, float]) -> View:
    """Balls (centre mm, radius mm, brightness) on a dark ground."""
    values = np.zeros(grid.shape, np.float32)
    for centre, radius, level in balls:
        values[np.linalg.norm(grid.points_lps() - np.asarray(centre), axis=-1) < radius] = level
    return View(torch.from_numpy(values), grid)


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


def test_an_affine_that_is_off_is_corrected_by_the_centres_of_the_structures() -> None:
    places = [((-14.0, 4.0, -6.0), 0.25), ((12.0, -10.0, 8.0), 0.5), ((6.0, 14.0, -10.0), 0.75), ((-8.0, -14.0, 10.0), 1.0)]
    truth = Affine.from_parts(np.diag([1.1, 0.95, 1.0]), np.array([7.0, -3.0, 2.0]), np.zeros(3))
    fixed = balls(GRID, *[(centre, 7.0, level) for centre, level in places])
    moving = balls(GRID, *[(tuple(truth.map(centre)), 7.0, level) for centre, level in places])
    known = network(0.25, 0.5, 0.75, 1.0)
    maps = map_structures(known, (fixed, moving), BODIES, Affine.identity())
    assert maps is not None and len(maps.structures) == 4
    better = brought_together(maps, Affine.identity())
    assert better is not None and "corrected by 4 structures" in better[1]
    for centre, _ in places:
        # Rims that look like another ball leave a part of it.
        assert np.linalg.norm(better[0].map(centre) - truth.map(centre)) < 0.2 * np.linalg.norm(truth.map(centre) - centre)
    after = map_structures(known, (fixed, moving), BODIES, better[0])
    assert after is not None and after.agreement(better[0]) > maps.agreement(Affine.identity()) + 0.2
    # What is together already stays where it is.
    same = map_structures(known, (fixed, fixed), BODIES, Affine.identity())
    assert same is not None and same.agreement(Affine.identity()) == pytest.approx(1) and brought_together(same, Affine.identity()) is None


def test_what_one_image_lacks_or_shows_much_larger_is_left_out() -> None:
    one = balls(GRID, FIXED[0])
    assert map_structures(network(0.4, 0.8), (balls(GRID, *FIXED), one), BODIES, Affine.identity()).structures == (10,)  # type: ignore[union-attr]
    small = balls(GRID, (FIXED[0][0], 7.0, 0.4))
    assert map_structures(network(0.4, 0.8), (balls(GRID, *FIXED), small), BODIES, Affine.identity()) is None
    untaught = SimpleNamespace(segmenter=None)
    assert map_structures(untaught, (one, one), BODIES, Affine.identity()) is None  # type: ignore[arg-type]


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
def test_a_registration_uses_what_the_network_recognises_and_says_so(tiny_network: Callable[..., Network], effort: Effort) -> None:
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

    # Images without noise need no maps to be refined; the network alone is better with them.
    assert overlap(with_maps) > 0.8 and (effort is Effort.DEFAULT or overlap(with_maps) > overlap(without) + 0.01)
    assert with_maps.quality.regularity is not None and with_maps.quality.regularity.minimum > 0
