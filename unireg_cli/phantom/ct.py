"""CT numbers of a painted torso: tissue values with their own texture, partial volume, noise."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unireg_cli.phantom.anatomy import Anatomy
from unireg_cli.phantom.canvas import Canvas
from unireg_cli.phantom.motion import Motion
from unireg_cli.phantom.tissue import Material, hounsfield_tables
from unireg_cli.phantom.torso import Torso
from unireg_cli.spatial import Grid
from unireg_cli.spatial.sampling import sample_index

# Voxels painted at once: bounds the temporaries of a slab to a few hundred megabytes.
_SLAB = 2_000_000
_BLUR_VOXELS = 0.6
_BLUR_REACH = 3
_TEXTURE_MM = 4.0
_TEXTURE_LOW = (-230.0, -170.0, -320.0)
_TEXTURE_HIGH = (230.0, 170.0, 320.0)


@dataclass(frozen=True, slots=True)
class Texture:
    """Smooth unit-variance noise that sticks to the tissue: the same material point has the same value in both images."""

    anatomy: Anatomy
    _values: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        from scipy import ndimage

        size = [int((high - low) / _TEXTURE_MM) + 1 for low, high in zip(_TEXTURE_LOW, _TEXTURE_HIGH, strict=True)]
        noise = self.anatomy.rng("texture").standard_normal(size[::-1], dtype=np.float32)
        smooth = ndimage.gaussian_filter(noise, 0.9)
        object.__setattr__(self, "_values", torch.from_numpy(smooth / smooth.std())[None])

    def at(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Values at template positions, mm."""
        index = torch.stack([(c - low) / _TEXTURE_MM for c, low in zip((x, y, z), _TEXTURE_LOW, strict=True)], dim=-1)
        return sample_index(self._values, index)[0]


def scan(
    torso: Torso, grid: Grid, seed: int, *, motion: Motion | None = None, noise_hu: float = 12.0
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """HU and labels of the torso on a grid, both (D, H, W).

    Args:
        torso: the subject.
        grid: any spacing and orientation.
        seed: draws the noise.
        motion: voxel at x shows what the torso has at motion.map(x); None is no motion.
        noise_hu: standard deviation of the noise.
    """
    texture = Texture(torso.anatomy)
    sharp, labels = np.empty(grid.shape, np.int16), np.empty(grid.shape, np.uint8)
    slab = max(1, _SLAB // (grid.size[0] * grid.size[1]))
    for start in range(0, grid.size[2], slab):
        stop = min(start + slab, grid.size[2])
        points = grid.points_lps(start, stop)
        canvas = torso.paint(points if motion is None else motion.map(points))
        labels[start:stop] = canvas.labels.numpy()
        sharp[start:stop] = _tissue_hu(canvas, texture).numpy()
    return _acquire(sharp, seed, noise_hu, slab), labels


def _tissue_hu(canvas: Canvas, texture: Texture) -> Tensor:
    """HU of each voxel's material at its very point, int16."""
    mean, spread = (torch.from_numpy(table) for table in hounsfield_tables())
    what = canvas.materials.int()
    body = canvas.materials > 0
    hu = mean[what]
    hu[body] += spread[what[body]] * texture.at(canvas.x[body], canvas.y[body], canvas.z[body])
    # The lower lung of a patient on the back is heavier and holds less air.
    lung = canvas.materials == int(Material.LUNG)
    hu[lung] += 0.5 * (canvas.y[lung] + 20)
    return hu.round_().to(torch.int16)


def _acquire(sharp: NDArray[np.int16], seed: int, noise_hu: float, slab: int) -> NDArray[np.int16]:
    """Partial volume between neighbouring voxels, and noise that is a little smooth in-plane; in place, slab by slab."""
    from scipy import ndimage

    rng = np.random.default_rng((seed, 303))
    behind = sharp[:0].copy()
    for start in range(0, len(sharp), slab):
        stop = min(start + slab, len(sharp))
        # Slices already written over are kept from the step before, so that the blur sees them unblurred.
        block = np.concatenate([behind, sharp[start : stop + _BLUR_REACH]]).astype(np.float32)
        first = len(behind)
        done = first + stop - start
        behind = block[max(0, done - _BLUR_REACH) : done].astype(np.int16)
        blurred = ndimage.gaussian_filter(block, _BLUR_VOXELS, truncate=_BLUR_REACH / _BLUR_VOXELS)[first : first + stop - start]
        noise = rng.standard_normal(blurred.shape, dtype=np.float32)
        # 0.64 is what the in-plane blur leaves of unit noise.
        noise = ndimage.gaussian_filter(noise, (0, 0.5, 0.5), truncate=3) * np.float32(noise_hu / 0.64)
        sharp[start:stop] = np.clip(np.rint(blurred + noise), -1024, 3071)
    return sharp
