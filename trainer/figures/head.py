"""Head and neck around the brain, in the brain's template frame (mm: left, posterior, superior)."""

from __future__ import annotations

import numpy as np

from trainer.figures.brain import CEREBELLUM, CEREBRUM, level, paint_brain
from trainer.figures.scene import Scene
from unireg_cli.phantom.anatomy import Triple
from unireg_cli.phantom.tissue import Material
from unireg_cli.types import AnyArray

_BONE, _MUSCLE, _FAT, _GLAND, _BLOOD = Material.BONE, Material.MUSCLE, Material.FAT, Material.GLAND, Material.BLOOD
_NERVE, _CARTILAGE, _GAS, _FLUID = Material.CORD, Material.CARTILAGE, Material.GAS, Material.URINE
_CRANIUM: tuple[Triple, Triple] = ((0.0, 17.0, 14.0), (80.0, 101.0, 77.0))
_FACE: tuple[Triple, Triple] = ((0.0, -26.0, -72.0), (66.0, 60.0, 68.0))
_SKIN_MM = 2.5
# Middle of each vertebral body: height, and how far back.
_VERTEBRAE = {
    "vertebrae_C2": (-92.0, 31.0), "vertebrae_C3": (-109.0, 28.0), "vertebrae_C4": (-125.0, 26.0), "vertebrae_C5": (-141.0, 27.0),
    "vertebrae_C6": (-157.0, 29.0), "vertebrae_C7": (-174.0, 33.0), "vertebrae_T1": (-192.0, 38.0), "vertebrae_T2": (-212.0, 43.0),
}  # fmt: skip


def paint_head(scene: Scene, *, parcels: bool) -> None:
    """Paint head and neck; ``parcels`` cuts the cortex into gyri."""
    _paint_outside(scene)
    outside = scene.air
    _paint_neck(scene)
    _paint_spine(scene)
    _paint_face(scene)
    _paint_skull(scene)
    paint_brain(scene, parcels=parcels)
    # Once more below the stem, which would otherwise end on the skull's floor.
    scene.tube("spinal_cord", ((0, 42, -67, 6.5), (0, 46, -110, 6), (0, 50, -160, 6.5), (0, 60, -240, 5.5)), _NERVE, 14)
    _paint_orbits(scene)
    _paint_small(scene)
    scene.clear(outside)


def _depth(x: AnyArray, y: AnyArray, z: AnyArray) -> AnyArray:
    """About the distance in mm from the skin, negative outside."""
    position = (x, y, z)
    cranium = (1 - level(_CRANIUM, position)) * _CRANIUM[1][2]
    face = (1 - level(_FACE, position)) * _FACE[1][1]
    shoulder = np.clip(-195 - z, 0, 60)
    neck = 1 - ((x / (57 + 2.0 * shoulder)) ** 2 + ((y - 26) / (62 + 0.6 * shoulder)) ** 2) ** 0.5
    return np.asarray(np.maximum(np.maximum(cranium, face), np.where(z < -35, neck * 56, -1)))


def _paint_outside(scene: Scene) -> None:
    fat = _SKIN_MM + scene.anatomy.fat_mm * 0.4
    depth_of = _depth(scene.canvas.x.numpy(), scene.canvas.y.numpy(), scene.canvas.z.numpy())
    labels, materials = scene.canvas.labels.numpy(), scene.canvas.materials.numpy()
    layers = (("skin", Material.SKIN, 0.0), ("subcutaneous_fat", _FAT, _SKIN_MM), ("body_wall_muscle", _MUSCLE, fat))
    for name, material, start in layers:
        labels[depth_of > start] = scene.ids(name)
        materials[depth_of > start] = int(material)


def _paint_neck(scene: Scene) -> None:
    scene.blobs("lung_upper_lobe", (42, 34, -265), (34, 40, 50), Material.LUNG)
    scene.tubes("clavicula", ((16, -22, -224, 8), (60, -28, -216, 6), (110, 5, -206, 6)), _BONE)
    scene.tubes("subclavian_artery", ((20, -2, -236, 5), (45, 5, -222, 4.5), (90, 0, -224, 4)), _BLOOD, 6)
    scene.tubes("brachiocephalic_vein", ((6, -14, -245, 6), (30, -12, -228, 6)), _BLOOD, 4)
    scene.tubes("internal_jugular_vein", ((30, -12, -228, 6), (34, 2, -160, 6), (32, 14, -100, 5), (30, 18, -66, 4.5)), _BLOOD)
    scene.tubes("common_carotid_artery", ((18, 0, -245, 4), (20, 2, -190, 4), (25, 4, -132, 4.5)), _BLOOD, 8)
    scene.tubes("internal_carotid_artery", ((26, 5, -130, 3.6), (27, 10, -90, 3.2), (26, 14, -66, 3), (12, 2, -34, 3)), _BLOOD)
    scene.tube("esophagus", ((0, 14, -160, 7), (3, 24, -220, 7.5), (4, 30, -290, 8)), Material.BOWEL_WALL, 8)
    scene.tube("pharynx", ((0, -4, -66, 13), (0, 0, -95, 13), (0, 8, -140, 11)), Material.BOWEL_WALL, 8)
    scene.tube("airway", ((0, -6, -62, 8), (0, -3, -95, 8), (0, 2, -130, 5)), _GAS, 8)
    for scale, name, material in ((1.0, "thyroid_cartilage", _CARTILAGE), (0.72, "larynx", Material.BOWEL_WALL)):
        scene.tube(name, ((0, -8, -134, 16 * scale), (0, -8, -160, 12 * scale)), material, 4)
    scene.tube("trachea", ((0, -6, -160, 10), (0, 2, -210, 10), (0, 12, -290, 10)), _CARTILAGE, 8)
    scene.tube("airway", ((0, -8, -134, 4), (0, -7, -155, 6), (0, 2, -210, 7.5), (0, 12, -290, 7.5)), _GAS, 10)
    for sign in (1, -1):
        scene.blob("thyroid_gland", (17 * sign, -6, -172), (9, 10, 22), _GLAND, degrees=(0, 0, -20 * sign))
    scene.blob("thyroid_gland", (0, -18, -176), (16, 4, 7), _GLAND)
    scene.tube("hyoid", ((21, 2, -124, 3), (14, -20, -129, 4), (0, -26, -130, 4.5), (-14, -20, -129, 4), (-21, 2, -124, 3)), _BONE)
    scene.blobs("submandibular_gland", (32, -22, -120), (10, 15, 12), _GLAND)
    scene.blobs("parotid_gland", (52, 4, -84), (11, 17, 25), _GLAND)
    scene.tubes("autochthon", ((18, 66, -85, 12), (20, 70, -160, 15), (24, 86, -260, 17)), _MUSCLE, 8)


def _paint_spine(scene: Scene) -> None:
    scene.tube("intervertebral_discs", [(0, back, height, 9.5) for height, back in _VERTEBRAE.values()], _CARTILAGE, 16)
    for name, (height, back) in _VERTEBRAE.items():
        wide = 12 + 0.05 * (-90 - height)
        scene.blob(name, (0, back + 19, height), (wide + 6, 15, 6.5), _BONE, exponent=2.6)
        scene.blob(name, (0, back + 42, height - 6), (4, 14, 4.5), _BONE, degrees=(-15, 0, 0))
        scene.blob(name, (0, back, height), (wide, 9.5, 7), _BONE, exponent=3.5)
    scene.tube("vertebrae_C2", ((0, 27, -88, 6), (0, 24, -74, 5)), _BONE, 3)
    for sign in (1, -1):
        ring = ((6 * sign, 15, -75, 4), (22 * sign, 26, -75, 8), (18 * sign, 50, -75, 5), (0, 62, -76, 4))
        scene.tube("vertebrae_C1", ring, _BONE, 8)
    canal = ((0, 44, -66, 9.5), (0, 48, -110, 9.5), (0, 52, -160, 9.5), (0, 62, -240, 9))
    scene.tube("visceral_fat", canal, _FAT, 14)


def _paint_face(scene: Scene) -> None:
    scene.blob("oral_cavity", (0, -44, -98), (30, 34, 24), Material.BOWEL_WALL)
    scene.blob("tongue", (0, -38, -101), (24, 30, 19), _MUSCLE)
    scene.blob("maxilla", (0, -54, -72), (34, 24, 20), _BONE, exponent=3.0)
    for sign in (1, -1):
        scene.blob("airway", (21 * sign, -50, -66), (10, 15, 14), _GAS)
        scene.tube("skull", ((62 * sign, 4, -44, 5), (64 * sign, -24, -44, 4), (44 * sign, -58, -46, 7)), _BONE, 8)
        knots = ((52 * sign, 4, -56, 6), (49 * sign, 0, -92, 7), (45 * sign, -6, -110, 8), (30 * sign, -44, -122, 8), (0, -66, -124, 9))
        scene.tube("mandible", knots, _BONE, 14)
    scene.blob("airway", (0, -56, -54), (11, 26, 20), _GAS)


def _paint_skull(scene: Scene) -> None:
    """The vault and its floor around the cavity of the brain."""
    thick = float(scene.anatomy.rng("skull").uniform(5, 9))
    box: tuple[Triple, Triple] = ((-85.0, -85.0, -80.0), (85.0, 125.0, 95.0))

    def cavity(x: AnyArray, y: AnyArray, z: AnyArray) -> AnyArray:
        """Distance in mm inside the cavity, negative outside."""
        above = (1 - level(CEREBRUM, (x, y, z))) * CEREBRUM[1][2] + 3
        forehead = np.minimum(above, np.maximum(z + 25, y + 19))
        return np.asarray(np.maximum(forehead, (1 - level(CEREBELLUM, (x, y, z))) * CEREBELLUM[1][2] + 3))

    scene.fill("skull", box, lambda x, y, z: cavity(x, y, z) > -thick, _BONE)
    scene.fill("csf", box, lambda x, y, z: cavity(x, y, z) > 0, _FLUID)
    scene.tube("csf", ((0, 40, -58, 11), (0, 43, -76, 9)), _FLUID, 4)
    for sign in (1, -1):
        scene.tube("skull", ((58 * sign, 24, -38, 9), (18 * sign, 9, -33, 6)), _BONE, 6)


def _paint_orbits(scene: Scene) -> None:
    for sign in (1, -1):
        scene.blob("visceral_fat", (32 * sign, -46, -40), (18, 28, 16), _FAT)
    scene.tubes("optic_nerve", ((32, -48, -40, 3), (24, -24, -32, 2.8), (5, -8, -19, 2.8)), _NERVE, 8)
    scene.blobs("eye", (32, -61, -40), (12.5, 12.5, 12.5), _FLUID)
    scene.blobs("eye_lens", (32, -70, -40), (5, 3, 5), _CARTILAGE)
    scene.blobs("lacrimal_gland", (43, -56, -31), (5, 6, 5), _GLAND)


def _paint_small(scene: Scene) -> None:
    scene.blob("pituitary_gland", (0, 0, -27), (6.5, 5, 4.5), _GLAND)
    scene.blobs("cochlea", (23, 14, -34), (4.5, 4, 4.5), _FLUID)
    scene.tubes("internal_carotid_artery", ((26, 14, -60, 2.8), (12, 2, -34, 2.8), (8, -4, -22, 2.5)), _BLOOD, 6)
