"""One subject being painted: named shapes on a block of voxels, a little different for every subject."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from torch import Tensor

from unireg_cli.model.anatomy import vocabulary
from unireg_cli.phantom.anatomy import Anatomy, Triple
from unireg_cli.phantom.canvas import Canvas, Inside, Window
from unireg_cli.phantom.shapes import Blob, Knots, Tube, curve
from unireg_cli.phantom.tissue import LABELS, Material
from unireg_cli.phantom.torso import Torso
from unireg_cli.types import AnyArray, FloatArray

SIDES = (("left", 1.0), ("right", -1.0))
"""Names of the sides and the sign of their LPS x."""

FILLERS = ("skin", "subcutaneous_fat", "body_wall_muscle", "visceral_fat", "airway")
"""What fills the space between the structures: painted, but no structure of the vocabulary."""

# Relative spread of sizes, and of places against the size.
_SIZE_SPREAD = 0.09
_PLACE_SPREAD = 0.12
_LIMIT = 2.0
# Waves that make surfaces uneven, and the span of their lengths.
_WAVES = 6
_WAVE_MM = (45.0, 140.0)
# A block's labels are uint8.
_LAST_NUMBER = 255


@cache
def label_value(name: str) -> int:
    """The label value of a structure or filler, the same in all phantoms, so that scans may share a contrast.

    Raises:
        ValueError: neither a structure of the vocabulary nor a filler.
    """
    if name in FILLERS:
        return vocabulary().size + 1 + FILLERS.index(name)
    id = vocabulary().structure_id(name)
    if id is None:
        raise ValueError(f"{name!r} is no structure of the vocabulary")
    return id + 1


@dataclass(slots=True)
class Scene:
    """A block of voxels and whose body it is; template mm are LPS before turns, scales and unevenness."""

    canvas: Canvas
    anatomy: Anatomy
    missing: frozenset[str] = frozenset()
    """Structures that this subject does not have."""
    _local: dict[str, int] = field(default_factory=dict)
    """Number of each name in this block's labels."""

    @classmethod
    def blank(cls, anatomy: Anatomy, points_lps: FloatArray, missing: Iterable[str] = ()) -> Scene:
        """Nothing painted yet at points (D, H, W, 3), LPS mm."""
        matrix = torch.from_numpy(anatomy.template_from_lps.matrix.astype(np.float32))
        given = torch.from_numpy(points_lps.astype(np.float32)).reshape(-1, 3)
        position = _uneven(anatomy, torch.addmm(matrix[:3, 3], given, matrix[:3, :3].T))
        x, y, z = (column.reshape(points_lps.shape[:-1]).contiguous() for column in position.unbind(1))
        return cls(Canvas(x, y, z), anatomy, frozenset(missing))

    @classmethod
    def torso(cls, anatomy: Anatomy, points_lps: FloatArray, missing: Iterable[str] = ()) -> Scene:
        """The torso of a subject at points (D, H, W, 3), LPS mm, for more to be painted into."""
        return cls(Torso(anatomy).paint(points_lps), anatomy, frozenset(missing), dict(LABELS))

    def ids(self, name: str) -> int:
        """The number of a structure or filler in this block's labels."""
        label_value(name)
        if name not in self._local:
            taken = max(self._local.values(), default=0)
            if taken >= _LAST_NUMBER:
                raise ValueError(f"{name}: a block holds no more than {_LAST_NUMBER} labels")
            self._local[name] = taken + 1
        return self._local[name]

    def chance(self, topic: str, probability: float) -> bool:
        """Whether this subject is one of those; always the same answer for one subject and topic."""
        return bool(self.anatomy.rng(topic).random() < probability)

    def blob(
        self,
        name: str,
        center: Triple,
        semi: Triple,
        material: Material,
        *,
        degrees: Triple = (0.0, 0.0, 0.0),
        exponent: float = 2.0,
        over: Material | None = None,
    ) -> None:
        """Paint a superellipsoid: centre and half lengths in template mm."""
        if name in self.missing:
            return
        size, shift = self._own(name)
        place = np.asarray(center) + shift * np.cbrt(np.prod(semi))
        half = np.asarray(semi) * size
        Blob(_triple(place), _triple(half), material, self.ids(name), degrees, exponent, None, over).paint(self.canvas)

    def tube(
        self,
        name: str,
        knots: Knots,
        material: Material,
        count: int = 12,
        *,
        over: Material | None = None,
    ) -> None:
        """Paint a tube through knots of x, y, z, radius, in template mm."""
        if name in self.missing:
            return
        size, shift = self._own(name)
        path = curve(knots, count)
        points = path[:, :3] + shift * float(path[:, 3].mean())
        Tube(points, path[:, 3] * size, material, self.ids(name), None, over).paint(self.canvas)

    def blobs(
        self, name: str, center: Triple, semi: Triple, material: Material, *, degrees: Triple = (0.0, 0.0, 0.0), exponent: float = 2.0,
        over: Material | None = None,
    ) -> None:  # fmt: skip
        """Paint a blob on the left as given, and its mirror image on the right."""
        for side, sign in SIDES:
            place, turn = (sign * center[0], center[1], center[2]), (degrees[0], sign * degrees[1], sign * degrees[2])
            self.blob(f"{name}_{side}", place, semi, material, degrees=turn, exponent=exponent, over=over)

    def tubes(self, name: str, knots: Knots, material: Material, count: int = 12, *, over: Material | None = None) -> None:
        """Paint a tube on the left as given, and its mirror image on the right."""
        for side, sign in SIDES:
            mirrored = np.asarray(knots, np.float64) * (sign, 1, 1, 1)
            self.tube(f"{name}_{side}", mirrored, material, count, over=over)

    def fill(self, name: str, box: tuple[Triple, Triple], inside: Inside, material: Material, *, over: Material | None = None) -> None:
        """Paint where a condition holds inside a box of template mm, (low, high)."""
        if name not in self.missing:
            low, high = np.asarray(box[0]), np.asarray(box[1])
            self.canvas.paint(low, high, inside, material, label=self.ids(name), over=over)

    @property
    def air(self) -> AnyArray:
        """Where nothing is painted so far, bool (D, H, W)."""
        return np.asarray(self.canvas.labels.numpy() == 0)

    def clear(self, where: AnyArray) -> None:
        """Take away what was painted at some voxels, bool (D, H, W)."""
        self.canvas.labels.numpy()[where] = 0
        self.canvas.materials.numpy()[where] = int(Material.AIR)

    def window(self, low: Triple, high: Triple) -> Window | None:
        """The part of the block that may touch a box of template mm."""
        return self.canvas.window(np.asarray(low), np.asarray(high))

    def ripples(self, topic: str, wavelengths: tuple[float, float], position: tuple[AnyArray, AnyArray, AnyArray]) -> AnyArray:
        """Smooth noise of unit variance at template positions, wavelengths in mm."""
        rng = self.anatomy.rng(topic)
        count = 8
        heading = rng.normal(size=(count, 3))
        heading *= (2 * np.pi / rng.uniform(*wavelengths, count) / np.linalg.norm(heading, axis=1))[:, None]
        phases = rng.uniform(0, 2 * np.pi, count)
        total = np.zeros(position[0].shape, np.float32)
        for (a, b, c), phase in zip(heading.astype(np.float32), phases.astype(np.float32), strict=True):
            total += np.sin(a * position[0] + b * position[1] + c * position[2] + phase)
        return np.asarray(total * np.float32((2 / count) ** 0.5))

    def finished(self) -> tuple[AnyArray, dict[int, int]]:
        """Label values (D, H, W) int16, and the structure id of each value that was painted and is a structure."""
        table = np.zeros(256, np.int16)
        labels = self.canvas.labels.numpy()
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
        names = {local: name for name, local in self._local.items()}
        found: dict[int, int] = {}
        for local in present[present > 0]:
            name = names[int(local)]
            name = "visceral_fat" if name in self.missing else name
            table[local] = label_value(name)
            if name not in FILLERS:
                found[int(table[local])] = int(table[local]) - 1
        return table[labels], found

    def _own(self, name: str) -> tuple[float, FloatArray]:
        """Relative size of this subject's structure, and its shift (3,) in parts of its size; fillers keep to the template."""
        if name in FILLERS:
            return 1.0, np.zeros(3)
        rng = self.anatomy.rng(f"scene {name}")
        size = float(np.exp(_SIZE_SPREAD * np.clip(rng.normal(), -_LIMIT, _LIMIT)))
        return size, np.asarray(_PLACE_SPREAD * rng.normal(size=3).clip(-_LIMIT, _LIMIT))


def _uneven(anatomy: Anatomy, position: Tensor) -> Tensor:
    """Positions (N, 3) in mm moved by waves of at most ``unevenness_mm``, so that no surface is perfect."""
    rng = anatomy.rng("waves")
    heading = rng.normal(size=(_WAVES, 3))
    heading *= (2 * np.pi / rng.uniform(*_WAVE_MM, _WAVES) / np.linalg.norm(heading, axis=1))[:, None]
    bumps = rng.normal(size=(_WAVES, 3))
    bumps *= anatomy.unevenness_mm / _WAVES / np.linalg.norm(bumps, axis=1, keepdims=True)
    directions, phases, shifts = (
        torch.from_numpy(values.astype(np.float32)) for values in (heading.T, rng.uniform(0, 2 * np.pi, _WAVES), bumps)
    )
    return torch.addmm(position, torch.addmm(phases, position, directions).sin_(), shifts)


def _triple(values: AnyArray) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])
