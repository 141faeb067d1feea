"""Random views of a pair: where in space it is seen from, how it is bent, and how its intensities look."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from trainer.appearance import Appearance
from trainer.synthesis import Intensity, perturb
from unireg_cli.errors import UsageError
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.filters import resize
from unireg_cli.types import FloatArray


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Ranges of the random views. Angles in degrees; scales as a share; shifts as a share of the lattice's extent.

    ``view`` moves both images together, ``jitter`` the moving image against the fixed one, as an imperfect affine would.
    ``bend`` is the largest smooth displacement of the moving image, as a share of the lattice's extent.

    Raises:
        UsageError: a negative range, or one that is not a number.
    """

    view_angle: float = 10.0
    view_scale: float = 0.12
    view_shift: float = 0.04
    jitter_angle: float = 4.0
    jitter_scale: float = 0.05
    jitter_shift: float = 0.02
    bend: float = 0.02
    bend_probability: float = 0.3
    intensity_probability: float = 0.5
    intensity: Intensity = field(default_factory=Intensity)
    appearance_probability: float = 0.0
    """How often real images look as if another kind of scanner had taken them; both of a pair the same way half of the time."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            # Written so that NaN does not fit either.
            if name != "intensity" and not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"augmentation.{name} must not be negative or beyond all numbers, found {getattr(self, name)}")


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Where a lattice point is looked for: LPS maps (4 x 4) for both images, and a shift of the moving one in voxels of the lattice."""

    fixed: FloatArray
    moving: FloatArray
    shift: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """Draws views; ``known_motion`` bends always and by ``motion`` (share of the extent), and never jitters: the bend is the truth."""

    settings: Augmentation
    known_motion: bool = False
    motion: float = 0.05

    def place(self, grid: Grid, shape: tuple[int, int, int], generator: torch.Generator) -> Placed:
        """A random place for both images on a lattice of ``shape`` (padding included)."""
        s = self.settings
        middle = grid.lps_from_index @ np.append((np.asarray(grid.size) - 1) / 2, 1.0)
        extent = float(np.min(grid.extent_mm))
        view = random_affine(s.view_angle, s.view_scale, s.view_shift * extent, middle[:3], generator)
        if self.known_motion:
            return Placed(view, view, random_bend(shape, self.motion, generator))
        jitter = random_affine(s.jitter_angle, s.jitter_scale, s.jitter_shift * extent, middle[:3], generator)
        bent = uniform(generator) < s.bend_probability
        return Placed(view, view @ jitter, random_bend(shape, s.bend, generator) if bent else None)

    def looks(self, generator: torch.Generator) -> tuple[Appearance | None, Appearance | None]:
        """How two images of one scanner look now; None as they are."""
        probability = self.settings.appearance_probability
        # Where none is wanted no number is drawn.
        if not probability or uniform(generator) >= probability:
            return None, None
        first = Appearance.random(generator)
        return first, first if uniform(generator) < 0.5 else Appearance.random(generator)

    def seen(self, image: Tensor, generator: torch.Generator, look: Appearance | None = None) -> Tensor:
        """The image with this look and with random intensities, or as it is."""
        image = image if look is None else look.of(image)
        if uniform(generator) >= self.settings.intensity_probability:
            return image
        return perturb(image, generator, self.settings.intensity)


def uniform(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    """One number."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def random_affine(angle: float, scale: float, shift: float, middle: FloatArray, generator: torch.Generator) -> FloatArray:
    """4 x 4 in mm about ``middle``: rotation up to ``angle`` degrees about a random axis, scales, shifts."""
    axis = torch.randn(3, generator=generator).double().numpy()
    axis /= np.linalg.norm(axis)
    turn = np.deg2rad(uniform(generator, -angle, angle))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    rotation = np.eye(3) + np.sin(turn) * cross + (1 - np.cos(turn)) * cross @ cross
    stretch = np.exp((torch.rand(3, generator=generator).double().numpy() * 2 - 1) * scale)
    offset = (torch.rand(3, generator=generator).double().numpy() * 2 - 1) * shift
    return Affine.from_parts(rotation * stretch, offset, middle).matrix


def random_bend(shape: tuple[int, int, int], largest: float, generator: torch.Generator) -> Tensor:
    """A smooth random displacement (3, D, H, W), voxels, no longer than a random part of ``largest`` times the shortest edge.

    Control points on two coarse lattices, amplitudes falling with their spacing: the gradient stays below one half, so it can be inverted.
    """
    bend = torch.zeros(3, *shape)
    reach = largest * min(shape) * uniform(generator, 0.2, 1.0)
    for cells, weight in ((3, 1.0), (5, 0.5)):
        nodes = [min(n, cells + 1) for n in shape]
        knots = torch.randn(3, *nodes, generator=generator) * weight
        bend += resize(knots, shape)
    length = float(bend.square().sum(dim=0).amax()) ** 0.5
    return bend.mul_(reach / max(length, 1e-6))
