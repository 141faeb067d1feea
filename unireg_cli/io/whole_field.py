"""A whole chain as one displacement field, for the ``nii`` format."""

from __future__ import annotations

import numpy as np

from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid
from unireg_cli.types import FloatArray

# A chain without a field is linear, and so is interpolation: a few nodes hold it exactly.
_LINEAR_NODES = 16
# Points mapped at once: bounds the float64 temporaries.
_CHUNK = 1_000_000


def forward_field(chain: Chain, fixed: Grid) -> DisplacementField:
    """u(x) = chain(x) - x at the nodes of the chain's own first field, its lattice continued to cover the ``fixed`` field of view.

    With a chain (field, affine) the result is exact between the nodes too: the affine of a linear interpolation is linear.
    Outside its grid ITK takes the identity, which is wrong there by the whole affine: use ``h5`` for points beyond the image.
    """
    field = next((step for step in chain.steps if isinstance(step, DisplacementField)), None)
    return _sampled(chain, _covering(field.grid, fixed) if field and chain.steps[0] is field else _spaced(chain, fixed))


def inverse_field(chain: Chain, moving: Grid) -> DisplacementField:
    """u(y) = chain(y) - y on a grid along the ``moving`` image's axes that covers its field of view and half a voxel more.

    Its nodes are as close as those of the chain's field as seen through the affine before it. The field is read between
    its nodes and interpolated again, so that the result is smoother than the composite's, by far less than a voxel.
    Outside its grid ITK takes the identity, which is wrong there by the whole affine.
    """
    return _sampled(chain, _spaced(chain, moving))


def _sampled(chain: Chain, grid: Grid) -> DisplacementField:
    vectors = np.empty((*grid.shape, 3), np.float32)
    slab = max(1, _CHUNK // (grid.size[0] * grid.size[1]))
    for start in range(0, grid.size[2], slab):
        points = grid.points_lps(start, min(start + slab, grid.size[2]))
        vectors[start : start + slab] = chain.map(points) - points
    return DisplacementField(vectors, grid)


def _covering(lattice: Grid, view: Grid) -> Grid:
    """``lattice`` padded by whole voxels until its outermost nodes lie outside ``view``."""
    matrix = lattice.index_from_lps
    corners = view.corners_lps() @ matrix[:3, :3].T + matrix[:3, 3]
    low = np.maximum(0, np.ceil(-corners.min(axis=0) - 1e-6)).astype(int)
    high = np.maximum(0, np.ceil(corners.max(axis=0) - np.asarray(lattice.size) + 1 - 1e-6)).astype(int)
    return lattice.padded(low.tolist(), high.tolist())


def _spaced(chain: Chain, view: Grid) -> Grid:
    """A grid over ``view``, one node beyond each face, as fine as the chain's first field seen from there."""
    before: FloatArray = np.eye(3)
    for step in chain.steps:
        if isinstance(step, Affine):
            before = step.matrix[:3, :3] @ before
            continue
        # Nodes of the field passed per millimetre along each axis of the view.
        pace = np.abs(step.grid.index_from_lps[:3, :3] @ before @ view.cosines).max(axis=0)
        counts = np.maximum(2, np.ceil(view.extent_mm * pace))
        break
    else:
        counts = np.full(3, _LINEAR_NODES)
    return view.resized([int(n) for n in counts]).padded((1, 1, 1), (1, 1, 1))
