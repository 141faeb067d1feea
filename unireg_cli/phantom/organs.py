"""The organs of one subject as a list of shapes, in the order in which they are painted."""

from __future__ import annotations

import numpy as np

from unireg_cli.phantom.anatomy import Anatomy, Triple
from unireg_cli.phantom.canvas import Region
from unireg_cli.phantom.shapes import Blob, Knots, Shape, Tube, curve, tree
from unireg_cli.phantom.tissue import LABELS, Material
from unireg_cli.types import AnyArray

_M = Material
_FAT = LABELS["visceral_fat"]


def organs(anatomy: Anatomy) -> list[Shape]:
    """Everything but body wall, lungs, ribs and spine; later shapes cover earlier ones."""
    return [
        *_bowel(anatomy),
        *_upper_abdomen(anatomy),
        *_liver(anatomy),
        *_retroperitoneum(anatomy),
        *_chest(anatomy),
        *_great_vessels(anatomy),
    ]


def _blob(
    anatomy: Anatomy,
    organ: str,
    center: Triple,
    semi: Triple,
    material: Material,
    *,
    degrees: Triple = (0.0, 0.0, 0.0),
    exponent: float = 2.0,
    region: Region | None = Region.ABDOMEN,
    label: int | None = None,
    over: Material | None = None,
) -> Blob:
    size, shift = anatomy.size_and_place(organ)
    place, half = np.asarray(center) + shift, np.asarray(semi) * size
    return Blob(_triple(place), _triple(half), material, LABELS[organ] if label is None else label, degrees, exponent, region, over)


def _tube(
    anatomy: Anatomy,
    organ: str,
    knots: Knots,
    material: Material,
    count: int = 16,
    *,
    region: Region | None = Region.ABDOMEN,
    filling: Material | None = None,
    wall_mm: float = 2.5,
    gas: float = 0.0,
) -> Tube:
    """A tube through knots of x, y, z, radius."""
    size, shift = anatomy.size_and_place(organ)
    path = curve(knots, count)
    points, radii = path[:, :3] + shift, path[:, 3] * size
    return Tube(points, radii, material, LABELS[organ], region, None, filling, wall_mm, gas)


def _triple(values: AnyArray) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])


def _bowel(anatomy: Anatomy) -> list[Shape]:
    rng = anatomy.rng("loops")
    shapes: list[Shape] = []
    for loop in range(7):
        # Loops swing from side to side on their own level, as on a mesentery.
        level = -62.0 - 17.0 * loop
        swings = 7
        side = np.where(np.arange(swings) % 2, 1, -1) * rng.uniform(25, 72, swings)
        knots = np.column_stack(
            (side, rng.uniform(-66, 8, swings), level + rng.uniform(-12, 12, swings), rng.uniform(9, 12.5, swings))
        )
        shapes.append(_tube(anatomy, "small_bowel", knots, _M.BOWEL_WALL, 26, filling=_M.CHYME, wall_mm=2.2, gas=0.1))
    frame = (
        (-92, 8, -175, 21), (-104, 4, -130, 22), (-104, -4, -85, 20), (-88, -30, -58, 19), (-45, -66, -66, 19), (0, -74, -74, 18),
        (48, -66, -56, 17), (92, -28, -22, 17), (112, 14, -18, 15), (112, 26, -60, 14), (108, 26, -120, 14), (98, 16, -180, 14),
    )  # fmt: skip
    path = curve(frame, 64)
    # Haustra: the radius swells and narrows along the way.
    path[:, 3] *= 1 + 0.14 * np.sin(np.arange(64) * 1.9) + rng.uniform(-0.06, 0.06, 64)
    size, shift = anatomy.size_and_place("colon")
    shapes.append(Tube(path[:, :3] + shift, path[:, 3] * size, _M.BOWEL_WALL, LABELS["colon"], Region.ABDOMEN, None, _M.STOOL, 2.5, 0.75))
    return shapes


def _upper_abdomen(anatomy: Anatomy) -> list[Shape]:
    duodenum = ((-28, -34, -18, 12), (-46, -22, -30, 13), (-50, -8, -55, 12), (-36, -2, -78, 12), (2, -8, -80, 11), (30, -18, -64, 11))
    pancreas = ((-26, -16, -48, 17), (-18, -24, -32, 15), (10, -34, -18, 12), (42, -12, -6, 11.5), (74, 14, 4, 10))
    stomach = ((56, -8, 38, 38), (54, -26, 6, 32), (40, -48, -20, 24), (12, -54, -30, 18), (-16, -46, -22, 14))
    return [
        _tube(anatomy, "duodenum", duodenum, _M.BOWEL_WALL, 20, filling=_M.CHYME, gas=0.2),
        _tube(anatomy, "stomach", stomach, _M.BOWEL_WALL, 14, filling=_M.CHYME, wall_mm=4.0, gas=0.8),
        _tube(anatomy, "pancreas", pancreas, _M.PANCREAS, 18),
        _blob(anatomy, "spleen", (98, 42, 28), (30, 46, 52), _M.SPLEEN, degrees=(20, 0, 15), exponent=2.3),
    ]


def _liver(anatomy: Anatomy) -> list[Shape]:
    size, shift = anatomy.size_and_place("liver")
    label = LABELS["liver"]
    shapes: list[Shape] = [
        _blob(anatomy, "liver", (-78, 2, 4), (82, 98, 82), _M.LIVER, degrees=(0, 12, 0), exponent=2.3),
        _blob(anatomy, "liver", (-6, -48, 26), (78, 46, 40), _M.LIVER, degrees=(0, 14, -8)),
    ]
    center, semi = _triple(np.array((-72, -4, 12)) + shift), _triple(np.array((78, 84, 72)) * size)
    rng = anatomy.rng("portal")
    hilum = _triple(np.array((-42, -14, 2)) + shift)
    dome = _triple(np.array((-22, 12, 52)) + shift)
    segments = tree(rng, hilum, center, semi, (6, 3, 3), (6.5, 3.8, 2.4, 1.6))
    segments += tree(rng, dome, center, semi, (3, 3, 2), (6.0, 3.6, 2.2, 1.5))
    for ends in segments:
        shapes.append(Tube(ends[:, :3], ends[:, 3], _M.LIVER_VESSEL, label, Region.ABDOMEN, _M.LIVER))
    shapes.append(_blob(anatomy, "gallbladder", (-52, -52, -34), (14, 17, 30), _M.BOWEL_WALL, degrees=(25, 0, 0)))
    shapes.append(_blob(anatomy, "gallbladder", (-52, -52, -34), (12.3, 15.3, 28.3), _M.BILE, degrees=(25, 0, 0)))
    return shapes


def _retroperitoneum(anatomy: Anatomy) -> list[Shape]:
    shapes: list[Shape] = []
    for name, center, turn in (("kidney_right", (-64, 40, -50), 12.0), ("kidney_left", (66, 40, -32), -12.0)):
        degrees = (-10.0, turn, 0.0)
        inward = 9.0 if center[0] < 0 else -9.0
        shapes.append(_blob(anatomy, name, center, (40, 34, 68), _M.FAT, degrees=degrees, label=_FAT))
        shapes.append(_blob(anatomy, name, center, (29, 25, 55), _M.CORTEX, degrees=degrees, exponent=2.2))
        medial = (center[0] + inward * 0.4, center[1] - 1.0, center[2])
        shapes.append(_blob(anatomy, name, medial, (20, 16, 44), _M.MEDULLA, degrees=degrees))
        # The pelvis opens towards the spine; its outer part is fat, as at a real hilum.
        pelvis = (center[0] + inward * 2.0, center[1] - 4.0, center[2])
        shapes.append(_blob(anatomy, name, pelvis, (15, 8, 18), _M.URINE, degrees=degrees, over=_M.MEDULLA))
        shapes.append(_blob(anatomy, name, (center[0] + inward * 3.2, center[1] - 6.0, center[2]), (12, 10, 16), _M.FAT, label=_FAT))
    shapes.append(_blob(anatomy, "adrenal_gland_right", (-36, 22, 18), (5, 13, 14), _M.GLAND, degrees=(0, 20, 25)))
    shapes.append(_blob(anatomy, "adrenal_gland_left", (40, 18, 16), (5, 14, 14), _M.GLAND, degrees=(0, -20, -30)))
    for side, sign in (("left", 1), ("right", -1)):
        psoas = ((32 * sign, 34, -10, 8), (40 * sign, 32, -60, 17), (48 * sign, 26, -120, 22), (58 * sign, 14, -190, 24))
        shapes.append(_tube(anatomy, f"iliopsoas_{side}", psoas, _M.MUSCLE, 10, region=None))
    return shapes


def _chest(anatomy: Anatomy) -> list[Shape]:
    esophagus = ((4, 22, 240, 8), (4, 24, 150, 8), (10, 20, 90, 8), (16, 8, 58, 8), (34, -2, 44, 9))
    trachea = ((0, 10, 260, 9.5), (0, 14, 190, 9.5), (0, 18, 165, 9.5))
    shapes: list[Shape] = [
        _tube(anatomy, "esophagus", esophagus, _M.BOWEL_WALL, 16, region=None, filling=_M.CHYME, wall_mm=4.0),
        _tube(anatomy, "trachea", trachea, _M.CARTILAGE, 8, region=None, filling=_M.GAS, wall_mm=1.5),
        _blob(anatomy, "heart", (22, -34, 96), (62, 46, 50), _M.MYOCARDIUM, degrees=(20, 25, 25), region=Region.CHEST),
    ]
    chambers: tuple[tuple[Triple, Triple], ...] = (
        ((48, -36, 88), (24, 20, 30)), ((14, -54, 90), (30, 15, 32)), ((-16, -28, 104), (18, 22, 28)), ((20, -8, 116), (26, 16, 20)),
    )  # fmt: skip
    for center, semi in chambers:
        shapes.append(_blob(anatomy, "heart", center, semi, _M.BLOOD, degrees=(20, 25, 25), over=_M.MYOCARDIUM))
    for bronchus in (((0, 18, 165, 8), (-26, 20, 140, 6.5), (-44, 24, 118, 4)), ((0, 18, 165, 8), (30, 22, 142, 6), (50, 26, 118, 4))):
        shapes.append(_tube(anatomy, "trachea", bronchus, _M.CARTILAGE, 6, region=None, filling=_M.GAS, wall_mm=1.3))
    for side, sign in (("left", 1), ("right", -1)):
        root, center, semi = (30.0 * sign, 12.0, 122.0), (82.0 * sign, 6.0, 110.0), (60.0, 84.0, 115.0)
        for ends in tree(anatomy.rng(f"lung_{side}"), root, center, semi, (9, 4, 3), (6.5, 3.6, 2.0, 1.1)):
            shapes.append(Tube(ends[:, :3], ends[:, 3], _M.LUNG_VESSEL, None, Region.CHEST, _M.LUNG))
    return shapes


def _great_vessels(anatomy: Anatomy) -> list[Shape]:
    aorta = (
        (8, -26, 118, 15), (-12, -26, 150, 15), (-8, -18, 186, 14), (8, 4, 200, 13.5), (18, 28, 184, 13), (22, 36, 150, 12.5),
        (18, 34, 100, 12), (10, 20, 50, 11), (7, 6, 0, 10), (6, 0, -60, 9), (4, -2, -112, 8.5),
    )  # fmt: skip
    cava = ((-16, -2, -124, 11), (-20, 2, -60, 12), (-22, 10, 0, 13), (-22, 12, 45, 13.5), (-20, -4, 84, 13))
    superior = ((-22, -20, 112, 10), (-26, -16, 150, 9.5), (-26, -14, 240, 9))
    portal = ((86, 24, 18, 4.5), (40, -6, -2, 5), (-8, -16, -24, 6.5), (-26, -14, -10, 7), (-44, -14, 4, 7))
    mesenteric = ((-14, -32, -110, 4.5), (-10, -24, -70, 5.5), (-8, -16, -24, 6.5))
    shapes: list[Shape] = [
        _tube(anatomy, "portal_vein_and_splenic_vein", portal, _M.BLOOD, 18),
        _tube(anatomy, "portal_vein_and_splenic_vein", mesenteric, _M.BLOOD, 8),
        _tube(anatomy, "inferior_vena_cava", cava, _M.VENOUS_BLOOD, 18, region=None),
        _tube(anatomy, "superior_vena_cava", superior, _M.VENOUS_BLOOD, 8, region=None),
        _tube(anatomy, "aorta", aorta, _M.BLOOD, 40, region=None),
    ]
    for side, sign in (("left", 1), ("right", -1)):
        artery = ((4, -2, -110, 6.5), (24 * sign, 0, -145, 6.5), (46 * sign, -6, -210, 6))
        vein = ((-16, -2, -122, 8), (24 * sign - 4, 10, -152, 8), (42 * sign, 8, -210, 8))
        shapes.append(_tube(anatomy, f"iliac_vena_{side}", vein, _M.VENOUS_BLOOD, 8, region=None))
        shapes.append(_tube(anatomy, f"iliac_artery_{side}", artery, _M.BLOOD, 8, region=None))
    return shapes
