"""Rigid and affine alignment: several starts at a coarse scale, then quasi-Newton steps from coarse to fine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unireg_cli.registration.ascent import maximise
from unireg_cli.similarity.measure import Measure, divisor
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.drawing import draw, index_map, known_inside, map_lattice
from unireg_cli.spatial.filters import central_difference
from unireg_cli.spatial.sampling import index_lattice, sample_index
from unireg_cli.types import FloatArray, TransformKind

# Voxels of the fixed image looked at per scale, and L-BFGS iterations there.
_SCALES = (20_000, 80_000, 300_000)
_STEPS = (30, 20, 8)
ENOUGH, FINEST = _SCALES[1:]
"""Voxels that are enough for an affine of two people which a network alone follows, and those of the finest scale: on tune pairs --fast
ends with the same Dice, within 0.0002, from both."""
# Starts that are climbed, best first.
_CLIMBED = 4
# A map that turns the images further than this against each other, degrees, contradicts their headers: it must be the best at the finest
# scale too, where organs and not the outline alone decide.
_UPRIGHT = 60.0
# By how much it must be better: of two maps that are as good, as of an image with a symmetry, the headers' is meant.
_CLEARLY = 1e-3
# No climb changes the volume by more than this factor; beyond it the search has lost itself (0: a flat map, below: a mirrored one).
_VOLUMES = (0.1, 10.0)
# A climb ends with the step that raises the similarity by less than this.
_ENOUGH = 1e-4
# Most times that features which follow the axes are drawn anew at one scale.
_REDRAWS = 4


@dataclass(frozen=True, slots=True)
class View:
    """A normalised image: values (D, H, W) on a grid, and where the metric counts (1) or None for everywhere."""

    values: Tensor
    grid: Grid
    mask: Tensor | None = None

    def drawn(self, grid: Grid, affine: Affine, displacement: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values on ``grid`` through ``affine`` (grid points -> points of this image), and where they count; both (D, H, W).

        A ``displacement`` (3, D, H, W), voxels of ``grid``, moves the grid's points before the affine does.
        """
        values, known = draw(self.values, self.grid, grid, affine, displacement)
        if self.mask is not None:
            known = known * draw(self.mask, self.grid, grid, affine, displacement)[0]
        return values, known


class Problem:
    """Similarity of a pair as a function of an affine at one scale.

    ``fixed`` is drawn on ``grid``; the moving image is drawn once on its own coarser grid and read at the
    mapped points together with its slopes, so that one evaluation costs one sampling.
    """

    def __init__(self, fixed: View, moving: View, voxels: int, measure: Measure) -> None:
        self.grid = coarser(fixed.grid, voxels)
        self.moving_grid = coarser(moving.grid, spacing=min(self.grid.spacing))
        identity = Affine.identity()
        self.comparison = measure.comparison
        self.fixed = measure.features(draw(fixed.values, fixed.grid, self.grid, identity)[0])
        self.fixed_mask = None if fixed.mask is None else draw(fixed.mask, fixed.grid, self.grid, identity)[0]
        everywhere = torch.ones_like(self.fixed[0]) if self.fixed_mask is None else self.fixed_mask
        self.possible = self.comparison.score(self.fixed, self.fixed, everywhere).attainable
        features = measure.features(draw(moving.values, moving.grid, self.moving_grid, identity)[0])
        channels = [features, central_difference(features).flatten(0, 1)]
        if moving.mask is not None:
            channels.append(draw(moving.mask, moving.grid, self.moving_grid, identity)[0][None])
        # Channels last: the four values of a voxel are read together.
        self.channels = torch.cat(channels).permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
        self.lattice = index_lattice(self.grid.shape, device=fixed.values.device)

    def value(self, affine: Affine) -> float:
        """Similarity under ``affine``."""
        moved, weight, _ = self._read(affine)
        score = self.comparison.score(self.fixed, moved, weight)
        return score.total / divisor(score, self.possible)

    def value_and_gradient(self, affine: Affine) -> tuple[float, FloatArray]:
        """Similarity and its derivative by the upper 3 x 4 of the matrix (LPS mm)."""
        moved, weight, slopes = self._read(affine)
        score, by_voxel = self.comparison.score_and_gradient(self.fixed, moved, weight)
        whole = divisor(score, self.possible)
        force = (slopes * by_voxel).sum(dim=1).reshape(3, -1)
        places = torch.cat((self.lattice.reshape(-1, 3), torch.ones_like(self.lattice.reshape(-1, 3)[:, :1])), dim=1)
        # d value / d (index map); chain rule through index_from_lps A lps_from_index on both sides.
        by_index_map = np.zeros((4, 4))
        by_index_map[:3] = (force @ places).cpu().double().numpy() / whole
        by_matrix = self.moving_grid.index_from_lps.T @ by_index_map @ self.grid.lps_from_index.T
        return score.total / whole, by_matrix[:3]

    def _read(self, affine: Affine) -> tuple[Tensor, Tensor, Tensor]:
        index = map_lattice(self.lattice, index_map(self.moving_grid, self.grid, affine))
        read = sample_index(self.channels, index)
        weight = known_inside(index, self.moving_grid.size)
        if self.fixed_mask is not None:
            weight = weight * self.fixed_mask
        count = len(self.fixed)
        if len(read) > 4 * count:
            weight = weight * read[-1]
        return read[:count], weight, read[count : 4 * count].reshape(3, count, *self.grid.shape)


def coarser(grid: Grid, voxels: int | None = None, spacing: float | None = None) -> Grid:
    """The same field of view with at most about ``voxels`` voxels or at least about ``spacing`` mm, finest axes coarsened first."""
    size, extent = np.asarray(grid.size), grid.extent_mm
    if spacing is None:
        low, high = min(grid.spacing), float(extent.max())
        for _ in range(40):
            spacing = (low * high) ** 0.5
            count = np.prod(np.minimum(size, np.maximum(np.round(extent / spacing), np.minimum(size, 8))))
            low, high = (spacing, high) if count > (voxels or grid.voxels) else (low, spacing)
        spacing = high
    counts = np.minimum(size, np.maximum(np.round(extent / spacing), np.minimum(size, 8))).astype(int)
    return grid.resized(counts.tolist())


@dataclass(frozen=True, slots=True)
class Pose:
    """Numbers in mm that describe a map about a centre: 3 shifts and a rotation vector (6), or 3 shifts and 9 matrix entries (12).

    Angles and matrix entries are multiplied by ``radius`` so that a unit of any number moves the image's rim by about 1 mm.
    """

    center: FloatArray
    radius: float

    def affine(self, parameters: FloatArray) -> Affine:
        """x -> c + shift + L (x - c), LPS mm."""
        return Affine.from_parts(self._linear(parameters[3:]), parameters[:3], self.center)

    def derivative(self, parameters: FloatArray) -> FloatArray:
        """d (upper 3 x 4) / d parameters: (n, 3, 4); of a rotation vector by central differences, which cost no image access."""
        rows = np.zeros((len(parameters), 3, 4))
        rows[range(3), range(3), 3] = 1
        step = 1e-4 * self.radius
        for n in range(3, len(parameters)):
            nudge = np.zeros_like(parameters)
            nudge[n] = step
            ahead, behind = self._linear((parameters + nudge)[3:]), self._linear((parameters - nudge)[3:])
            linear = (ahead - behind) / (2 * step)
            rows[n, :, :3], rows[n, :, 3] = linear, -linear @ self.center
        return rows

    def _linear(self, numbers: FloatArray) -> FloatArray:
        scaled = numbers / self.radius
        return rotation(scaled) if len(scaled) == 3 else np.eye(3) + scaled.reshape(3, 3)


def rotation(vector: FloatArray) -> FloatArray:
    """Rotation matrix about ``vector`` by its length in radians (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    # sin(a)/a and (1 - cos a)/a^2, both finite at 0.
    return np.asarray(np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * cross @ cross)


def climb(problem: Problem, start: Affine, pose: Pose, numbers: int, iterations: int) -> tuple[Affine, float]:
    """Best affine near ``start`` over 6 or 12 pose numbers: x -> start(pose(x)); never worse than the start."""

    def objective(parameters: FloatArray) -> tuple[float, FloatArray]:
        change = pose.affine(parameters)
        value, by_matrix = problem.value_and_gradient(start.after(change))
        by_change = start.matrix[:3, :3].T @ by_matrix
        return value, np.einsum("nij,ij->n", pose.derivative(parameters), by_change)

    parameters, value = maximise(objective, np.zeros(numbers), iterations, _ENOUGH)
    return start.after(pose.affine(parameters)), value


class Search:
    """Climbs of one pair at several scales.

    Where features follow the grid's axes (MIND) they are wrong once the image turns: such a moving image is redrawn
    through the affine found so far, and the rest is climbed from there.
    """

    def __init__(self, fixed: View, moving: View, measure: Measure) -> None:
        self.fixed, self.moving, self.measure = fixed, moving, measure
        self.pose = Pose(fixed.grid.center_lps, float(np.linalg.norm(fixed.grid.extent_mm)) / 4)
        self._problem: tuple[int, Problem] | None = None

    def value(self, affine: Affine, voxels: int) -> float:
        """Similarity under ``affine`` at the scale of about ``voxels`` voxels."""
        if self.measure.oriented:
            return self._redrawn(affine, voxels).value(Affine.identity())
        return self._native(voxels).value(affine)

    def climb(self, affine: Affine, numbers: int, voxels: int, steps: int) -> tuple[Affine, float]:
        """The best affine near ``affine`` and its similarity; never worse than ``affine``, which is kept where the search loses itself."""
        found, value = self._climb(affine, numbers, voxels, steps)
        before, after = (float(np.linalg.det(one.matrix[:3, :3])) for one in (affine, found))
        if _VOLUMES[0] < after / before < _VOLUMES[1]:
            return found, value
        return affine, self.value(affine, voxels)

    def _climb(self, affine: Affine, numbers: int, voxels: int, steps: int) -> tuple[Affine, float]:
        if not self.measure.oriented:
            return climb(self._native(voxels), affine, self.pose, numbers, steps)
        value = self.value(affine, voxels)
        for _ in range(_REDRAWS):
            change, _ = climb(self._redrawn(affine, voxels), Affine.identity(), self.pose, numbers, steps)
            trial = affine.after(change)
            gained = self.value(trial, voxels)
            if gained <= value:
                break
            affine, value = trial, gained
        return affine, value

    def _native(self, voxels: int) -> Problem:
        if self._problem is None or self._problem[0] != voxels:
            self._problem = voxels, Problem(self.fixed, self.moving, voxels, self.measure)
        return self._problem[1]

    def _redrawn(self, affine: Affine, voxels: int) -> Problem:
        grid = coarser(self.fixed.grid, voxels)
        margin = [max(2, n // 6) for n in grid.size]
        wide = grid.padded(margin, margin)
        values, known = self.moving.drawn(wide, affine)
        return Problem(self.fixed, View(values, wide, known), voxels, self.measure)


def align(
    fixed: View,
    moving: View,
    starts: dict[str, Affine],
    kind: TransformKind,
    measure: Measure,
    report: Callable[[int, int], None],
    most: int = FINEST,
) -> tuple[Affine, str]:
    """The best rigid or affine map of a pair and the name of the start it came from.

    Several starts are scored and climbed at the coarsest scale; the best goes on to finer scales, rigid before affine. Where that one
    turns the images against their headers, the best of the others goes along, and the finest scale decides.
    The result is never less similar than the best start at the finest scale looked at, which has about ``most`` voxels or fewer.
    """
    search = Search(fixed, moving, measure)
    # A scale that a coarser one already shows in full would be the same problem again.
    useful = [n for n, voxels in enumerate(_SCALES) if n == 0 or (_SCALES[n - 1] < fixed.grid.voxels and voxels <= most)]
    scales = [(_SCALES[n], _STEPS[n]) for n in useful]
    finest = scales[-1][0]
    ordered = sorted(starts, key=lambda name: -search.value(starts[name], _SCALES[0]))
    ranked = ordered[:_CLIMBED]
    if not any(_is_upright(starts[name]) for name in ranked):
        ranked += [name for name in ordered if _is_upright(starts[name])][:1]
    climbed = {name: search.climb(starts[name], 6, _SCALES[0], 15) for name in ranked}
    followed = _worth_following(climbed)
    numbers, total = 6 if kind is TransformKind.RIGID else 12, len(followed) * len(scales)
    found: dict[str, tuple[Affine, float]] = {}
    for name in followed:
        affine, value = climbed[name]
        for voxels, steps in scales:
            report(len(found) * len(scales) + scales.index((voxels, steps)), total)
            affine, value = search.climb(affine, numbers, voxels, steps)
        found[name] = affine, value
    name = max(found, key=lambda key: found[key][1] + (_CLEARLY if _is_upright(found[key][0]) else 0.0))
    untouched = {key: search.value(starts[key], finest) for key in ranked}
    kept = max(untouched, key=lambda key: untouched[key])
    if untouched[kept] > found[name][1]:
        return starts[kept], f"{kept} (kept: the search did not improve it)"
    return found[name][0], name


def _worth_following(climbed: dict[str, tuple[Affine, float]]) -> list[str]:
    """The most similar of the climbed starts, and the most similar upright one if that is another."""
    ranked = sorted(climbed, key=lambda name: -climbed[name][1])
    upright = [name for name in ranked if _is_upright(climbed[name][0])]
    return list(dict.fromkeys([ranked[0], *upright[:1]]))


def _is_upright(affine: Affine) -> bool:
    """Whether a rigid map turns by no more than ``_UPRIGHT``; the trace of a rotation is 1 + 2 cos(angle)."""
    return float(np.trace(affine.matrix[:3, :3])) >= 1 + 2 * math.cos(math.radians(_UPRIGHT))
