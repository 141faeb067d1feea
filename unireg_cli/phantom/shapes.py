"""Organs as shapes: superellipsoids and tubes along curves, in template millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unireg_cli.phantom.anatomy import Triple, rotation
from unireg_cli.phantom.canvas import Canvas, Region, box_around
from unireg_cli.phantom.tissue import Material
from unireg_cli.types import AnyArray, FloatArray


@dataclass(frozen=True, slots=True)
class Blob:
    """A superellipsoid: sum |q / semi|^exponent < 1 in its own turned frame."""

    center: Triple
    semi: Triple
    material: Material
    label: int | None
    degrees: Triple = (0.0, 0.0, 0.0)
    exponent: float = 2.0
    region: Region | None = None
    over: Material | None = None

    def paint(self, canvas: Canvas) -> None:
        """Paint itself."""
        turn = rotation(self.degrees)
        semi = np.asarray(self.semi)
        # The box of the turned bounding brick: safe for any exponent.
        reach = np.abs(turn) @ semi
        center = np.asarray(self.center)
        # The sum of powers is |M (p - c)|^e with rows of M the axes over their half lengths.
        matrix, place = (turn.T / semi[:, None]).astype(np.float32), center.astype(np.float32)

        def inside(x: AnyArray, y: AnyArray, z: AnyArray) -> AnyArray:
            total = np.zeros_like(x)
            dx, dy, dz = x - place[0], y - place[1], z - place[2]
            for row in matrix:
                along = dx * row[0] + dy * row[1] + dz * row[2]
                total += along * along if self.exponent == 2 else np.abs(along) ** np.float32(self.exponent)
            return np.asarray(total < 1)

        canvas.paint(center - reach, center + reach, inside, self.material, label=self.label, region=self.region, over=self.over)


@dataclass(frozen=True, slots=True)
class Tube:
    """Capsules along a curve; ``points`` (n, 3) and ``radii`` (n,) in mm.

    With ``filling`` the outer ``wall_mm`` are ``material`` and the lumen is the filling, with gas floating on top of it
    (the patient lies on the back) in the share ``gas`` of the segments.
    """

    points: FloatArray
    radii: FloatArray
    material: Material
    label: int | None
    region: Region | None = None
    over: Material | None = None
    filling: Material | None = None
    wall_mm: float = 2.5
    gas: float = 0.0

    def paint(self, canvas: Canvas) -> None:
        """Paint itself: all of the wall first, so that no joint has a wall across the lumen."""
        if canvas.window(*box_around(self.points, float(self.radii.max()))) is None:
            return
        for n in range(len(self.points) - 1):
            self._segment(canvas, n, 0.0, self.material, self.region, self.over)
        if self.filling is None:
            return
        for n in range(len(self.points) - 1):
            self._segment(canvas, n, self.wall_mm, self.filling, self.region, self.material)
        gassy = round(self.gas * (len(self.points) - 1))
        for n in range(gassy):
            self._segment(canvas, n, self.wall_mm, Material.GAS, self.region, self.filling, floating=True)

    def _segment(
        self,
        canvas: Canvas,
        n: int,
        inset: float,
        material: Material,
        region: Region | None,
        over: Material | None,
        *,
        floating: bool = False,
    ) -> None:
        start, axis = self.points[n].astype(np.float32), (self.points[n + 1] - self.points[n]).astype(np.float32)
        first, last = np.float32(self.radii[n] - inset), np.float32(self.radii[n + 1] - inset)
        length = np.float32(max(float(axis @ axis), 1e-6))
        low, high = box_around(self.points[n : n + 2], float(max(first, last)))

        def inside(x: AnyArray, y: AnyArray, z: AnyArray) -> AnyArray:
            dx, dy, dz = x - start[0], y - start[1], z - start[2]
            along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / length, np.float32(0), np.float32(1))
            dx -= along * axis[0]
            dy -= along * axis[1]
            dz -= along * axis[2]
            radius = along * (last - first) + first
            hit = dx * dx + dy * dy + dz * dz < radius * radius
            # On a patient on the back the top is the front: -y.
            return np.asarray(hit & (dy < np.float32(-0.15) * first) if floating else hit)

        canvas.paint(low, high, inside, material, label=self.label, region=region, over=over)


Shape = Blob | Tube
Knots = AnyArray | Sequence[Sequence[float]]


def curve(knots: Knots, count: int) -> FloatArray:
    """``count`` points along a smooth curve through the knots (n, 3 or more columns)."""
    from scipy.interpolate import PchipInterpolator

    given = np.asarray(knots, np.float64)
    steps = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(given[:, :3], axis=0), axis=1))])
    return np.asarray(PchipInterpolator(steps, given)(np.linspace(0, steps[-1], count)))


def tree(
    rng: np.random.Generator, root: Triple, center: Triple, semi: Triple, branches: tuple[int, ...], radii: tuple[float, ...]
) -> list[FloatArray]:
    """Vessels that spread from a root into an ellipsoid: rows x, y, z, radius of the two ends, arrays (2, 4)."""
    middle, size = np.asarray(center), np.asarray(semi)
    ends: list[tuple[FloatArray, FloatArray]] = [(np.asarray(root, np.float64), middle)]
    segments = []
    for depth, count in enumerate(branches):
        grown = []
        for origin, target in ends:
            for _ in range(count):
                # Each generation aims at a point nearer to its own corner of the organ.
                aim = target + rng.uniform(-1, 1, 3) * size * 0.95 / (depth + 1) ** 0.8
                tip = origin + (aim - origin) * rng.uniform(0.45, 0.7)
                thin = radii[min(depth + 1, len(radii) - 1)]
                segments.append(np.array([[*origin, radii[depth]], [*tip, thin]]))
                grown.append((tip, aim))
        ends = grown
    return segments
