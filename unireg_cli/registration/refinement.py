"""Diffeomorphic instance optimisation: small invertible steps composed from coarse to fine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unireg_cli.registration.alignment import View, coarser
from unireg_cli.registration.pull import Pull, shortened
from unireg_cli.similarity.measure import Measure, divisor
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.drawing import draw
from unireg_cli.spatial.filters import central_difference, gaussian, resize_displacement
from unireg_cli.spatial.sampling import index_lattice, sample_index
from unireg_cli.spatial.velocity import compose

# The moving image is drawn this much beyond the network grid on each side, so that tissue from outside can flow in.
_MARGIN = 0.12
# A level ends when the similarity has risen by less than this over so many steps.
_PATIENCE, _ENOUGH = 10, 1e-3
# What a voxel of distance from the user's guides counts beside the similarity, when a level's end is decided.
_VOXEL_OFF = 0.1


@dataclass(frozen=True, slots=True)
class Smoothing:
    """Regularity of the refinement at one scale, in its voxels: Gaussians of each velocity and of the total displacement."""

    velocity: float
    field: float


@dataclass(frozen=True, slots=True)
class Level:
    """One scale: its grid, the most steps taken there, and their smoothing."""

    grid: Grid
    steps: int
    smoothing: Smoothing


# Default smoothing, chosen on pairs of training images for overlap against log-Jacobian spread.
_COARSE, _FINEST = Smoothing(2.0, 0.9), Smoothing(1.4, 0.7)


class Scene:
    """A pair at one scale: fixed features on the level's grid, moving features on the same lattice with a margin."""

    def __init__(
        self, fixed: View, moving: View, affine: Affine, grid: Grid, measure: Measure, before: Callable[[Grid], Tensor] | None = None
    ) -> None:
        identity = Affine.identity()
        margin = [max(2, round(_MARGIN * n)) for n in grid.size]
        wide = grid.padded(margin, margin)
        values, known = moving.drawn(wide, affine, None if before is None else before(wide))
        self.comparison = measure.comparison
        self.fixed = measure.features(draw(fixed.values, fixed.grid, grid, identity)[0])
        self.fixed_weight = None if fixed.mask is None else draw(fixed.mask, fixed.grid, grid, identity)[0]
        everywhere = torch.ones_like(self.fixed[0]) if self.fixed_weight is None else self.fixed_weight
        self.possible = self.comparison.score(self.fixed, self.fixed, everywhere).attainable
        stack = torch.cat((measure.features(values), known[None]))
        # Channels last: all features of a voxel come from one cache line.
        self.moving = stack.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
        self.lattice = index_lattice(grid.shape, device=fixed.values.device)
        self.wide_lattice = self.lattice + self.lattice.new_tensor([float(m) for m in margin])

    def moved(self, displacement: Tensor) -> tuple[Tensor, Tensor]:
        """Moving features (C, D, H, W) at x + u(x), and where both images are known (D, H, W)."""
        read = sample_index(self.moving, self.wide_lattice + displacement.permute(1, 2, 3, 0))
        weight = read[-1] if self.fixed_weight is None else read[-1] * self.fixed_weight
        return read[:-1], weight

    def value(self, displacement: Tensor) -> float:
        """Similarity under ``displacement`` (3, D, H, W), voxels."""
        moved, weight = self.moved(displacement)
        score = self.comparison.score(self.fixed, moved, weight)
        return score.total / divisor(score, self.possible)

    def velocity(self, displacement: Tensor) -> tuple[float, Tensor]:
        """Similarity and its unsmoothed ascent direction for phi <- phi o (id + v): (3, D, H, W).

        The derivative by v is the derivative by the warped image times that image's own slope: no gradient goes
        through the sampling.
        """
        moved, weight = self.moved(displacement)
        score, by_voxel = self.comparison.score_and_gradient(self.fixed, moved, weight)
        value = score.total / divisor(score, self.possible)
        if len(moved) == 1:
            return value, central_difference(moved[0]).mul_(by_voxel)
        return value, torch.einsum("acdhw,cdhw->adhw", central_difference(moved), by_voxel)


class Blank:
    """A scale at which no image is looked at: only what pulls moves anything."""

    def __init__(self, grid: Grid, device: torch.device) -> None:
        self.lattice = index_lattice(grid.shape, device=device)

    def velocity(self, _displacement: Tensor) -> tuple[float, None]:
        """No similarity, no force; see :meth:`Scene.velocity`."""
        return 0.0, None


def plan_levels(grid: Grid, steps: tuple[int, ...], smoothness: float) -> list[Level]:
    """Scales from coarse to fine, voxels about ..., 4, 2 and 1 times the grid's smallest edge; ``steps`` coarsest first.

    ``smoothness`` 0 follows every detail, 0.5 is the default, 1 is very regular. The finest scale is smoothed least:
    there the large displacements are done and what is left is detail.

    Axes that are already coarser keep their voxels and no axis falls below 8 voxels (or its own size), so thin stacks
    and tiny crops keep what the filters need; a scale that would repeat its neighbour, or has no steps, is left out.
    """
    levels: list[Level] = []
    for n, count in enumerate(steps):
        factor = 2 ** (len(steps) - 1 - n)
        level = grid if factor == 1 else coarser(grid, spacing=min(grid.spacing) * factor)
        if not count:
            continue
        if levels and levels[-1].grid == level:
            levels.pop()
        smoothing = _FINEST if factor == 1 else _COARSE
        strength = 0.5 + smoothness
        levels.append(Level(level, count, Smoothing(strength * smoothing.velocity, strength * smoothing.field)))
    return levels or [Level(grid, 0, _FINEST)]


def refine(
    fixed: View,
    moving: View,
    affine: Affine,
    levels: list[Level],
    measure: Measure | None,
    report: Callable[[int, int], None],
    before: Callable[[Grid], Tensor] | None = None,
    pull: Callable[[Grid], Pull] | None = None,
) -> Tensor:
    """Displacement u (3, D, H, W) in voxels of the last level's grid that makes moving(A(x + u(x))) like fixed(x).

    ``before`` gives a displacement b that is already known, on any grid; then moving(A(y + b(y))), y = x + u(x), is made like fixed(x).
    So the smoothing of each step acts on what the refinement adds, and does not wear away what it was given.
    ``pull`` makes the force of structure maps and of the user's own guides at a scale, see :mod:`unireg_cli.registration.pull`;
    without a ``measure`` it is the only one.
    """
    total, done = sum(level.steps for level in levels), 0
    displacement = torch.zeros(3, *levels[0].grid.shape, device=fixed.values.device)
    for level in levels:
        blank = Blank(level.grid, fixed.values.device)
        scene = blank if measure is None else Scene(fixed, moving, affine, level.grid, measure, before)
        displacement = resize_displacement(displacement, level.grid.shape)
        for step in climb_level(scene, level, displacement, None if pull is None else pull(level.grid)):
            displacement = step
            done += 1
            report(done, total)
        done = sum(before.steps for before in levels[: levels.index(level) + 1])
    return displacement


def climb_level(scene: Scene | Blank, level: Level, displacement: Tensor, pull: Pull | None = None) -> Iterator[Tensor]:
    """The displacement after each step at one scale; ends early when the similarity stops rising.

    phi <- phi o (id + v), v scaled to a largest length that starts at one voxel and shrinks when a step overshoots:
    with |v| <= 1 voxel and its Gaussian smoothing every step is invertible. A ``pull`` is added in its own voxels, so that the
    guides, once reached, leave the images alone.
    """
    length, history = 1.0, [float("-inf")]
    widths = (level.smoothing.velocity,) * 3
    for _ in range(level.steps):
        value, force = scene.velocity(displacement)
        off, step = (0.0, None) if pull is None else pull.velocity(displacement, level.smoothing.velocity)
        value -= _VOXEL_OFF * off
        if value < history[-1]:
            length = max(0.7 * length, 0.2)
        history.append(value)
        if len(history) > _PATIENCE and value - history[-_PATIENCE] < _ENOUGH:
            return
        seen = None if force is None else _of_length(gaussian(force, widths), length)
        parts = [part for part in (seen, step) if part is not None]
        if not parts:
            return
        velocity = parts[0] if len(parts) == 1 else shortened(parts[0] + parts[1])
        displacement = compose(displacement, velocity, scene.lattice)
        displacement = gaussian(displacement, (level.smoothing.field,) * 3)
        yield displacement


def _of_length(velocity: Tensor, length: float) -> Tensor | None:
    """``velocity`` (3, D, H, W) with its longest vector of that length; None if it is zero."""
    longest = math.sqrt(float(velocity.square().sum(dim=0).amax()))
    return velocity.mul_(length / longest) if longest > 0 else None
