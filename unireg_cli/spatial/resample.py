"""One resampling of an image's native voxels through a whole chain of transforms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from unireg_cli.spatial.affine import Affine
from unireg_cli.spatial.chain import Chain
from unireg_cli.spatial.grid import Grid
from unireg_cli.spatial.sampling import inside_buffer, sample_index
from unireg_cli.types import AnyArray, FloatArray, Interpolation

# Voxels of the output made at once: bounds the float64 coordinates to about 100 MB.
_CHUNK = 2_000_000
# Width (in voxels) of the Gaussian by which neighbours vote for a label. Below 0.49 a voxel's own vote outweighs its 26
# neighbours together at its own centre: the identity changes no label, and single-voxel structures survive it.
_VOTE_SIGMA = 0.45
# Points voting at once: 27 neighbours each, about 100 MB.
_VOTE_CHUNK = 100_000


def resample(
    voxels: AnyArray, grid: Grid, reference: Grid, chain: Chain, interpolation: Interpolation = Interpolation.LINEAR, default: float = 0.0
) -> AnyArray:
    """The image ``voxels`` (D, H, W) on ``grid`` pulled onto ``reference`` through ``chain`` (reference point -> image point).

    Points outside the image's buffer (half a voxel beyond its outermost centres, as in ITK) get ``default``.
    The dtype is kept: integers are rounded and clamped to their range; ``nearest`` and ``label`` copy ids exactly.
    """
    reader = _READERS[interpolation](voxels)
    index_of_reference = chain.then(Affine(grid.index_from_lps)).simplified()
    out = np.empty(reference.shape, dtype=voxels.dtype)
    fill = _cast(np.array([default], dtype=np.float64), voxels.dtype)[0]
    slab = max(1, _CHUNK // (reference.size[0] * reference.size[1]))
    for start in range(0, reference.size[2], slab):
        stop = min(start + slab, reference.size[2])
        index = index_of_reference.map_slices(reference, start, stop)
        inside = inside_buffer(index, grid.size)
        values = np.full(inside.shape, fill, dtype=voxels.dtype)
        if inside.any():
            values[inside] = reader(index[inside])
        out[start:stop] = values
    return out


def _cast(values: FloatArray, dtype: np.dtype) -> AnyArray:
    """Floats to ``dtype``; integers rounded half to even and clamped, never wrapped."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    return values.astype(dtype)


def _linear(voxels: AnyArray) -> Callable[[FloatArray], AnyArray]:
    volume = torch.from_numpy(np.ascontiguousarray(voxels, dtype=np.float32))[None]

    def read(index: FloatArray) -> AnyArray:
        values = sample_index(volume, torch.from_numpy(index.astype(np.float32)))[0]
        return _cast(values.numpy().astype(np.float64), voxels.dtype)

    return read


def _nearest(voxels: AnyArray) -> Callable[[FloatArray], AnyArray]:
    upper = np.asarray(voxels.shape[::-1]) - 1

    def read(index: FloatArray) -> AnyArray:
        # ITK rounds half up; ties are common between grids whose spacings are multiples of each other.
        nearest = np.clip(np.floor(index + 0.5).astype(np.int64), 0, upper)
        return voxels[nearest[:, 2], nearest[:, 1], nearest[:, 0]]

    return read


def _bspline(voxels: AnyArray) -> Callable[[FloatArray], AnyArray]:
    from scipy import ndimage

    coefficients = ndimage.spline_filter(voxels.astype(np.float64), order=3, mode="mirror")

    def read(index: FloatArray) -> AnyArray:
        values = ndimage.map_coordinates(coefficients, index[:, ::-1].T, order=3, mode="mirror", prefilter=False)
        return _cast(values, voxels.dtype)

    return read


def _label(voxels: AnyArray) -> Callable[[FloatArray], AnyArray]:
    upper = np.asarray(voxels.shape[::-1]) - 1
    offsets = np.array([(i, j, k) for k in (-1, 0, 1) for j in (-1, 0, 1) for i in (-1, 0, 1)])

    def vote(index: FloatArray) -> AnyArray:
        nearest = np.floor(index + 0.5).astype(np.int64)
        centre = np.clip(nearest, 0, upper)
        winner = voxels[centre[:, 2], centre[:, 1], centre[:, 0]]
        around = np.clip(nearest[:, None] + offsets, 0, upper)
        names = voxels[around[..., 2], around[..., 1], around[..., 0]]
        contested = (names != winner[:, None]).any(axis=1)
        names, part = names[contested], index[contested]
        squared = ((nearest[contested][:, None] + offsets - part[:, None]) ** 2).sum(-1)
        weight = np.exp(squared / (-2 * _VOTE_SIGMA**2))
        # Votes for the label of each neighbour: 27 x 27 comparisons, whatever the number of labels in the map.
        votes = np.stack([np.where(names == names[:, [n]], weight, 0).sum(1) for n in range(len(offsets))], axis=1)
        winner[contested] = names[np.arange(len(names)), votes.argmax(axis=1)]
        return winner

    def read(index: FloatArray) -> AnyArray:
        return np.concatenate([vote(index[start : start + _VOTE_CHUNK]) for start in range(0, len(index), _VOTE_CHUNK)])

    return read


_READERS: dict[Interpolation, Callable[[AnyArray], Callable[[FloatArray], AnyArray]]] = {
    Interpolation.LINEAR: _linear,
    Interpolation.NEAREST: _nearest,
    Interpolation.BSPLINE: _bspline,
    Interpolation.LABEL: _label,
}
