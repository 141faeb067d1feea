"""The true deformation between the two images of a phantom pair, known at every point together with its inverse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from unireg_cli.errors import UsageError
from unireg_cli.phantom.anatomy import rotation
from unireg_cli.spatial import Affine
from unireg_cli.types import AnyArray, FloatArray

# Points at once: bounds the temporaries to about 20 MB, which the caches like.
_CHUNK = 250_000


@dataclass(frozen=True, slots=True)
class Motion:
    """fixed point -> moving point, LPS mm: A(x + u(x)) with u a sum of Gaussian bumps.

    Args:
        affine: A.
        centers: (n, 3) mm.
        widths: (n, 3) standard deviations along x, y, z, mm.
        shifts: (n, 3) displacement at each centre, mm.

    Raises:
        UsageError: the bumps are so steep that the map might fold.
    """

    affine: Affine
    centers: FloatArray
    widths: FloatArray
    shifts: FloatArray

    def __post_init__(self) -> None:
        if self.slope_bound >= 0.95:
            raise UsageError(f"the phantom's motion might fold (slope bound {self.slope_bound:.2f}, must stay below 0.95): ask for less")

    @classmethod
    def random(cls, seed: int, amount: float = 1.0) -> Motion:
        """Breathing under the diaphragm, six soft random bumps, and a change of position; ``amount`` scales all of it."""
        rng = np.random.default_rng((seed, 202))
        centers = [(-60.0, -25.0, 40.0), (62.0, -15.0, 35.0), *rng.uniform((-110, -70, -130), (110, 50, 130), (6, 3))]
        widths = [(75.0, 75.0, 62.0), (70.0, 75.0, 60.0), *np.repeat(rng.uniform(45, 70, (6, 1)), 3, axis=1)]
        # Inhaling moves the liver down more than the spleen, and the belly forward a little.
        shifts = [(0.0, -3.0, -15.0), (0.0, -3.0, -9.0), *rng.normal(0, 3.2, (6, 3)).clip(-6, 6)]
        turn_x, turn_y, turn_z = amount * rng.uniform(-4, 4, 3)
        linear = rotation((float(turn_x), float(turn_y), float(turn_z))) @ np.diag(1 + amount * rng.uniform(-0.03, 0.03, 3))
        # Never a small shift: a pair that nearly fits to begin with shows nothing.
        shift = rng.uniform(0.6, 1, 3) * (16, 9, 18) * rng.choice((-1, 1), 3)
        affine = Affine.from_parts(linear, amount * shift)
        bumps = np.asarray(centers), np.asarray(widths), np.asarray(shifts)
        # Some draws pile up: softened until one and a half times the amount is still far from folding.
        bumps[2][:] *= min(1.0, 0.6 / _slope_bound(bumps[1], bumps[2]))
        return cls(affine, bumps[0], bumps[1], amount * bumps[2])

    @property
    def slope_bound(self) -> float:
        """No two points come closer or drift apart faster than this share of their distance; below 1 nothing folds."""
        return _slope_bound(self.widths, self.shifts)

    def displacement(self, points_lps: AnyArray) -> FloatArray:
        """u at points (..., 3), LPS mm."""
        points = np.ascontiguousarray(points_lps, np.float64)
        # |(p - c) / w|^2 multiplied out: two matrix products instead of an (N, n, 3) array.
        weights = 1 / self.widths**2
        square, linear = torch.from_numpy(-0.5 * weights.T), torch.from_numpy((self.centers * weights).T)
        constant, shifts = torch.from_numpy(-0.5 * (self.centers**2 * weights).sum(1)), torch.from_numpy(self.shifts)
        parts = []
        for part in torch.split(torch.from_numpy(points.reshape(-1, 3)), _CHUNK):
            exponent = torch.addmm(torch.addmm(constant, part.square(), square), part, linear)
            parts.append(exponent.exp_() @ shifts)
        return np.asarray(torch.cat(parts).numpy().reshape(points.shape), np.float64)

    def map(self, points_lps: AnyArray) -> FloatArray:
        """Fixed points (..., 3) -> moving points, LPS mm."""
        return self.affine.map(np.asarray(points_lps, np.float64) + self.displacement(points_lps))

    def invert(self, points_lps: AnyArray, tolerance_mm: float = 1e-7) -> FloatArray:
        """Moving points (..., 3) -> fixed points, LPS mm, to ``tolerance_mm``.

        Source:
            Banach's fixed point of x = A^-1(y) - u(x); it contracts by ``slope_bound`` with every sweep.
        """
        start = self.affine.invert().map(points_lps)
        points = start.copy()
        for _ in range(500):
            closer = start - self.displacement(points)
            moved = float(np.abs(closer - points).max(initial=0.0))
            points = closer
            if moved < tolerance_mm * (1 - self.slope_bound):
                break
        return points


def _slope_bound(widths: FloatArray, shifts: FloatArray) -> float:
    """The slope of exp(-t^2/2) is at most exp(-1/2), and bumps add up at worst."""
    return float(np.exp(-0.5) * (np.linalg.norm(shifts, axis=1) / widths.min(axis=1)).sum())
