"""What distinguishes one person's torso from another's."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from unireg_cli.spatial import Affine
from unireg_cli.types import FloatArray

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Anatomy:
    """One subject; the same numbers always give the same torso.

    The template frame is LPS mm with its origin between the kidneys, in front of the first lumbar vertebra.
    """

    seed: int = 0
    """Draws vessel trees, bowel loops, tissue texture and the unevenness of surfaces."""
    body_scale: Triple = (1.0, 1.0, 1.0)
    """Size of the whole torso along left, posterior, superior."""
    rotation_deg: Triple = (0.0, 0.0, 0.0)
    """Position on the table: turns about the x, y and z axis."""
    offset_lps: Triple = (0.0, 0.0, 0.0)
    """LPS mm of the template's origin."""
    fat_mm: float = 12.0
    """Thickness of the fat under the skin."""
    organ_spread: float = 0.0
    """How much organs differ in size (relative) and, times 100 mm, in place from the template."""
    unevenness_mm: float = 2.5
    """Largest bumps of the surfaces."""

    @classmethod
    def random(cls, seed: int) -> Anatomy:
        """A plausible adult drawn from ``seed``."""
        rng = np.random.default_rng((seed, 101))
        scale, turn, place = rng.normal(1, 0.03, 3).clip(0.92, 1.08), rng.normal(0, 1.5, 3), rng.normal(0, 5, 3)
        return cls(
            seed=seed,
            body_scale=(float(scale[0]), float(scale[1]), float(scale[2])),
            rotation_deg=(float(turn[0]), float(turn[1]), float(turn[2])),
            offset_lps=(float(place[0]), float(place[1]), float(place[2])),
            fat_mm=float(rng.uniform(8, 18)),
            organ_spread=0.04,
            unevenness_mm=float(rng.uniform(2, 3)),
        )

    def rng(self, topic: str) -> np.random.Generator:
        """A generator of its own for every topic, so that adding an organ does not change the others."""
        return np.random.default_rng((self.seed, zlib.crc32(topic.encode())))

    @property
    def template_from_lps(self) -> Affine:
        """LPS mm of the subject -> template mm."""
        linear = rotation(self.rotation_deg) * np.asarray(self.body_scale)
        return Affine.from_parts(linear, np.asarray(self.offset_lps)).invert()

    def size_and_place(self, organ: str) -> tuple[float, FloatArray]:
        """Relative size and shift (3,) in mm of one organ against the template."""
        rng = self.rng(organ)
        size = float(np.exp(rng.normal(0, self.organ_spread)).clip(0.85, 1.18))
        return size, np.asarray(rng.normal(0, 100 * self.organ_spread, 3).clip(-8, 8))


def rotation(degrees: Triple) -> FloatArray:
    """Rz Ry Rx, 3 x 3, for turns about x, y and z."""
    out = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        out = turn @ out
    return out
