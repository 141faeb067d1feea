"""Structure maps laid onto each other where nothing else has a say: before the network, and after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from unireg_cli.model.network import surroundings
from unireg_cli.registration.alignment import View, coarser
from unireg_cli.registration.judging import JUDGE_VOXELS
from unireg_cli.registration.maps import StructureMaps
from unireg_cli.registration.prediction import Prediction, displacement_on
from unireg_cli.registration.preparation import Prepared
from unireg_cli.registration.pull import MapPull, Pull
from unireg_cli.registration.refinement import Level, Scene, refine
from unireg_cli.registration.schedule import ASKED_PARTS, asked_levels, asked_strength, map_levels, map_strength
from unireg_cli.registration.settings import Settings
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.drawing import draw, draw_channels
from unireg_cli.spatial.filters import resize_displacement
from unireg_cli.spatial.inverse import invert_index
from unireg_cli.spatial.velocity import compose

Before = Callable[[Grid], Tensor]
MakePull = Callable[[Grid], Pull]


def map_pull(maps: StructureMaps, affine: Affine, before: Before | None, strength: float | None = None) -> MakePull:
    """Makes the pull of structure maps at a scale; ``before`` as in :func:`refine`, ``strength`` the usual one if none is given."""
    return partial(MapPull, maps, affine, before=before, strength=map_strength(maps) if strength is None else strength)


def lay_before(
    pair: Prepared, affine: Affine, maps: StructureMaps, grid: Grid, settings: Settings, begun: Prediction | None = None
) -> Prediction:
    """What structure maps alone bring, on ``grid``, before the network sees the pair; from where ``begun`` leads, if given."""
    levels, before = map_levels(grid, settings, maps, after_network=False), None if begun is None else begun.on
    displacement = resize_displacement(_moved(pair, affine, levels, before, map_pull(maps.alike(), affine, before)), grid.shape)
    if before is not None:
        displacement = compose(before(grid), displacement)
    return Prediction(displacement, invert_index(displacement), grid, grid, None)


def lay_after(pair: Prepared, affine: Affine, maps: StructureMaps, prediction: Prediction, settings: Settings) -> Prediction:
    """The prediction with its structure maps laid onto each other, all that lead and then those that were asked for.

    The second goes only as far as the images near these structures become no less alike: on tune pairs it loses Dice where the maps are
    wrong, and nearly always the similarity with it. ``pair.decisions`` says how far it was.
    """
    if maps.leading:
        levels = map_levels(prediction.grid, settings, maps, after_network=True)
        prediction = _composed(prediction, _moved(pair, affine, levels, prediction.on, map_pull(maps.alike(), affine, prediction.on)))
    asked = maps.asked()
    if asked is None:
        return prediction
    pull = map_pull(asked, affine, prediction.on, asked_strength(asked.reliance))
    found = _moved(pair, affine, asked_levels(prediction.grid, settings), prediction.on, pull)
    trials = [prediction, *(_composed(prediction, part * found) for part in ASKED_PARTS)]
    before, *after = _similarities_near(pair, affine, asked, trials)
    taken = next((k for k, value in enumerate(after) if value >= before), None)
    words = f"similarity near what was asked for {before:.3f} without, {after[taken or 0]:.3f} with them"
    said = "left out" if taken is None else "laid onto each other" if taken == 0 else f"laid onto each other by {ASKED_PARTS[taken]:.0%}"
    pair.decisions["asked_maps"] = f"{said} ({words})"
    return prediction if taken is None else trials[1 + taken]


def _moved(pair: Prepared, affine: Affine, levels: list[Level], before: Before | None, pull: MakePull) -> Tensor:
    return refine(pair.fixed, pair.moving, affine, levels, None, lambda _done, _total: None, before, pull)


def _composed(prediction: Prediction, found: Tensor) -> Prediction:
    return replace(prediction, displacement=compose(prediction.displacement, resize_displacement(found, prediction.grid.shape)))


def _similarities_near(pair: Prepared, affine: Affine, maps: StructureMaps, predictions: Sequence[Prediction]) -> list[float]:
    """How alike the images are under each prediction where the fixed image shows the structures of ``maps``."""
    grid = coarser(predictions[0].grid, JUDGE_VOXELS)
    identity = Affine.identity()
    shares = draw_channels(maps.fixed, maps.grid, grid, identity)[0].sum(dim=0) / maps.reliance
    near = surroundings(shares.clamp(0, 1))
    if pair.fixed.mask is not None:
        near = near * draw(pair.fixed.mask, pair.fixed.grid, grid, identity)[0]
    fixed = View(draw(pair.fixed.values, pair.fixed.grid, grid, identity)[0], grid, near)
    scene = Scene(fixed, pair.moving, affine, grid, pair.measure)
    return [scene.value(displacement_on(one.displacement, one.grid, grid)) for one in predictions]
