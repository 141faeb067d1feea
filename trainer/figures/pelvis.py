"""The pelvis below the demonstration torso, in its template frame (mm; the fifth lumbar vertebra ends at z = -155)."""

from __future__ import annotations

import numpy as np

from trainer.figures.scene import SIDES, Scene
from unireg_cli.phantom.anatomy import Triple
from unireg_cli.phantom.tissue import Material
from unireg_cli.types import AnyArray

_BONE, _MUSCLE, _BLOOD, _FLUID = Material.BONE, Material.MUSCLE, Material.BLOOD, Material.URINE
_BELOW: tuple[Triple, Triple] = ((-260.0, -200.0, -600.0), (260.0, 200.0, -152.0))
_CAVITY: tuple[Triple, Triple] = ((0.0, 0.0, -215.0), (74.0, 66.0, 80.0))
_CROTCH = -310.0


def paint_pelvis(scene: Scene) -> None:
    """Paint the pelvis into a torso that goes on downwards."""
    _paint_flesh(scene)
    outside = scene.air
    _paint_muscles(scene)
    _paint_bones(scene)
    _paint_inside(scene)
    scene.clear(outside)


def _in_cavity(x: AnyArray, y: AnyArray, z: AnyArray) -> AnyArray:
    (cx, cy, cz), (a, b, c) = _CAVITY
    return np.asarray(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 + (np.minimum(z - cz, 0) / c) ** 2 < 1)


def _paint_flesh(scene: Scene) -> None:
    """Muscle around the cavity, fat in it, and two thighs instead of a body without end."""
    scene.fill("body_wall_muscle", _BELOW, lambda x, y, z: (z < -185) & ~_in_cavity(x, y, z), _MUSCLE, over=Material.FAT)
    # The fat under the skin was painted over as well: the outermost part of the body comes back.
    fat = 0.5 + scene.anatomy.fat_mm / 110

    def rim(x: AnyArray, y: AnyArray, z: AnyArray) -> AnyArray:
        return np.asarray((z < -185) & ((np.abs(x) / 158) ** 2.5 + (np.abs(y - 4) / 106) ** 2.5 > (1.44 - fat) ** 2.5))

    scene.fill("subcutaneous_fat", _BELOW, rim, Material.FAT, over=_MUSCLE)
    scene.fill("visceral_fat", _BELOW, lambda x, y, z: (z < -158) & _in_cavity(x, y, z), Material.FAT)

    x, y, z = (values.numpy() for values in (scene.canvas.x, scene.canvas.y, scene.canvas.z))
    scene.clear((z < _CROTCH) & (((np.abs(x) - 82) / 80) ** 2 + ((y - 4) / 96) ** 2 > 1))


def _paint_muscles(scene: Scene) -> None:
    scene.blobs("gluteus_maximus", (76, 78, -250), (62, 24, 72), _MUSCLE, degrees=(-10, 20, -28), over=_MUSCLE)
    scene.blobs("gluteus_medius", (118, 34, -205), (22, 46, 50), _MUSCLE, degrees=(0, -12, -20), over=_MUSCLE)
    scene.blobs("gluteus_minimus", (108, 14, -218), (12, 32, 34), _MUSCLE, degrees=(0, -15, -20), over=_MUSCLE)
    scene.tubes("iliopsoas", ((58, 14, -170, 22), (78, -20, -230, 24), (92, -34, -260, 20), (104, 2, -320, 12)), _MUSCLE, 12)
    scene.tubes("quadriceps_femoris", ((110, -38, -305, 24), (105, -40, -420, 38)), _MUSCLE, 8, over=_MUSCLE)
    scene.tubes("sartorius", ((124, -52, -215, 8), (104, -72, -300, 9), (70, -68, -400, 9)), _MUSCLE, 10)
    scene.tubes("thigh_medial_compartment", ((46, -10, -300, 22), (56, 4, -420, 32)), _MUSCLE, 8, over=_MUSCLE)
    scene.tubes("thigh_posterior_compartment", ((62, 40, -310, 18), (84, 44, -420, 28)), _MUSCLE, 8, over=_MUSCLE)


def _paint_bones(scene: Scene) -> None:
    scene.blob("sacrum", (0, 52, -186), (46, 24, 36), _BONE, degrees=(-25, 0, 0), exponent=2.6)
    scene.blob("sacrum", (0, 74, -226), (26, 13, 36), _BONE, degrees=(18, 0, 0))
    if scene.chance("S1", 0.5):
        scene.blob("vertebrae_S1", (0, 42, -172), (40, 20, 17), _BONE, degrees=(-25, 0, 0), exponent=3)
    scene.tube("spinal_cord", ((0, 58, -150, 6), (0, 66, -185, 4)), Material.CORD, 4)
    for side, sign in SIDES:
        name = f"hip_{side}"
        scene.blob(name, (96 * sign, 26, -185), (9, 62, 58), _BONE, degrees=(0, 26 * sign, 34 * sign), exponent=2.4)
        scene.blob(name, (88 * sign, 8, -252), (30, 30, 32), _BONE)
        scene.tube(name, ((76 * sign, -12, -256, 11), (40 * sign, -48, -262, 9), (8 * sign, -60, -274, 11)), _BONE, 10)
        seat = ((80 * sign, 22, -262, 14), (62 * sign, 32, -304, 13), (34 * sign, -20, -308, 8), (10 * sign, -56, -286, 9))
        scene.tube(name, seat, _BONE, 14)
        femur = f"femur_{side}"
        scene.blob(femur, (98 * sign, 2, -256), (23, 23, 23), _BONE)
        scene.tube(femur, ((98 * sign, 2, -256, 15), (132 * sign, 10, -278, 17)), _BONE, 4)
        scene.tube(femur, ((138 * sign, 14, -264, 12), (132 * sign, 10, -300, 17), (116 * sign, 2, -440, 14)), _BONE, 10)


def _paint_inside(scene: Scene) -> None:
    full = float(np.exp(scene.anatomy.rng("bladder").normal(0, 0.22)))
    scene.tube("rectum", ((10, 34, -196, 15), (0, 50, -225, 18), (0, 46, -260, 17), (0, 34, -300, 11)), Material.BOWEL_WALL, 12)
    for side, sign in SIDES:
        scene.tube(f"iliac_artery_{side}", ((46 * sign, -6, -205, 6), (66 * sign, -44, -262, 5.5), (76 * sign, -66, -320, 5)), _BLOOD, 8)
        scene.tube(f"iliac_vena_{side}", ((42 * sign, 8, -205, 7), (60 * sign, -34, -262, 7), (68 * sign, -58, -320, 6)), _BLOOD, 8)
    if scene.chance("woman", 0.5):
        scene.blob("uterus", (0, -8, -226), (26, 34, 22), _MUSCLE, degrees=(20, 0, 0))
        scene.blobs("ovary", (42, 2, -212), (13, 9, 16), Material.GLAND)
        scene.blob("urinary_bladder", (0, -44, -256), (36 * full, 24 * full, 22 * full), _FLUID)
        return
    scene.blob("urinary_bladder", (0, -34, -236), (38 * full, 30 * full, 26 * full), _FLUID)
    scene.blob("seminal_vesicles", (0, 6, -256), (30, 6, 8), Material.GLAND)
    if scene.chance("prostate zones", 0.35):
        scene.blob("prostate_peripheral_zone", (0, -16, -278), (24, 17, 18), Material.GLAND)
        scene.blob("prostate_transition_zone", (0, -22, -276), (15, 11, 13), Material.GLAND)
    else:
        scene.blob("prostate", (0, -18, -277), (24, 17, 18), Material.GLAND)
