"""Where the gyri of the cortex lie: rough middles, the nearest one wins."""

from __future__ import annotations

import numpy as np

from trainer.figures.scene import SIDES, Scene
from unireg_cli.types import AnyArray

# Distance from the midline, posterior, superior, in mm from the anterior commissure; rounded by eye from textbook drawings.
_MIDDLES: dict[str, tuple[float, float, float]] = {
    "anterior_orbital_gyrus": (26, -46, -14),
    "central_operculum": (50, 6, 10),
    "frontal_operculum": (44, -22, 6),
    "frontal_pole": (18, -62, 2),
    "gyrus_rectus": (5, -36, -20),
    "intermediate_orbital_gyrus": (24, -32, -17),
    "lateral_orbital_gyrus": (36, -44, -10),
    "medial_frontal_cortex": (6, -46, -10),
    "middle_frontal_gyrus": (38, -30, 36),
    "medial_orbital_gyrus": (15, -36, -20),
    "precentral_gyrus_medial_segment": (5, 22, 62),
    "superior_frontal_gyrus_medial_segment": (5, -50, 26),
    "opercular_part_of_the_inferior_frontal_gyrus": (52, -10, 20),
    "orbital_part_of_the_inferior_frontal_gyrus": (44, -34, -8),
    "posterior_orbital_gyrus": (32, -20, -18),
    "precentral_gyrus": (44, 6, 46),
    "subcallosal_area": (5, -18, -13),
    "superior_frontal_gyrus": (17, -30, 50),
    "supplementary_motor_cortex": (6, -2, 60),
    "triangular_part_of_the_inferior_frontal_gyrus": (50, -28, 12),
    "angular_gyrus": (48, 58, 36),
    "postcentral_gyrus_medial_segment": (5, 38, 66),
    "precuneus": (8, 58, 44),
    "parietal_operculum": (52, 26, 22),
    "postcentral_gyrus": (46, 26, 50),
    "supramarginal_gyrus": (56, 38, 34),
    "superior_parietal_lobule": (24, 56, 58),
    "entorhinal_area": (20, 6, -30),
    "fusiform_gyrus": (34, 30, -28),
    "inferior_temporal_gyrus": (54, 28, -26),
    "middle_temporal_gyrus": (60, 28, -8),
    "parahippocampal_gyrus": (20, 26, -18),
    "planum_polare": (46, 2, -10),
    "planum_temporale": (58, 32, 16),
    "superior_temporal_gyrus": (60, 12, -2),
    "temporal_pole": (40, -16, -28),
    "transverse_temporal_gyrus": (54, 18, 9),
    "calcarine_cortex": (8, 76, 6),
    "cuneus": (7, 84, 26),
    "inferior_occipital_gyrus": (40, 80, -8),
    "lingual_gyrus": (10, 66, -6),
    "middle_occipital_gyrus": (38, 84, 10),
    "occipital_pole": (16, 98, 2),
    "occipital_fusiform_gyrus": (28, 72, -12),
    "supracalcarine_cortex": (5, 78, 15),
    "superior_occipital_gyrus": (20, 86, 30),
    "anterior_cingulate_gyrus": (5, -36, 12),
    "middle_cingulate_gyrus": (5, -6, 38),
    "posterior_cingulate_gyrus": (5, 44, 28),
}
_SPREAD_MM = 3.0


def nearest_gyrus(scene: Scene, x: AnyArray, y: AnyArray, z: AnyArray) -> AnyArray:
    """Labels (N,) in the scene's block of cortex voxels at template mm."""
    from scipy.spatial import cKDTree

    labels = np.zeros(len(x), np.uint8)
    for side, sign in SIDES:
        rng = scene.anatomy.rng(f"gyri {side}")
        middles = np.array(list(_MIDDLES.values())) + rng.normal(0, _SPREAD_MM, (len(_MIDDLES), 3)).clip(-6, 6)
        numbers = np.array([scene.ids(f"{name}_{side}") for name in _MIDDLES], np.uint8)
        half = x * sign > 0
        _, nearest = cKDTree(middles).query(np.column_stack((x[half] * sign, y[half], z[half])))
        labels[half] = numbers[nearest]
    return labels
