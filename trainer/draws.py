"""Random pieces that painted and disturbed images share: all draws come from the generator that is handed in."""

from __future__ import annotations

import torch
from torch import Tensor

from unireg_cli.spatial.filters import gaussian, resize

Shape = tuple[int, int, int]
Span = tuple[float, float]

# Widths are drawn from this lattice, so that the cached smoothing matrices are met again.
_WIDTH_STEP = 0.1
# Below this width a Gaussian changes nothing worth its time.
_LEAST_WIDTH = 0.25
_LATTICE = (2, 5)


def uniforms(count: int, generator: torch.Generator) -> list[float]:
    """``count`` numbers in [0, 1), drawn in one go: a generator on an accelerator is asked once."""
    return [float(value) for value in torch.rand(count, generator=generator, device=generator.device).tolist()]


def normals(shape: Shape, generator: torch.Generator, like: Tensor) -> Tensor:
    """Unit normal noise, float32, drawn on the generator's device and moved to that of ``like``."""
    return torch.randn(shape, generator=generator, device=generator.device).to(like.device)


def between(part: float, span: Span) -> float:
    """The value that lies ``part`` (0 to 1) of the way through a span."""
    return span[0] + part * (span[1] - span[0])


def smooth_noise(shape: Shape, coarser: float, generator: torch.Generator, like: Tensor) -> Tensor:
    """Noise of about unit variance that is smooth over ``coarser`` voxels."""
    coarse = normals(_shrunk(shape, coarser), generator, like)
    # Linear interpolation between independent values keeps 2/3 of their variance per grown axis.
    grown = sum(small < full for small, full in zip(coarse.shape, shape, strict=True))
    return resize(coarse, shape).mul_(1.5 ** (grown / 2))


def bias_field(shape: Shape, strength: float, generator: torch.Generator, like: Tensor) -> Tensor:
    """A smooth positive factor with maximum 1, so that nothing saturates; ``strength`` is the spread of its logarithm."""
    low, high = _LATTICE
    counts = torch.randint(low, high + 1, (3,), generator=generator, device=generator.device).tolist()
    lattice = (min(int(counts[0]), shape[0]), min(int(counts[1]), shape[1]), min(int(counts[2]), shape[2]))
    field = resize(normals(lattice, generator, like).mul_(strength), shape)
    return field.sub_(field.max()).exp_()


def blur(image: Tensor, width: float) -> Tensor:
    """Gaussian blur of ``width`` voxels, the same along all axes."""
    width = round(width / _WIDTH_STEP) * _WIDTH_STEP
    return gaussian(image, (width, width, width)) if width > _LEAST_WIDTH else image


def thick_slices(image: Tensor, axis: int, thicker: float) -> Tensor:
    """What is left of an image after slices ``thicker`` times as thick along one axis; the shape stays."""
    shape = _shape(image)
    kept = max(1, round(shape[axis] / thicker))
    coarse = (*shape[:axis], kept, *shape[axis + 1 :])
    return resize(resize(image, (coarse[0], coarse[1], coarse[2])), shape)


def _shape(image: Tensor) -> Shape:
    return int(image.shape[0]), int(image.shape[1]), int(image.shape[2])


def _shrunk(shape: Shape, factor: float) -> Shape:
    return max(1, round(shape[0] / factor)), max(1, round(shape[1] / factor)), max(1, round(shape[2] / factor))
