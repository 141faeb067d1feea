"""Two legs and an arm; template mm with the origin between the hip joints, or in the shoulder joint's height."""

from __future__ import annotations

import numpy as np

from trainer.figures.scene import SIDES, Scene
from unireg_cli.phantom.shapes import Knots
from unireg_cli.phantom.tissue import Material

_BONE, _MUSCLE = Material.BONE, Material.MUSCLE
_SKIN_MM = 2.5
_LEG = ((95, 4, 60, 86), (93, 6, -40, 84), (88, 4, -220, 70), (82, 0, -410, 54), (80, 8, -520, 56), (78, 4, -760, 34), (78, 0, -830, 38))
_ARM = ((165, 0, 40, 50), (185, 0, -60, 52), (198, 0, -220, 46), (205, 4, -310, 42), (210, 2, -380, 44), (208, -4, -570, 28))


def paint_legs(scene: Scene) -> None:
    """Paint both legs from the hip joints to the ankles."""
    for _, sign in SIDES:
        _paint_flesh(scene, np.array(_LEG, float) * (sign, 1, 1, 1), scene.anatomy.fat_mm * 0.7)
        _paint_flesh(scene, np.array(((78, 0, -815, 32), (80, -90, -835, 28), (82, -150, -842, 20))) * (sign, 1, 1, 1), 3.0)
    _paint_thigh(scene)
    scene.tubes("femur", ((94, 2, 2, 15), (130, 8, -22, 17)), _BONE, 4)
    scene.tubes("femur", ((134, 12, -6, 13), (128, 8, -50, 16), (112, -4, -220, 13.5), (88, 0, -380, 19)), _BONE, 14)
    scene.blobs("femur", (94, 2, 2), (23, 23, 23), _BONE)
    scene.blobs("femur", (83, 4, -412), (38, 28, 21), _BONE, exponent=2.5)
    scene.blobs("patella", (83, -36, -410), (20, 9, 21), _BONE)
    scene.tubes("tibia", ((80, 4, -440, 26), (80, -2, -480, 17), (80, -8, -620, 12.5), (76, 2, -800, 18)), _BONE, 14)
    scene.blobs("tibia", (82, 4, -447), (37, 25, 12), _BONE, exponent=2.5)
    scene.tubes("fibula", ((114, 20, -464, 9), (110, 20, -620, 6.5), (102, 12, -815, 9)), _BONE, 12)


def paint_arm(scene: Scene) -> None:
    """Paint one arm; which one is drawn."""
    side, sign = SIDES[int(scene.anatomy.rng("side").integers(2))]

    def tube(name: str, knots: Knots, count: int = 10) -> None:
        scene.tube(f"{name}_{side}", np.asarray(knots, float) * (sign, 1, 1, 1), _BONE, count)

    def blob(name: str, x: float, y: float, z: float, semi: tuple[float, float, float]) -> None:
        scene.blob(f"{name}_{side}", (sign * x, y, z), semi, _BONE, exponent=2.4)

    _paint_flesh(scene, np.array(((110, 10, -60, 70), (140, 4, 0, 62))) * (sign, 1, 1, 1), scene.anatomy.fat_mm * 0.6)
    _paint_flesh(scene, np.array(_ARM, float) * (sign, 1, 1, 1), scene.anatomy.fat_mm * 0.6)
    blob("scapula", 118, 38, -50, (36, 6, 60))
    tube("scapula", ((120, 42, 5, 6), (146, 14, -2, 14)), 5)
    tube("clavicula", ((80, -30, 22, 7), (120, -28, 32, 6), (158, -6, 36, 7)))
    blob("humerus", 178, 2, 2, (24, 24, 24))
    tube("humerus", ((180, 2, -10, 19), (190, 0, -70, 13), (202, 0, -220, 11.5), (206, 4, -295, 16)), 14)
    blob("humerus", 206, 4, -308, (31, 11, 14))
    tube("radius", ((216, -6, -332, 11), (220, -8, -370, 8), (226, -8, -450, 7.5), (216, -6, -560, 14)), 12)
    tube("ulna", ((198, 18, -300, 11), (198, 14, -340, 12), (200, 12, -450, 7.5), (194, 4, -560, 8)), 12)


def _paint_flesh(scene: Scene, knots: Knots, fat_mm: float) -> None:
    """Skin, fat and muscle along a limb."""
    inner = np.asarray(knots, np.float64)
    layers = (("skin", Material.SKIN, 0.0), ("subcutaneous_fat", Material.FAT, _SKIN_MM), ("body_wall_muscle", _MUSCLE, fat_mm))
    for name, material, inset in layers:
        inner = inner - (0, 0, 0, inset)
        scene.tube(name, inner.clip((-np.inf, -np.inf, -np.inf, 8.0)), material, 20)


def _paint_thigh(scene: Scene) -> None:
    """The muscle compartments around the shaft of the femur; each stays within the muscle."""
    medial = ((52, 6, -30, 34), (58, 12, -150, 32), (66, 16, -290, 16))
    behind = ((80, 48, -40, 30), (90, 44, -200, 34), (84, 36, -380, 24))
    front = ((122, -26, -40, 40), (112, -26, -150, 46), (98, -22, -300, 40), (84, -28, -390, 20))
    for name, knots in (("thigh_posterior_compartment", behind), ("thigh_medial_compartment", medial), ("quadriceps_femoris", front)):
        scene.tubes(name, knots, _MUSCLE, 14, over=_MUSCLE)
    scene.tubes("sartorius", ((132, -52, 30, 9), (104, -72, -100, 10), (58, -46, -260, 10), (40, 14, -400, 9)), _MUSCLE, 16, over=_MUSCLE)
