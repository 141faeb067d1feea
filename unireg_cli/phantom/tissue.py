"""What the torso is made of: label ids with their names, and materials with their CT numbers."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_VERTEBRAE = ("L5", "L4", "L3", "L2", "L1", *(f"T{n}" for n in range(12, 2, -1)))

NAMES: dict[int, str] = {
    1: "spleen",
    2: "kidney_right",
    3: "kidney_left",
    4: "gallbladder",
    5: "liver",
    6: "stomach",
    7: "pancreas",
    8: "adrenal_gland_right",
    9: "adrenal_gland_left",
    10: "lung_upper_lobe_left",
    11: "lung_lower_lobe_left",
    12: "lung_upper_lobe_right",
    13: "lung_middle_lobe_right",
    14: "lung_lower_lobe_right",
    15: "esophagus",
    16: "trachea",
    18: "small_bowel",
    19: "duodenum",
    20: "colon",
    **{27 + n: f"vertebrae_{level}" for n, level in enumerate(_VERTEBRAE)},
    51: "heart",
    52: "aorta",
    62: "superior_vena_cava",
    63: "inferior_vena_cava",
    64: "portal_vein_and_splenic_vein",
    65: "iliac_artery_left",
    66: "iliac_artery_right",
    67: "iliac_vena_left",
    68: "iliac_vena_right",
    79: "spinal_cord",
    86: "autochthon_left",
    87: "autochthon_right",
    88: "iliopsoas_left",
    89: "iliopsoas_right",
    **{91 + n: f"rib_left_{n}" for n in range(1, 13)},
    **{103 + n: f"rib_right_{n}" for n in range(1, 13)},
    116: "sternum",
    117: "costal_cartilages",
    118: "skin",
    119: "subcutaneous_fat",
    120: "body_wall_muscle",
    121: "visceral_fat",
}
"""Label id -> name; 0 is outside the body."""

LABELS: dict[str, int] = {name: label for label, name in NAMES.items()}

TISSUES = frozenset((118, 119, 120, 121))
"""Labels that fill the space between the organs; left out of mean overlaps."""

LUMBAR_5 = LABELS["vertebrae_L5"]
"""Vertebrae count upwards from here."""


class Material(IntEnum):
    """What a voxel consists of; finer than labels (a kidney has a cortex and a pelvis)."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    LUNG = 4
    LUNG_VESSEL = 5
    LIVER = 6
    LIVER_VESSEL = 7
    SPLEEN = 8
    CORTEX = 9
    MEDULLA = 10
    URINE = 11
    PANCREAS = 12
    BOWEL_WALL = 13
    CHYME = 14
    GAS = 15
    BILE = 16
    BLOOD = 17
    VENOUS_BLOOD = 18
    MYOCARDIUM = 19
    BONE = 20
    MARROW = 21
    CARTILAGE = 22
    CORD = 23
    GLAND = 24
    STOOL = 25


# Mean HU in a portal venous phase and the spread of the tissue's own texture.
_HOUNSFIELD: dict[Material, tuple[float, float]] = {
    Material.AIR: (-1000, 0),
    Material.SKIN: (20, 8),
    Material.FAT: (-102, 8),
    Material.MUSCLE: (58, 10),
    Material.LUNG: (-850, 22),
    Material.LUNG_VESSEL: (30, 10),
    Material.LIVER: (108, 5),
    Material.LIVER_VESSEL: (172, 4),
    Material.SPLEEN: (122, 5),
    Material.CORTEX: (195, 8),
    Material.MEDULLA: (150, 8),
    Material.URINE: (8, 3),
    Material.PANCREAS: (92, 12),
    Material.BOWEL_WALL: (82, 8),
    Material.CHYME: (18, 10),
    Material.GAS: (-960, 5),
    Material.BILE: (6, 3),
    Material.BLOOD: (165, 4),
    Material.VENOUS_BLOOD: (145, 5),
    Material.MYOCARDIUM: (108, 6),
    Material.BONE: (640, 90),
    Material.MARROW: (210, 45),
    Material.CARTILAGE: (115, 15),
    Material.CORD: (38, 4),
    Material.GLAND: (70, 8),
    Material.STOOL: (-20, 90),
}


def hounsfield_tables() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean HU and texture spread, indexed by material: two arrays (materials,), float32."""
    rows = np.array([_HOUNSFIELD[material] for material in Material], dtype=np.float32)
    return rows[:, 0].copy(), rows[:, 1].copy()
