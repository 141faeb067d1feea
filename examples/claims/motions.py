"""Known smooth motions of one person: breathing, a heartbeat, a head that turns a little.

A motion maps a point of the *moving* image to the point of the fixed image that is seen there, so that the moving image is drawn by
reading the fixed one; the way back, which a registration has to find, is solved at the points where it is judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unireg_cli.spatial import Affine
from unireg_cli.types import AnyArray, FloatArray

# No two points come closer or drift apart by more than this share of their distance.
_STEEPEST = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Bump:
    """u(p) = (shift + (p - center) * growth) exp(-q / 2), q = |(p - center) / width|^2; LPS mm, ``growth`` has no unit."""

    center: FloatArray
    width: FloatArray
    shift: FloatArray
    growth: FloatArray

    def at(self, points: FloatArray) -> FloatArray:
        """Displacement at points (n, 3)."""
        apart = points - self.center
        weight = np.exp(-0.5 * np.square(apart / self.width).sum(axis=-1, keepdims=True))
        return np.asarray((self.shift + apart * self.growth) * weight)

    @property
    def steepness(self) -> float:
        """Bound of the norm of the derivative.

        The shift's part is at most |shift| exp(-1/2) / least width. The growth's part is at most growth (1 + r q) exp(-q / 2) with r the
        ratio of the widths, largest at q = 2 - 1 / r.
        """
        ratio = float(self.width.max() / self.width.min())
        q = 2 - 1 / ratio
        largest = float(np.abs(self.growth).max()) * (1 + ratio * q) * np.exp(-q / 2)
        return float(np.linalg.norm(self.shift) * np.exp(-0.5) / self.width.min() + largest)


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """Moving point -> fixed point: R(p + u(p)), R rigid, u a sum of bumps.

    Raises:
        ValueError: bumps that are so steep together that the map might fold.
    """

    rigid: Affine
    bumps: tuple[Bump, ...]

    def __post_init__(self) -> None:
        if self.steepness >= _STEEPEST:
            raise ValueError(f"the motion might fold: its slope may reach {self.steepness:.2f}, allowed is {_STEEPEST}")

    @property
    def steepness(self) -> float:
        """Bound of the slope of u."""
        return sum(bump.steepness for bump in self.bumps)

    def fixed_from_moving(self, points: AnyArray) -> FloatArray:
        """Points (..., 3), LPS mm."""
        flat = np.asarray(points, np.float64).reshape(-1, 3)
        moved = self.rigid.map(flat + sum((bump.at(flat) for bump in self.bumps), np.zeros_like(flat)))
        return moved.reshape(np.shape(points))

    def moving_from_fixed(self, points: AnyArray) -> FloatArray:
        """The truth for a registration: points (..., 3), LPS mm, to 1e-6 mm; Banach's fixed point of p = R^-1(x) - u(p)."""
        start = self.rigid.invert().map(np.asarray(points, np.float64).reshape(-1, 3))
        found = start.copy()
        for _ in range(400):
            closer = start - sum((bump.at(found) for bump in self.bumps), np.zeros_like(found))
            change = float(np.abs(closer - found).max(initial=0.0))
            found = closer
            if change < 1e-7:
                break
        return found.reshape(np.shape(points))


def breathing(dome: FloatArray, reach: FloatArray, random: np.random.Generator) -> Motion:
    """Inhaling: what is under the diaphragm moves down, most at its dome, less and less below: a smooth cranio-caudal compression.

    Args:
        dome: LPS mm, the top of the liver.
        reach: (3,) mm, extent of the image.
        random: how deep, and where exactly.
    """
    depth = random.uniform(9, 16)
    middle = np.array([0.5 * dome[0], dome[1], dome[2] - 10]) + random.uniform(-10, 10, 3)
    width = np.array([95.0, 95.0, random.uniform(42, 60)])
    # The moving image shows at a point what was above it before: from moving to fixed it goes up.
    down = Bump(middle, width, np.array([0.0, 0.0, depth]), np.zeros(3))
    belly = Bump(middle - [0, 60, 50], np.full(3, 55.0), np.array([0.0, random.uniform(2, 5), 0.0]), np.zeros(3))
    return Motion(_rigid(dome - 0.2 * reach, 1.5, 2.0, random), (down, belly))


def beating(center: FloatArray, radius: float, long_axis: FloatArray, random: np.random.Generator) -> Motion:
    """Systole: everything near the left ventricle is drawn towards its middle, across its long axis more than along it.

    Args:
        center: LPS mm, middle of the left ventricle.
        radius: mm, of the ventricle with its wall, in the short-axis plane.
        long_axis: unit vector.
        random: how strong.
    """
    strength = random.uniform(0.2, 0.3)
    # From moving to fixed the ventricle grows; along the axes of the scanner, which is near enough to the heart's own.
    growth = strength * (1 - 0.6 * np.abs(long_axis))
    squeeze = Bump(center, np.full(3, 1.2 * radius), np.zeros(3), growth)
    twist = Bump(center + random.normal(0, 0.5 * radius, 3), np.full(3, 1.5 * radius), random.normal(0, 0.05 * radius, 3), np.zeros(3))
    return Motion(_rigid(center, 2.0, 1.0, random), (squeeze, twist))


def head(center: FloatArray, reach: FloatArray, random: np.random.Generator) -> Motion:
    """A head lying otherwise, and tissue moved a little at three places; ``center`` and ``reach`` (3,) of the image, mm."""
    size = float(np.min(reach))
    bumps = []
    for _ in range(3):
        place = center + random.uniform(-0.25, 0.25, 3) * reach
        bumps.append(Bump(place, np.full(3, random.uniform(0.14, 0.2) * size), _shift(min(0.045 * size, 3.0), random), np.zeros(3)))
    return Motion(_rigid(center, 4.0, 0.03 * size, random), tuple(bumps))


def _shift(length: float, random: np.random.Generator) -> FloatArray:
    direction = random.normal(size=3)
    return np.asarray(direction / np.linalg.norm(direction) * length * random.uniform(0.7, 1.3))


def _rigid(center: FloatArray, degrees: float, shift_mm: float, random: np.random.Generator) -> Affine:
    """A turn about a random axis through ``center``, and a shift; both up to these sizes."""
    axis = random.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(random.uniform(-degrees, degrees))
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return Affine.from_parts(turn, random.uniform(-1, 1, 3) * shift_mm, center)
