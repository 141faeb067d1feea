"""Landmark pairs of the user: checked, spread over space, and measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unireg_cli.errors import InputError, UsageError
from unireg_cli.spatial import Grid, Image
from unireg_cli.spatial.sampling import inside_buffer, sample_index
from unireg_cli.spatial.velocity import compose, integrate
from unireg_cli.types import FloatArray

# Reaches tried for the spline, as shares of the landmarks' largest extent, and the noise in it as a share of the signal.
_REACHES, _NOISES = (0.5, 0.35, 0.25, 0.18, 0.125), (0.03, 0.1, 0.3)
# Times that the spline is fitted to what is left and composed.
_ROUNDS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Places that correspond, row by row, LPS mm: (N, 3) each.

    ``weights`` (N,): 1 is ordinary trust, 4 is half the error, 0 does not steer and is only measured.
    """

    fixed_lps: FloatArray
    moving_lps: FloatArray
    weights: FloatArray
    names: tuple[str, str] = ("fixed points", "moving points")
    """What messages call the two lists, usually file names."""

    def __post_init__(self) -> None:
        if self.fixed_lps.shape != self.moving_lps.shape:
            raise InputError(
                f"{self.names[0]} has {len(self.fixed_lps)} points and {self.names[1]} {len(self.moving_lps)}; "
                "landmarks are pairs: give both the same points in the same order"
            )
        if len(self.weights) != len(self.fixed_lps) or not (self.weights >= 0).all() or not self.weights.any():
            raise UsageError(f"{self.names[0]}: weights must be one number a point, 0 or more, and not all 0")

    @property
    def steering(self) -> np.ndarray:
        """(N,) bool: which landmarks steer."""
        return np.asarray(self.weights > 0)


def check_landmarks(landmarks: Landmarks, fixed: Image, moving: Image) -> None:
    """Every landmark lies in its image.

    Raises:
        InputError: names the first that does not.
    """
    sides = ((landmarks.fixed_lps, fixed, landmarks.names[0]), (landmarks.moving_lps, moving, landmarks.names[1]))
    for points, image, name in sides:
        matrix = image.grid.index_from_lps
        index = points @ matrix[:3, :3].T + matrix[:3, 3]
        outside = np.flatnonzero(~inside_buffer(index, image.grid.size))
        if len(outside):
            number = int(outside[0])
            place = ", ".join(f"{value:.1f}" for value in points[number])
            more = f" (and {len(outside) - 1} more)" if len(outside) > 1 else ""
            raise InputError(f"{name}: point {number + 1} at ({place}) mm LPS{more} lies outside {image.name}; check --space")


def spread(places: Tensor, values: Tensor, weights: Tensor, sigma: tuple[float, ...], shape: tuple[int, int, int]) -> Tensor:
    """Values (N, 3) at ``places`` (N, 3; voxels, x y z) over a lattice: sum(w g v) / (1 + sum(w g)), g a Gaussian; (3, D, H, W)."""
    content = torch.cat((values, torch.ones_like(values[:, :1])), dim=1) * weights[:, None]
    volumes = sum_of_gaussians(places, content, sigma, shape)
    return volumes[:3] / (1 + volumes[3])


def sum_of_gaussians(places: Tensor, values: Tensor, sigma: tuple[float, ...], shape: tuple[int, int, int]) -> Tensor:
    """Values (N, C) times Gaussians of ``sigma`` (x, y, z voxels) at ``places`` (N, 3; voxels), on a lattice: (C, D, H, W)."""
    factors = []
    for axis in range(3):
        line = torch.arange(shape[2 - axis], device=places.device, dtype=places.dtype)
        factors.append(torch.exp(-0.5 * ((line[None] - places[:, axis, None]) / sigma[axis]) ** 2))
    plane = (factors[2][:, :, None] * factors[1][:, None, :]).flatten(1)
    row = values[:, :, None] * factors[0][:, None, :]
    # One matrix product makes all volumes.
    volumes = (plane.T @ row.flatten(1)).reshape(shape[0], shape[1], values.shape[1], shape[2])
    return volumes.permute(2, 0, 1, 3).contiguous()


def as_index(points_lps: FloatArray, grid: Grid, device: torch.device) -> Tensor:
    """Points (N, 3), LPS mm, as voxels of a grid, float32."""
    matrix = grid.index_from_lps
    return torch.from_numpy((points_lps @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32)).to(device)


def moved_points(points_lps: FloatArray, displacement: Tensor, grid: Grid) -> FloatArray:
    """Points (N, 3), LPS mm, moved by a displacement in voxels of ``grid``."""
    index = as_index(points_lps, grid, displacement.device)
    return points_lps + sample_index(displacement, index).T.cpu().double().numpy() @ grid.lps_from_index[:3, :3].T


def pulled_back(points_lps: FloatArray, before: Callable[[Grid], Tensor], grid: Grid, sweeps: int = 30) -> FloatArray:
    """y with y + b(y) = point, for points (N, 3), LPS mm, by fixed-point iteration on ``grid``."""
    displacement = before(grid)
    found = points_lps.copy()
    for _ in range(sweeps):
        found = found + 0.7 * (points_lps - moved_points(found, displacement, grid))
    return found


def spline(landmarks: Landmarks, targets_lps: FloatArray, before: Tensor | None, grid: Grid, device: torch.device) -> Tensor:
    """A smooth invertible displacement w (3, D, H, W), voxels of ``grid``, that brings x + w(x), and then ``before``, near the targets.

    Gaussian-process regression: reach and noise are those under which the landmarks are most probable, so that pairs that
    agree with their neighbours are followed and single ones that do not are believed less. Integrated as a velocity.
    """
    chosen = landmarks.steering
    places, weights = landmarks.fixed_lps[chosen], landmarks.weights[chosen]
    found = torch.zeros(3, *grid.shape, device=device)
    for _ in range(_ROUNDS):
        total = found if before is None else compose(before, found)
        left = targets_lps[chosen] - moved_points(places, total, grid)
        found = compose(found, _fitted(places, left, weights, grid, device))
    return found


def _fitted(places: FloatArray, left: FloatArray, weights: FloatArray, grid: Grid, device: torch.device) -> Tensor:
    """One fit to the residuals (N, 3), mm, integrated."""
    reach, coefficients = _regression(places, left, weights, float(np.linalg.norm(grid.extent_mm)))
    sigma = tuple(reach / edge for edge in grid.spacing)
    in_voxels = coefficients @ grid.index_from_lps[:3, :3].T
    index = as_index(places, grid, device)
    return integrate(sum_of_gaussians(index, torch.from_numpy(in_voxels.astype(np.float32)).to(device), sigma, grid.shape))


def _regression(places: FloatArray, left: FloatArray, weights: FloatArray, extent: float) -> tuple[float, FloatArray]:
    """Reach (mm) and coefficients (N, 3) of the most probable sum of Gaussians through residuals (N, 3)."""
    squared = np.square(places[:, None] - places[None]).sum(-1)
    best: tuple[float, float, FloatArray] | None = None
    for reach in (share * extent / 2 for share in _REACHES):
        for noise in _NOISES:
            matrix = np.exp(-0.5 * squared / reach**2) + np.diag(noise / weights)
            coefficients = np.linalg.solve(matrix, left)
            spread_ = float((left * coefficients).sum()) / left.size
            value = -0.5 * left.size * np.log(max(spread_, 1e-12)) - 1.5 * float(np.linalg.slogdet(matrix)[1])
            if best is None or value > best[0]:
                best = (value, reach, coefficients)
    assert best is not None  # there are reaches and noises to try
    return best[1], best[2]
