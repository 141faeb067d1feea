"""The Jacobian determinant of x -> x + u(x) in physical space, and what it says about a field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unireg_cli.spatial.field import DisplacementField, index_from_mm
from unireg_cli.types import AnyArray


def determinant(field: DisplacementField) -> NDArray[np.float32]:
    """det d(x + u)/dx at every voxel of the field's grid: (D, H, W). 1 = volume kept, <= 0 = folded.

    Physical-space value: the displacement is expressed in the index frame first, so direction cosines and
    anisotropic spacing are right (transforms.md 4). Central differences, one-sided at the edges.
    """
    return index_determinant(index_from_mm(field)).numpy()


def index_determinant(displacement: Tensor) -> Tensor:
    """As :func:`determinant` for u in voxels, (3, D, H, W), channels x, y, z; the determinant does not depend on the spacing."""
    # Rows: component x, y, z of u; columns: derivative along x, y, z. Array axes run z, y, x.
    rows = [[_slope(displacement[c], axis) for axis in (2, 1, 0)] for c in range(3)]
    for c in range(3):
        rows[c][c] += 1.0
    (a, b, c_), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - b * (d * i - f * g) + c_ * (d * h - e * g)


def _slope(values: Tensor, axis: int) -> Tensor:
    """Derivative per voxel along one array axis; zero along a single-voxel axis."""
    count = values.shape[axis]
    slope = torch.zeros_like(values)
    if count == 1:
        return slope
    ahead, behind = values.narrow(axis, 1, count - 1), values.narrow(axis, 0, count - 1)
    step = ahead - behind
    slope.narrow(axis, 0, count - 1).add_(step)
    slope.narrow(axis, 1, count - 1).add_(step)
    slope.narrow(axis, 1, max(count - 2, 0)).mul_(0.5)
    return slope


@dataclass(frozen=True, slots=True)
class Regularity:
    """How a field changes volume: folded share in percent and the standard deviation of log |J| (SDlogJ)."""

    folding_percent: float
    sdlogj: float
    minimum: float
    maximum: float


def regularity(jacobian: AnyArray, inside: AnyArray | None = None) -> Regularity:
    """Summary of a determinant map (D, H, W), over all voxels or those where ``inside`` is true.

    Determinants are clipped to [1e-3, 1e3] before the logarithm, as is usual for SDlogJ with folds.
    """
    values = jacobian if inside is None else jacobian[inside]
    if values.size == 0:
        return Regularity(0.0, 0.0, 1.0, 1.0)
    logs = np.log(np.clip(values, 1e-3, 1e3, dtype=np.float64))
    return Regularity(float((values <= 0).mean() * 100), float(logs.std()), float(values.min()), float(values.max()))
