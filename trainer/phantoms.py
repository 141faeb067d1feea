"""Label maps of made-up people: training from scratch on all regions without any data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from trainer.figures.brain import paint_brain
from trainer.figures.head import paint_head
from trainer.figures.limbs import paint_arm, paint_legs
from trainer.figures.pelvis import paint_pelvis
from trainer.figures.scene import FILLERS, Scene
from trainer.figures.trunk import paint_abdomen, paint_chest
from unireg_cli.errors import UsageError
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.phantom.anatomy import Anatomy, Triple
from unireg_cli.phantom.pair import centred_grid
from unireg_cli.spatial import Grid, Image
from unireg_cli.types import FloatArray

_SPACINGS = (0.5, 20.0)
_PARCELS = 0.5
_CHAMBERS = 0.4
_MISSING = 0.05
# Organs that people live without, or that are taken out.
_REMOVABLE = (
    "gallbladder", "spleen", "kidney_left", "kidney_right", "adrenal_gland_left", "adrenal_gland_right", "stomach", "uterus", "prostate",
    "thyroid_gland", "submandibular_gland_left", "submandibular_gland_right", "parotid_gland_left", "parotid_gland_right",
    "urinary_bladder", "patella_left", "patella_right", "eye_left", "eye_right",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Kind:
    """A part of the body as it is scanned: field of view in template mm, and how it is painted."""

    center: Triple
    extent_mm: Triple
    paint: Callable[[Scene], None]
    on_torso: bool = False
    slide_mm: float = 0.0
    """How far the field of view may move along the body."""
    turn_deg: float = 3.0


def _torso(scene: Scene) -> None:
    paint_chest(scene, chambers=scene.chance("chambers", _CHAMBERS))
    paint_abdomen(scene)


def _arm_center(anatomy: Anatomy) -> float:
    return 172.0 * (1.0 if int(anatomy.rng("side").integers(2)) == 0 else -1.0)


_SCANS: dict[str, _Kind] = {
    "torso": _Kind((0, 0, 30), (336, 240, 400), _torso, on_torso=True, slide_mm=25),
    "heart": _Kind((20, -25, 100), (210, 190, 190), lambda scene: paint_chest(scene, chambers=True), on_torso=True, slide_mm=5),
    "pelvis": _Kind((0, 0, -245), (336, 240, 240), paint_pelvis, on_torso=True, slide_mm=15),
    "head": _Kind((0, 8, -65), (190, 236, 330), lambda scene: paint_head(scene, parcels=False), slide_mm=10, turn_deg=5),
    "brain": _Kind((0, 17, 5), (150, 186, 162), lambda scene: paint_brain(scene, parcels=scene.chance("parcels", _PARCELS)), turn_deg=5),
    "leg": _Kind((0, 0, -390), (370, 220, 450), paint_legs, slide_mm=180),
    "arm": _Kind((0, 0, -250), (190, 150, 450), paint_arm, slide_mm=60),
}

KINDS: tuple[str, ...] = tuple(_SCANS)
"""What can be scanned."""

LABEL_VALUES = vocabulary().size + 1 + len(FILLERS)
"""Label values of all phantoms lie below this number and mean the same in all of them: the size of a contrast to be shared."""


def phantom_scan(kind: str, seed: int, spacing: float) -> tuple[Image, dict[int, int]]:
    """Labels of one made-up person, int16 on a grid with axes along LPS, and the structure id of each value that is a structure.

    Args:
        kind: one of ``KINDS``.
        seed: the person; equal seeds give equal voxels.
        spacing: edge of the voxels, mm.

    Raises:
        UsageError: a kind that is not known or a spacing out of its range.
    """
    if kind not in _SCANS:
        raise UsageError(f"phantom of kind {kind!r} is not known; there are {', '.join(KINDS)}")
    if not _SPACINGS[0] <= spacing <= _SPACINGS[1]:
        raise UsageError(f"phantom: spacing must be between {_SPACINGS[0]:g} and {_SPACINGS[1]:g} mm, found {spacing:g}")
    what = _SCANS[kind]
    rng = np.random.default_rng((seed, KINDS.index(kind), 505))
    anatomy = _subject(seed, what, rng)
    missing = [name for name in _REMOVABLE if rng.random() < _MISSING]
    grid = _field_of_view(kind, anatomy, spacing, rng)
    points: FloatArray = grid.points_lps()
    scene = Scene.torso(anatomy, points, missing) if what.on_torso else Scene.blank(anatomy, points, missing)
    what.paint(scene)
    labels, structures = scene.finished()
    return Image(labels, grid, f"{kind} phantom {seed}"), structures


def _subject(seed: int, what: _Kind, rng: np.random.Generator) -> Anatomy:
    """People differ more here than in the demonstration."""
    turn = rng.normal(0, what.turn_deg, 3).clip(-3 * what.turn_deg, 3 * what.turn_deg)
    scale = rng.normal(1, 0.04) * rng.normal(1, 0.025, 3)
    scale = scale.clip(0.86, 1.14)
    return replace(
        Anatomy.random(seed),
        body_scale=(float(scale[0]), float(scale[1]), float(scale[2])),
        rotation_deg=(float(turn[0]), float(turn[1]), float(turn[2])),
        fat_mm=float(rng.uniform(6, 24)),
        organ_spread=0.055,
        unevenness_mm=float(rng.uniform(2, 4)),
    )


def _field_of_view(kind: str, anatomy: Anatomy, spacing: float, rng: np.random.Generator) -> Grid:
    what = _SCANS[kind]
    extent = np.asarray(what.extent_mm) * rng.uniform(0.92, 1.08, 3)
    middle = np.asarray(what.center) + rng.normal(0, 0.015, 3) * extent
    middle[2] += rng.uniform(-what.slide_mm, what.slide_mm)
    if kind == "arm":
        middle[0] += _arm_center(anatomy)
    counts = np.maximum(np.rint(extent / spacing), 8).astype(int)
    size = (int(counts[0]), int(counts[1]), int(counts[2]))
    place = (float(middle[0]), float(middle[1]), float(middle[2]))
    return centred_grid(size, (spacing, spacing, spacing), np.eye(3), place, 1.0)
