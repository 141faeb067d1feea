"""A brain of simple shapes in millimetres of a common brain space (left, posterior, superior; origin at the anterior commissure)."""

from __future__ import annotations

import numpy as np

from trainer.figures.gyri import nearest_gyrus
from trainer.figures.scene import SIDES, Scene
from unireg_cli.phantom.anatomy import Triple
from unireg_cli.phantom.canvas import Window
from unireg_cli.phantom.tissue import Material
from unireg_cli.types import AnyArray

_NERVE, _FLUID = Material.CORD, Material.URINE
CEREBRUM: tuple[Triple, Triple] = ((0.0, 17.0, 12.0), (67.0, 86.0, 62.0))
"""Centre and half lengths."""
CEREBELLUM: tuple[Triple, Triple] = ((0.0, 62.0, -36.0), (50.0, 30.0, 26.0))
"""Centre and half lengths."""
_BOX: tuple[Triple, Triple] = ((-72.0, -74.0, -70.0), (72.0, 108.0, 80.0))
_EXPONENT = 2.3
_CORTEX_MM = 3.4
# Furrows open where the folds' noise is above this, and are so many mm deep per unit above it.
_FURROW, _FURROW_MM = 0.6, 10.0
_FOLDS_MM = (11.0, 22.0)
_LEAVES_MM = (7.0, 11.0)


def paint_brain(scene: Scene, *, parcels: bool) -> None:
    """Paint a brain; ``parcels`` cuts its cortex into gyri."""
    part = scene.window(*_BOX)
    if part is None:
        return
    _paint_cerebrum(scene, part, parcels)
    _paint_cerebellum(scene, part)
    _paint_stem(scene)
    _paint_deep_grey(scene)
    _paint_ventricles(scene)


def level(shape: tuple[Triple, Triple], position: tuple[AnyArray, AnyArray, AnyArray]) -> AnyArray:
    """0 in the middle of a blob, 1 on its surface."""
    total = np.zeros_like(position[0])
    for values, center, semi in zip(position, *shape, strict=True):
        total += np.abs((values - np.float32(center)) / np.float32(semi)) ** np.float32(_EXPONENT)
    return np.asarray(total ** np.float32(1 / _EXPONENT))


def _position(scene: Scene, part: Window) -> tuple[AnyArray, AnyArray, AnyArray]:
    canvas = scene.canvas
    return canvas.x.numpy()[part], canvas.y.numpy()[part], canvas.z.numpy()[part]


def _put(scene: Scene, part: Window, inside: AnyArray, name: str, material: Material) -> None:
    scene.canvas.labels.numpy()[part][inside] = scene.ids(name)
    scene.canvas.materials.numpy()[part][inside] = int(material)


def _cerebral_depth(position: tuple[AnyArray, AnyArray, AnyArray]) -> AnyArray:
    """About the distance in mm from the nearest surface of the hemispheres, negative outside."""
    x, y, z = position
    outer = (1 - level(CEREBRUM, position)) * CEREBRUM[1][2]
    # Below the tentorium lies the cerebellum, between the temporal lobes the stem, below the forehead the orbits.
    behind = np.maximum(z + 14, np.minimum(30 - y, np.abs(x) - 16))
    orbits = np.maximum(z + 22, y + 22)
    depth = np.minimum(np.minimum(outer, behind), orbits)
    joined = (y - 10) ** 2 / 42**2 + (z - 6) ** 2 / 24**2 < 1
    return np.asarray(np.where(joined, depth, np.minimum(depth, np.abs(x) - 0.8)))


def _paint_cerebrum(scene: Scene, part: Window, parcels: bool) -> None:
    position = _position(scene, part)
    x = position[0]
    depth = _cerebral_depth(position)
    folds = scene.ripples("folds", _FOLDS_MM, position)
    furrow = (_FURROW_MM * (folds - _FURROW)).clip(0, 14)
    cortex = (depth > 0) & (depth < _CORTEX_MM + 1.25 * furrow)
    sulcus = (depth > 0) & (depth < furrow)
    for side, sign in SIDES:
        half = x * sign > 0
        _put(scene, part, (depth > 0) & half, f"cerebral_white_matter_{side}", _NERVE)
        _put(scene, part, cortex & half, f"cerebral_cortex_{side}", _NERVE)
    if parcels:
        where = cortex & ~sulcus
        labels = scene.canvas.labels.numpy()[part]
        labels[where] = nearest_gyrus(scene, *(values[where] for values in position))
    _put(scene, part, sulcus, "csf", _FLUID)
    if parcels:
        scene.blobs("anterior_insula", (36, -12, 0), (3.5, 11, 11), _NERVE, over=_NERVE)
        scene.blobs("posterior_insula", (38, 10, 4), (3.5, 11, 10), _NERVE, over=_NERVE)
    else:
        scene.blobs("insula", (37, -1, 2), (3.5, 19, 13), _NERVE, over=_NERVE)


def _paint_cerebellum(scene: Scene, part: Window) -> None:
    position = _position(scene, part)
    x, _, z = position
    radius = level(CEREBELLUM, position)
    inside = (radius < 1) & (z < -11)
    white = inside & (radius < 0.66 + 0.1 * scene.ripples("leaves", _LEAVES_MM, position)) & (np.abs(x) > 5)
    for side, sign in SIDES:
        half = x * sign > 0
        _put(scene, part, inside & half, f"cerebellum_cortex_{side}", _NERVE)
        _put(scene, part, white & half, f"cerebellum_white_matter_{side}", _NERVE)
    if scene.chance("vermis", 0.6):
        vermis = inside & (np.abs(x) < 7)
        for name, low, high in (("I_V", -24, 0), ("VI_VII", -40, -24), ("VIII_X", -80, -40)):
            _put(scene, part, vermis & (z >= low) & (z < high), f"cerebellar_vermal_lobules_{name}", _NERVE)


def _paint_stem(scene: Scene) -> None:
    parts = (("midbrain", (0, 18, -8, 13), (0, 22, -18, 14)), ("pons", (0, 22, -24, 16), (0, 26, -36, 15)),
             ("medulla_oblongata", (0, 34, -48, 10), (0, 42, -66, 8)))  # fmt: skip
    if scene.chance("stem parts", 0.35):
        for name, upper, lower in parts:
            scene.tube(name, (upper, lower), _NERVE, 3)
    else:
        scene.tube("brainstem", [knot for _, *knots in parts for knot in knots], _NERVE, 10)
    scene.blob("optic_chiasm", (0, -6, -17), (7, 4, 3), _NERVE)


def _paint_deep_grey(scene: Scene) -> None:
    scene.blobs("ventral_diencephalon", (10, 14, -10), (8, 10, 7), _NERVE)
    scene.blobs("thalamus", (12, 18, 7), (10, 15, 10), _NERVE)
    scene.blobs("putamen", (26, -3, 1), (7, 18, 12), _NERVE, degrees=(0, 12, 12))
    scene.blobs("pallidum", (19, 3, -1), (5, 10, 7), _NERVE, degrees=(0, 10, 20))
    scene.tubes("caudate", ((13, -16, 3, 7), (14, -8, 14, 6), (17, 8, 21, 4), (20, 22, 20, 3)), _NERVE, 8)
    scene.blobs("accumbens", (9, -12, -7), (5, 5, 5), _NERVE)
    scene.blobs("basal_forebrain", (11, -3, -11), (8, 4, 4), _NERVE)
    scene.blobs("amygdala", (23, 4, -19), (8, 8, 8), _NERVE)
    if scene.chance("amygdala parts", 0.3):
        scene.blobs("amygdala_anterior", (21, -2, -20), (5, 3.5, 5), _NERVE)
    for _, sign in SIDES:
        head, tail = ((24 * sign, 12, -20, 7.5), (27 * sign, 21, -16, 6)), ((27 * sign, 21, -16, 6), (25 * sign, 36, -5, 5))
        if scene.chance("hippocampus parts", 0.3):
            scene.tube("hippocampus_anterior", head, _NERVE, 5)
            scene.tube("hippocampus_posterior", tail, _NERVE, 5)
        else:
            scene.tube(f"hippocampus_{'left' if sign > 0 else 'right'}", (*head, tail[1]), _NERVE, 8)


def _paint_ventricles(scene: Scene) -> None:
    if scene.chance("callosum", 0.6):
        scene.tube("corpus_callosum", ((0, -26, 2, 5), (0, -28, 14, 5), (0, -8, 27, 5), (0, 20, 28, 5), (0, 38, 16, 6)), _NERVE, 16)
    # Ventricles grow most with age: all of them with one factor.
    wide = float(np.exp(scene.anatomy.rng("ventricles").normal(0, 0.28)))
    body = ((9, -30, 6), (10, -8, 18), (15, 18, 19), (22, 38, 8), (24, 58, 4))
    radii = (5.5, 6.0, 6.0, 6.5, 3.5)
    scene.tubes("lateral_ventricle", [(*place, radius * wide) for place, radius in zip(body, radii, strict=True)], _FLUID, 14)
    scene.tubes("inferior_lateral_ventricle", ((27, 38, 0, 4 * wide), (33, 20, -12, 3 * wide), (31, 6, -18, 2.6 * wide)), _FLUID, 8)
    scene.tubes("choroid_plexus", ((15, 16, 17, 2.6), (21, 34, 9, 3.2)), Material.GLAND, 5, over=_FLUID)
    scene.blob("third_ventricle", (0, 12, -2), (2.6 * wide, 15, 11), _FLUID)
    scene.blob("fourth_ventricle", (0, 44, -34), (7 * wide, 7, 12), _FLUID)
    if scene.chance("fifth ventricle", 0.15):
        scene.blob("fifth_ventricle", (0, -10, 14), (2.5, 7, 4), _FLUID)
