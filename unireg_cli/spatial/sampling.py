"""Reading a volume between its voxels. The only file that knows torch's normalised coordinates and align_corners."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from unireg_cli.types import AnyArray

# torch's 3-D grid_sample runs its threads over the batch only: a volume is cut into this many pseudo-batches.
_SLICES = 8


def sample_index(volume: Tensor, index_xyz: Tensor, *, border: bool = True) -> Tensor:
    """Trilinear values of ``volume`` at continuous voxel indices.

    Args:
        volume: (C, D, H, W), float.
        index_xyz: (..., 3), last axis x, y, z in voxels of ``volume``; same dtype and device.
        border: outside the volume: True repeats the edge value, False reads zeros.

    Returns:
        (C, ...) values.
    """
    depth, height, width = volume.shape[1:]
    # A single-voxel axis has no slope: any coordinate reads that voxel, and the division below stays finite.
    scale = index_xyz.new_tensor([2.0 / max(n - 1, 1) for n in (width, height, depth)])
    return sample_normalised(volume, (index_xyz * scale).sub_(1.0), border=border)


def sample_normalised(volume: Tensor, position: Tensor, *, border: bool = True) -> Tensor:
    """As :func:`sample_index` for positions in torch's [-1, 1] cube, voxel centres of the corners at -1 and 1."""
    lead = position.shape[:-1]
    count = int(np.prod(lead)) if lead else 1
    # A gradient for the volume is made and summed per piece: no more of them than threads.
    wanted = torch.get_num_threads() if volume.requires_grad else _SLICES
    pieces = wanted if count % wanted == 0 and count > 4096 else 1
    # A lattice whose slices divide evenly keeps its layout; anything else is a list of points.
    inner = (lead[0] // pieces, *lead[1:]) if len(lead) == 3 and lead[0] % pieces == 0 else (1, count // pieces, 1)
    cut = position.reshape(pieces, *inner, 3)
    batch = volume[None].expand(pieces, *volume.shape)
    padding = "border" if border else "zeros"
    values = functional.grid_sample(batch, cut, mode="bilinear", padding_mode=padding, align_corners=True)
    return values.transpose(0, 1).reshape(volume.shape[0], *lead)


def inside_buffer(index_xyz: AnyArray, size: tuple[int, int, int]) -> AnyArray:
    """ITK's test: a continuous index is inside an image if it lies within half a voxel of its voxel centres. (..., 3) -> (...)."""
    inside = np.ones(index_xyz.shape[:-1], dtype=bool)
    # Axis by axis: numpy's all() over a last axis of three takes three times as long.
    for axis, count in enumerate(size):
        part = index_xyz[..., axis]
        inside &= (part >= -0.5) & (part < count - 0.5)
    return inside


def index_lattice(shape: tuple[int, int, int], *, device: torch.device | str = "cpu") -> Tensor:
    """Voxel indices of a volume, (D, H, W, 3), last axis x, y, z, float32."""
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack((x, y, z), dim=-1)
