"""The lattice on which the network sees a pair."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.drawing import index_map
from unireg_cli.types import FloatArray

# The body's box is widened by this share of its extent on each side, and by no less than so many voxels.
_MARGIN, _LEAST_MARGIN = 0.04, 2
# No voxel is smaller than this share of the finest spacing of both images: more voxels would show nothing new.
_FINEST = 0.7
# A slice belongs to the body if more than this share of it does: single bright voxels far outside do not count.
_SHARE = 0.003

Box = tuple[tuple[int, int, int], tuple[int, int, int]]


def network_grid(fixed: Grid, body: Box, moving: Grid, voxels: int) -> Grid:
    """About cubic voxels over the box of the fixed image's body, along its own axes.

    Args:
        fixed: grid of the fixed image.
        body: first and last index (x, y, z) of what is not air.
        moving: grid of the moving image; only its finest spacing counts.
        voxels: the most there may be, about.
    """
    spacing = np.asarray(fixed.spacing)
    first = np.asarray(body[0], float) - 0.5
    extent = (np.asarray(body[1], float) + 0.5 - first) * spacing
    finest = _FINEST * min(*fixed.spacing, *moving.spacing)
    edge = max(float(np.prod(extent * (1 + 2 * _MARGIN)) / voxels) ** (1 / 3), finest)
    margin = np.maximum(_MARGIN * extent, _LEAST_MARGIN * edge)
    size = np.maximum(np.round((extent + 2 * margin) / edge), 1).astype(int)
    step = (extent + 2 * margin) / size
    lps_from_index = fixed.lps_from_index.copy()
    corner = first - margin / spacing + 0.5 * step / spacing
    lps_from_index[:3, 3] = fixed.lps_from_index[:3, :3] @ corner + fixed.lps_from_index[:3, 3]
    lps_from_index[:3, :3] = fixed.lps_from_index[:3, :3] * (step / spacing)
    return Grid.from_matrix(size.tolist(), lps_from_index)


def body_box(inside: Tensor, share: float = _SHARE) -> Box:
    """First and last index (x, y, z) of the slices of which more than ``share`` is ``inside`` (D, H, W), bool; all of them if none is."""
    first, last = [0, 0, 0], [n - 1 for n in reversed(inside.shape)]
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        filled = (inside.float().mean(dim=others) > share).nonzero()[:, 0]
        if len(filled):
            first[2 - axis], last[2 - axis] = int(filled[0]), int(filled[-1])
    return (first[0], first[1], first[2]), (last[0], last[1], last[2])


def reach(grid: Grid, other: Grid, box: Box, own_from_other: Affine) -> tuple[FloatArray, FloatArray]:
    """Least and greatest index (x, y, z) on ``grid`` of the centres of the corner voxels of another grid's ``box``.

    ``own_from_other`` maps points of the other space to points of the grid's own, LPS mm.
    """
    ends = np.asarray(box, float)
    corners = np.stack([ends[list(bits), range(3)] for bits in np.ndindex(2, 2, 2)])
    matrix = index_map(grid, other, own_from_other)
    index = corners @ matrix[:3, :3].T + matrix[:3, 3]
    return index.min(axis=0), index.max(axis=0)
