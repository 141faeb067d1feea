"""Separable linear filters over the last three axes of a tensor: box sums, Gaussians, central differences, resizing."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from unireg_cli.types import AnyArray

# Of a long axis so many voxels are smoothed in one product: of the whole matrix most is zeros.
_PIECE = 48


def box_sum(values: Tensor, radius: tuple[int, int, int]) -> Tensor:
    """Sum over windows of (2 r + 1) voxels per axis, zeros outside; ``radius`` in (z, y, x) order.

    Shifted adds: for the small windows of local statistics they beat running sums, pooling and convolution.
    """
    for axis, reach in zip((-3, -2, -1), radius, strict=True):
        values = _window_sum(values, axis, reach)
    return values


def _window_sum(values: Tensor, axis: int, reach: int) -> Tensor:
    total = values.clone()
    count = values.shape[axis]
    for shift in range(1, min(reach, count - 1) + 1):
        kept = count - shift
        total.narrow(axis, 0, kept).add_(values.narrow(axis, shift, kept))
        total.narrow(axis, shift, kept).add_(values.narrow(axis, 0, kept))
    return total


def gaussian(values: Tensor, sigma: tuple[float, float, float]) -> Tensor:
    """Gaussian smoothing, ``sigma`` in voxels per axis in (z, y, x) order; edge values repeat outside.

    One matrix product per axis: exact at the edges, and its cost does not grow with sigma.
    """
    for axis, width in zip((-3, -2, -1), sigma, strict=True):
        if width > 0 and values.shape[axis] > 1:
            matrix = _smoothing_matrix(values.shape[axis], float(width), str(values.device))
            values = _apply_band(values, matrix, axis, _reach(width))
    return values


def _apply_band(values: Tensor, matrix: Tensor, axis: int, reach: int) -> Tensor:
    """As :func:`apply_matrix` for a square matrix that is zero further than ``reach`` from its diagonal: long axes piece by piece."""
    count = len(matrix)
    if count <= _PIECE + 2 * reach:
        return apply_matrix(values, matrix, axis)
    pieces = []
    for begin in range(0, count, _PIECE):
        end = min(count, begin + _PIECE)
        low, high = max(0, begin - reach), min(count, end + reach)
        pieces.append(apply_matrix(values.narrow(axis, low, high - low), matrix[begin:end, low:high], axis))
    return torch.cat(pieces, dim=axis)


def _reach(sigma: float) -> int:
    """Voxels to each side beyond which a Gaussian is cut off."""
    return max(1, math.ceil(3 * sigma))


def apply_matrix(values: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Multiply one of the last three axes (-3, -2, -1) by ``matrix`` (out, in).

    Never in less than the matrix's own precision: eight bits of a displacement of thirty voxels would leave an eighth of a voxel.
    """
    with torch.autocast(values.device.type, enabled=False):
        values = values.to(matrix.dtype)
        if axis == -1:
            return values @ matrix.T
        if axis == -2:
            return matrix @ values
        flat = values.reshape(*values.shape[:-2], -1)
        return (matrix @ flat).reshape(*values.shape[:-3], matrix.shape[0], *values.shape[-2:])


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # a matrix first used without gradients must still serve a training step
def _smoothing_matrix(count: int, sigma: float, device: str) -> Tensor:
    reach = _reach(sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    rows = torch.arange(count)[:, None].expand(count, len(offsets))
    columns = (rows + offsets.long()).clamp(0, count - 1)
    matrix = torch.zeros(count, count, dtype=torch.float64)
    matrix.index_put_((rows.reshape(-1), columns.reshape(-1)), weights.repeat(count), accumulate=True)
    return matrix.float().to(device)


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def _resize_matrix(source: int, target: int, device: str) -> Tensor:
    """Resize keeping voxel edges: linear interpolation when growing; area-matched Gaussian when shrinking."""
    position = (torch.arange(target, dtype=torch.float64) + 0.5) * source / target - 0.5
    # Blur to the coarse voxel's size first, else thin structures alias.
    blur = 0.5 * math.sqrt(max((source / target) ** 2 - 1, 0.0))
    return reading_matrix(position.numpy(), source, blur if blur > 0.1 else 0.0).float().to(device)


def reading_matrix(places: AnyArray, count: int, sigma: float) -> Tensor:
    """(n, count) float64: a line of ``count`` voxels smoothed by ``sigma`` and read, linearly, at ``places`` (n,); edge values repeat."""
    position = torch.as_tensor(places, dtype=torch.float64).clamp(0, count - 1)
    low = position.floor()
    part = position - low
    matrix = torch.zeros(len(position), count, dtype=torch.float64)
    rows = torch.arange(len(position))
    for corner, weight in ((low, 1 - part), (low + 1, part)):
        matrix.index_put_((rows, corner.long().clamp(0, count - 1)), weight, accumulate=True)
    return matrix @ _smoothing_matrix(count, sigma, "cpu").double() if sigma > 0 and count > 1 else matrix


def resize(values: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Values (..., D, H, W) of one field of view on ``shape`` voxels: linear when growing, smoothed when shrinking."""
    for axis, target in zip((-3, -2, -1), shape, strict=True):
        if values.shape[axis] != target:
            values = apply_matrix(values, _resize_matrix(values.shape[axis], target, str(values.device)), axis)
    return values


def resize_displacement(displacement: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """A displacement (3, D, H, W) in voxels, moved to ``shape`` voxels of the same field of view; stays in voxels."""
    source = displacement.shape[1:]
    ratio = displacement.new_tensor([shape[axis] / source[axis] for axis in (2, 1, 0)])
    return resize(displacement, shape) * ratio[:, None, None, None]


def central_difference(values: Tensor) -> Tensor:
    """Slopes per voxel of (..., D, H, W) along x, y, z: (3, ..., D, H, W); zero in the outermost layer."""
    slopes = torch.zeros((3, *values.shape), dtype=values.dtype, device=values.device)
    for channel, axis in enumerate((-1, -2, -3)):
        count = values.shape[axis]
        if count > 2:
            ahead, behind = values.narrow(axis, 2, count - 2), values.narrow(axis, 0, count - 2)
            torch.sub(ahead, behind, out=slopes[channel].narrow(axis, 1, count - 2)).mul_(0.5)
    return slopes
