"""What the demonstration torso leaves out: great vessels of the upper chest, shoulder bones, chambers of the heart, breasts."""

from __future__ import annotations

import numpy as np

from trainer.figures.scene import SIDES, Scene
from unireg_cli.phantom.tissue import Material

_BLOOD, _MUSCLE, _BONE = Material.BLOOD, Material.MUSCLE, Material.BONE
# Middles and half lengths of the chambers, where the torso has its heart.
_CHAMBERS = {
    "heart_ventricle_left": ((48, -36, 88), (24, 20, 30)),
    "heart_ventricle_right": ((14, -54, 90), (30, 15, 32)),
    "heart_atrium_right": ((-16, -28, 104), (18, 22, 28)),
    "heart_atrium_left": ((20, -8, 116), (26, 16, 20)),
}


def paint_chest(scene: Scene, *, chambers: bool) -> None:
    """Paint into the chest of a torso; ``chambers`` cuts its heart into them."""
    scene.tube("brachiocephalic_trunk", ((0, -12, 200, 7), (-16, -12, 222, 6.5)), _BLOOD, 4)
    scene.tubes("common_carotid_artery", ((10, 0, 206, 4.5), (20, 2, 260, 4.5)), _BLOOD, 4)
    scene.tubes("subclavian_artery", ((18, 6, 206, 5), (40, 12, 240, 5), (80, 8, 248, 4.5)), _BLOOD, 6)
    scene.tube("brachiocephalic_vein_left", ((-22, -18, 205, 7), (10, -26, 218, 7), (34, -14, 236, 6.5)), _BLOOD, 6)
    scene.tube("brachiocephalic_vein_right", ((-24, -16, 206, 7), (-34, -12, 238, 6.5)), _BLOOD, 4)
    scene.tubes("clavicula", ((20, -76, 226, 8), (70, -70, 238, 6.5), (125, -30, 250, 7)), _BONE, 8)
    # A plate in the muscles behind the ribs; what is not muscle stays.
    scene.blobs("scapula", (98, 70, 165), (42, 5, 60), _BONE, degrees=(-8, 8, -38), exponent=2.6, over=_MUSCLE)
    _paint_breasts(scene)
    if chambers:
        _paint_heart(scene)


def paint_abdomen(scene: Scene) -> None:
    """Paint the branches of the aorta, and name what the torso's materials already show."""
    scene.tube("celiac_trunk", ((7, 4, 12, 4), (13, -20, 8, 3.5), (30, -24, 6, 3)), _BLOOD, 6)
    scene.tube("superior_mesenteric_artery", ((7, 2, -6, 4), (2, -22, -24, 4), (-4, -32, -110, 3)), _BLOOD, 8)
    scene.tubes("renal_artery", ((8, 6, -40, 3.5), (46, 34, -44, 3.2)), _BLOOD, 5)
    scene.tubes("renal_vein", ((4, -8, -46, 4.5), (48, 30, -50, 4)), _BLOOD, 5)
    labels, materials = scene.canvas.labels.numpy(), scene.canvas.materials.numpy()
    if scene.chance("discs", 0.5):
        here = (labels == scene.ids("body_wall_muscle")) & (materials == int(Material.CARTILAGE))
        labels[here] = scene.ids("intervertebral_discs")
    if scene.chance("liver vessels", 0.3):
        labels[materials == int(Material.LIVER_VESSEL)] = scene.ids("liver_vessels")
    if scene.chance("kidney parts", 0.3):
        for side, _ in SIDES:
            kidney = labels == scene.ids(f"kidney_{side}")
            labels[kidney & (materials == int(Material.CORTEX))] = scene.ids(f"kidney_cortex_{side}")
            labels[kidney & (materials == int(Material.MEDULLA))] = scene.ids(f"kidney_medulla_{side}")
    for side, sign in SIDES:
        if scene.chance(f"cyst {side}", 0.25):
            place = (72.0 * sign, 56.0, -40.0 + 30 * float(scene.anatomy.rng(f"cyst at {side}").normal()))
            scene.blob(f"kidney_cyst_{side}", place, (16, 15, 16), Material.URINE)


def _paint_breasts(scene: Scene) -> None:
    if not scene.chance("breasts", 0.5):
        return
    for over in (Material.AIR, Material.SKIN):
        scene.blobs("breast", (72, -98, 125), (46, 38, 44), Material.GLAND, over=over)
    labels = scene.canvas.labels.numpy()
    under = scene.canvas.window(np.array([-125.0, -140.0, 75.0]), np.array([125.0, -70.0, 175.0]))
    if under is not None:
        part = labels[under]
        beyond = np.abs(scene.canvas.x.numpy()[under])
        near = (part == scene.ids("subcutaneous_fat")) & (beyond > 30) & (beyond < 112)
        for side, sign in SIDES:
            part[near & (scene.canvas.x.numpy()[under] * sign > 0)] = scene.ids(f"breast_{side}")


def _paint_heart(scene: Scene) -> None:
    labels = scene.canvas.labels.numpy()
    part = scene.window((-80.0, -110.0, 20.0), (120.0, 50.0, 180.0))
    if part is None:
        return
    shift = scene.anatomy.size_and_place("heart")[1]
    x, y, z = (values.numpy()[part] for values in (scene.canvas.x, scene.canvas.y, scene.canvas.z))
    heart = labels[part] == scene.ids("heart")
    far = []
    for center, semi in _CHAMBERS.values():
        scaled = [(v - c - s) / h for v, c, s, h in zip((x, y, z), center, shift, semi, strict=True)]
        far.append(sum(one * one for one in scaled))
    walls = [scene.ids("heart_myocardium")] * 4
    if scene.chance("right myocardium", 0.4):
        walls[1] = walls[2] = scene.ids("heart_myocardium_right")
    labels[part][heart] = np.array(walls, np.uint8)[np.argmin(np.stack(far), 0)[heart]]
    for name, (center, semi) in _CHAMBERS.items():
        place = (center[0] + float(shift[0]), center[1] + float(shift[1]), center[2] + float(shift[2]))
        scene.blob(name, place, semi, _BLOOD, degrees=(20, 25, 25), over=Material.MYOCARDIUM)
    scene.tube("pulmonary_artery", ((10, -48, 118, 13), (14, -34, 146, 12), (12, -10, 158, 11)), _BLOOD, 8)
    for sign in (1, -1):
        scene.tube("pulmonary_artery", ((12, -10, 158, 10), (50 * sign, 12, 146, 7)), _BLOOD, 5)
        scene.tube("pulmonary_vein", ((20 + 8 * sign, 2, 116, 8), (20 + 44 * sign, 16, 112, 5)), _BLOOD, 5)
    scene.blob("atrial_appendage_left", (44, -28, 122), (8, 13, 8), _BLOOD)
    scene.blob("pericardium", (22, -34, 96), (66, 50, 54), Material.CARTILAGE, degrees=(20, 25, 25), over=Material.FAT)
