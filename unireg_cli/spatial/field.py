"""A dense displacement field on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from unireg_cli.errors import TransformFileError
from unireg_cli.spatial.affine import Affine
from unireg_cli.spatial.drawing import index_map, read_by_axes
from unireg_cli.spatial.grid import Grid
from unireg_cli.spatial.sampling import inside_buffer, sample_index
from unireg_cli.types import AnyArray, FloatArray

# Points mapped at once: bounds the float64 temporaries to about 100 MB.
_CHUNK = 2_000_000


@dataclass(frozen=True, slots=True)
class DisplacementField:
    """x -> x + u(x), LPS mm; the identity outside the grid's buffer, as ITK's displacement field transform.

    ``vectors_mm`` is float32 of shape (D, H, W, 3), last axis x, y, z in LPS mm (whatever the grid's direction).

    Raises:
        TransformFileError: the array does not fit the grid or holds NaN or infinity.
    """

    vectors_mm: NDArray[np.float32]
    grid: Grid

    def __post_init__(self) -> None:
        vectors = np.ascontiguousarray(self.vectors_mm, dtype=np.float32)
        if vectors.shape != (*self.grid.shape, 3):
            raise TransformFileError(
                f"a displacement field on {self.grid.describe()} needs shape {(*self.grid.shape, 3)}, found {vectors.shape}"
            )
        if not np.isfinite(vectors).all():
            raise TransformFileError("the displacement field holds NaN or infinite values")
        object.__setattr__(self, "vectors_mm", vectors)

    def map(self, points_lps: AnyArray) -> FloatArray:
        """Map points (..., 3) in LPS mm."""
        points = np.asarray(points_lps, dtype=np.float64)
        flat = points.reshape(-1, 3)
        mapped = np.empty_like(flat)
        for start in range(0, len(flat), _CHUNK):
            part = flat[start : start + _CHUNK]
            mapped[start : start + _CHUNK] = part + self._displacement_at(part)
        return mapped.reshape(points.shape)

    def map_slices(self, grid: Grid, start: int, stop: int) -> FloatArray:
        """Map the voxel centres of slices start <= k < stop of a grid: (slices, y, x, 3), LPS mm.

        On a grid with the field's own axes, as a fixed image has them, a third of the time of :meth:`map`.
        """
        points = grid.points_lps(start, stop)
        slices = grid.padded((0, 0, -start), (0, 0, stop - grid.size[2]))
        volume = torch.from_numpy(self.vectors_mm).permute(3, 0, 1, 2)
        found = read_by_axes(volume, self.grid, slices, index_map(self.grid, slices, Affine.identity()))
        if found is None:
            return self.map(points)
        values, known = found
        mapped: FloatArray = points + (values * known).permute(1, 2, 3, 0).numpy()
        return mapped

    def _displacement_at(self, points: FloatArray) -> NDArray[np.float32]:
        matrix = self.grid.index_from_lps
        index = points @ matrix[:3, :3].T + matrix[:3, 3]
        volume = torch.from_numpy(self.vectors_mm).permute(3, 0, 1, 2)
        values = sample_index(volume, torch.from_numpy(index.astype(np.float32))).T.numpy()
        return np.where(inside_buffer(index, self.grid.size)[:, None], values, np.float32(0))

    def invert(self) -> DisplacementField:
        """The inverse field on the same grid (spatial.inverse); exact where the field fades to zero at its edge."""
        from unireg_cli.spatial.inverse import invert_field

        return invert_field(self)

    def describe(self) -> str:
        """Kind, grid and reach in words for messages."""
        longest = float(np.sqrt((self.vectors_mm.astype(np.float64) ** 2).sum(-1).max()))
        return f"displacement field ({self.grid.describe()}, up to {longest:.1f} mm)"


def index_from_mm(field: DisplacementField) -> torch.Tensor:
    """Displacement in voxels of the field's own grid: (3, D, H, W) float32, channels x, y, z along the index axes."""
    turn = torch.from_numpy(field.grid.index_from_lps[:3, :3].astype(np.float32))
    return torch.einsum("ac,dhwc->adhw", turn, torch.from_numpy(field.vectors_mm)).contiguous()


def field_from_index(displacement: torch.Tensor, grid: Grid) -> DisplacementField:
    """The field in mm of a displacement in voxels of ``grid``: (3, D, H, W), channels x, y, z. Inverse of index_from_mm."""
    turn = torch.from_numpy(grid.lps_from_index[:3, :3].astype(np.float32))
    vectors = torch.einsum("ac,cdhw->dhwa", turn, displacement.detach().float().cpu())
    return DisplacementField(vectors.contiguous().numpy(), grid)
