"""Rigid and affine alignment: several starts at a coarse scale, then a closed-form gradient from coarse to fine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unireg_cli.similarity.measure import Measure, divisor
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.drawing import draw, index_map, known_inside, map_lattice
from unireg_cli.spatial.filters import central_difference
from unireg_cli.spatial.sampling import index_lattice, sample_index
from unireg_cli.types import FloatArray, TransformKind

# Voxels of the fixed image looked at per scale, and L-BFGS iterations there.
_SCALES = (20_000, 100_000, 400_000)
_STEPS = (40, 30, 12)
# Starts that are climbed, best first.
_CLIMBED = 4


@dataclass(frozen=True, slots=True)
class View:
    """A normalised image: values (D, H, W) on a grid, and where the metric counts (1) or None for everywhere."""

    values: Tensor
    grid: Grid
    mask: Tensor | None = None


class Problem:
    """Similarity of a pair as a function of an affine at one scale.

    ``fixed`` is drawn on ``lattice_grid``; the moving image is drawn once on its own coarser grid and read at the
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
        by_index_map[:3] = (force @ places).double().cpu().numpy() / whole
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
        scaled = parameters[3:] / self.radius
        linear = rotation(scaled) if len(scaled) == 3 else np.eye(3) + scaled.reshape(3, 3)
        return Affine.from_parts(linear, parameters[:3], self.center)

    def derivative(self, parameters: FloatArray) -> FloatArray:
        """d (upper 3 x 4) / d parameters by central differences: (n, 3, 4); costs no image access."""
        step = 1e-4 * self.radius
        rows = []
        for n in range(len(parameters)):
            nudge = np.zeros_like(parameters)
            nudge[n] = step
            ahead, behind = self.affine(parameters + nudge).matrix, self.affine(parameters - nudge).matrix
            rows.append((ahead - behind)[:3] / (2 * step))
        return np.stack(rows)


def rotation(vector: FloatArray) -> FloatArray:
    """Rotation matrix about ``vector`` by its length in radians (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    # sin(a)/a and (1 - cos a)/a^2, both finite at 0.
    return np.asarray(np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * cross @ cross)


def climb(problem: Problem, start: Affine, pose: Pose, numbers: int, iterations: int) -> tuple[Affine, float]:
    """Best affine near ``start`` by L-BFGS over 6 or 12 pose numbers: x -> start(pose(x)); never worse than the start."""
    from scipy.optimize import minimize

    best = (problem.value(start), np.zeros(numbers))

    def cost(parameters: FloatArray) -> tuple[float, FloatArray]:
        nonlocal best
        change = pose.affine(parameters)
        value, by_matrix = problem.value_and_gradient(start.after(change))
        by_change = start.matrix[:3, :3].T @ by_matrix
        if value > best[0]:
            best = (value, parameters.copy())
        # Similarities change by hundredths over millimetres; L-BFGS's own tolerances expect numbers near 1.
        return -100 * value, -100 * np.einsum("nij,ij->n", pose.derivative(parameters), by_change)

    minimize(cost, np.zeros(numbers), jac=True, method="L-BFGS-B", options={"maxiter": iterations, "ftol": 1e-6, "maxls": 8})
    return start.after(pose.affine(best[1])), best[0]


def align(
    fixed: View, moving: View, starts: dict[str, Affine], kind: TransformKind, measure: Measure, report: Callable[[int, int], None]
) -> tuple[Affine, str]:
    """The best rigid or affine map of a pair and the name of the start it came from.

    Several starts are scored and climbed at the coarsest scale; the best goes on to finer scales, rigid before affine.
    The result is never less similar than the best start at the finest scale looked at.
    """
    coarse = Problem(fixed, moving, _SCALES[0], measure)
    center = fixed.grid.center_lps
    pose = Pose(center, float(np.linalg.norm(fixed.grid.extent_mm)) / 4)
    ranked = sorted(starts, key=lambda name: -coarse.value(starts[name]))
    climbed = {name: climb(coarse, starts[name], pose, 6, 20) for name in ranked[:_CLIMBED]}
    name = max(climbed, key=lambda key: climbed[key][1])
    affine = climbed[name][0]
    numbers = 6 if kind is TransformKind.RIGID else 12
    problem = coarse
    for step, voxels in enumerate(_SCALES):
        report(step, len(_SCALES))
        problem = coarse if step == 0 else Problem(fixed, moving, voxels, measure)
        affine = climb(problem, affine, pose, numbers, _STEPS[step])[0]
    best = max(ranked[:_CLIMBED], key=lambda key: problem.value(starts[key]))
    if problem.value(starts[best]) > problem.value(affine):
        return starts[best], f"{best} (kept: the search did not improve it)"
    return affine, name
