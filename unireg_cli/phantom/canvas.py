"""Where shapes are painted: template positions of a block of voxels, and what each voxel has become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from unireg_cli.phantom.tissue import Material
from unireg_cli.types import AnyArray, FloatArray

Window = tuple[slice, slice, slice]
Inside = Callable[[AnyArray, AnyArray, AnyArray], AnyArray]

# Every so many voxels are looked at to find the part of a block that a shape may touch.
_STRIDE = 2


class Region(IntEnum):
    """The large compartments that organs are confined to."""

    OUTSIDE = 0
    WALL = 1
    CHEST = 2
    ABDOMEN = 3


@dataclass(slots=True)
class Canvas:
    """A block of voxels (D, H, W): template mm ``x``, ``y``, ``z`` (float32) and the painted maps (uint8)."""

    x: Tensor
    y: Tensor
    z: Tensor
    labels: Tensor = field(init=False)
    materials: Tensor = field(init=False)
    regions: Tensor = field(init=False)
    _finder: _Finder = field(init=False)

    def __post_init__(self) -> None:
        self.labels, self.materials, self.regions = (torch.zeros(self.x.shape, dtype=torch.uint8) for _ in range(3))
        self._finder = _Finder.of(self.x, self.y, self.z)

    def window(self, low: FloatArray, high: FloatArray) -> Window | None:
        """The part of the block that holds every voxel inside the template box, or None."""
        return self._finder.window(low, high)

    def paint(
        self,
        low: FloatArray,
        high: FloatArray,
        inside: Inside,
        material: Material,
        *,
        label: int | None,
        region: Region | None = None,
        over: Material | None = None,
    ) -> None:
        """Give the voxels of the template box where ``inside`` holds a material and a label.

        Args:
            low: lower corner (3,) of the box, template mm.
            high: its upper corner.
            inside: template x, y, z of one window, float32 arrays -> bool array.
            material: the new material.
            label: the new label; None keeps what is there.
            region: confine to one compartment.
            over: confine to voxels of one material.
        """
        part = self.window(low, high)
        if part is None:
            return
        # Windows are small: numpy starts its loops faster than torch wakes its threads.
        x, y, z, materials = (values.numpy()[part] for values in (self.x, self.y, self.z, self.materials))
        where = inside(x, y, z)
        if region is not None:
            where &= self.regions.numpy()[part] == int(region)
        if over is not None:
            where &= materials == int(over)
        materials[where] = int(material)
        if label is not None:
            self.labels.numpy()[part][where] = label


@dataclass(frozen=True, slots=True)
class _Finder:
    """Finds the part of a block that a template box may touch, from every other voxel and a straight-line guess."""

    shape: tuple[int, ...]
    stride: int
    positions: FloatArray
    """Template mm of the looked-at voxels: (d, h, w, 3)."""
    reach: FloatArray
    """How far, per coordinate, a voxel can be from its nearest looked-at voxel: (3,) mm."""
    index_from_template: FloatArray
    """4 x 3: best affine guess of the looked-at voxel's index from its position."""
    error: FloatArray
    """Largest error of that guess, per index axis."""
    extent: tuple[FloatArray, FloatArray]

    @classmethod
    def of(cls, x: Tensor, y: Tensor, z: Tensor) -> _Finder:
        """Look at a block's positions."""
        # Scattered points are not a lattice: only looking at each of them is safe.
        stride = _STRIDE if min(x.shape) > 1 else 1
        keep = [np.minimum(np.arange(0, n + stride - 1, stride), n - 1) for n in x.shape]
        positions = np.stack([c.numpy()[np.ix_(*keep)] for c in (x, y, z)], axis=-1).astype(np.float64)
        reach = np.zeros(3)
        for axis in range(3):
            if stride > 1 and positions.shape[axis] > 1:
                reach += np.abs(np.diff(positions, axis=axis)).reshape(-1, 3).max(0)
        index = np.stack(np.meshgrid(*(np.arange(len(k)) for k in keep), indexing="ij"), -1).reshape(-1, 3)
        flat = np.column_stack((positions.reshape(-1, 3), np.ones(len(index))))
        guess = np.linalg.lstsq(flat, index, rcond=None)[0]
        error = np.abs(flat @ guess - index).max(0)
        return cls(tuple(x.shape), stride, positions, reach, guess, error, (positions.min((0, 1, 2)), positions.max((0, 1, 2))))

    def window(self, low: FloatArray, high: FloatArray) -> Window | None:
        """As :meth:`Canvas.window`."""
        lower, upper = low - self.reach, high + self.reach
        if bool((self.extent[1] < lower).any() or (self.extent[0] > upper).any()):
            return None
        # The guess narrows the search from the whole block to the box's surroundings; the positions there decide.
        middle, half = (lower + upper) / 2, (upper - lower) / 2
        center = middle @ self.index_from_template[:3] + self.index_from_template[3]
        spread = half @ np.abs(self.index_from_template[:3]) + self.error
        first = np.maximum(np.floor(center - spread), 0).astype(int)
        last = np.minimum(np.ceil(center + spread), np.asarray(self.positions.shape[:3]) - 1).astype(int)
        if (last < first).any():
            return None
        part = self.positions[first[0] : last[0] + 1, first[1] : last[1] + 1, first[2] : last[2] + 1]
        inside: AnyArray = np.asarray(((part >= lower) & (part <= upper)).all(-1))
        slices = []
        for axis, others in enumerate(((1, 2), (0, 2), (0, 1))):
            hit = np.flatnonzero(inside.any(axis=others))
            if len(hit) == 0:
                return None
            start, stop = (int(first[axis] + hit[0]) - 1) * self.stride, (int(first[axis] + hit[-1]) + 1) * self.stride
            slices.append(slice(max(0, start), min(self.shape[axis], stop + 1)))
        return slices[0], slices[1], slices[2]


def box_around(points: FloatArray, margin: float) -> tuple[FloatArray, FloatArray]:
    """Lower and upper corner of the box around points (n, 3), widened by ``margin`` mm."""
    return np.asarray(points.min(0) - margin, np.float64), np.asarray(points.max(0) + margin, np.float64)
