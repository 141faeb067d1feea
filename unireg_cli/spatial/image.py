"""A 3-D scalar image in memory."""

from __future__ import annotations

from dataclasses import dataclass

from unireg_cli.errors import GeometryError
from unireg_cli.spatial.grid import Grid
from unireg_cli.types import AnyArray


@dataclass(frozen=True, slots=True)
class Image:
    """Voxels (D, H, W) in their native dtype on a grid. ``name`` is what messages call it, usually the file name.

    Raises:
        GeometryError: the array does not have the grid's shape.
    """

    voxels: AnyArray
    grid: Grid
    name: str = "image"

    def __post_init__(self) -> None:
        if self.voxels.shape != self.grid.shape:
            raise GeometryError(f"{self.name}: array of shape {self.voxels.shape} does not fit a grid of shape {self.grid.shape}")
