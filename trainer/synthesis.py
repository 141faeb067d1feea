"""Synthetic contrast: images painted on label maps, so that the network does not lean on what one scanner shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.draws import Shape, Span, between, bias_field, blur, normals, smooth_noise, thick_slices, uniforms
from unireg_cli.errors import UsageError

# Half of the contrasts know only so many different tissues: neighbours that look alike are what real images are full of.
_PALETTE = (4, 12)
_PALETTE_JITTER = 0.03
_LARGEST_TEXTURE = 0.1
_DARK = 0.12


@dataclass(frozen=True, slots=True)
class Synthesis:
    """How far a painted image may be from the ideal one; spans are (least, most) and drawn evenly.

    Raises:
        UsageError: a value out of its range.
    """

    blur_voxels: Span = (0.0, 1.2)
    """Width of the scanner's blur."""
    bias: Span = (0.0, 0.35)
    """Spread of the logarithm of the coil's shading."""
    noise: Span = (0.0, 0.05)
    """Standard deviation of the noise; the image goes from 0 to 1."""
    gamma: Span = (-0.4, 0.4)
    """Logarithm of the exponent."""
    thick_slices: float = 0.25
    """How often slices are thicker along one axis."""
    thickest: float = 4.0
    """How many times thicker they are at most."""

    def __post_init__(self) -> None:
        for name in ("blur_voxels", "bias", "noise"):
            _require_span("synthesis", name, getattr(self, name), 0.0, 3.0)
        _require_span("synthesis", "gamma", self.gamma, -2.0, 2.0)
        _require_value("synthesis", "thick_slices", self.thick_slices, 0.0, 1.0)
        _require_value("synthesis", "thickest", self.thickest, 1.0, 16.0)


@dataclass(frozen=True, slots=True)
class Intensity:
    """How a real image in [0, 1] is disturbed; spans are (least, most) and drawn evenly.

    Raises:
        UsageError: a value out of its range.
    """

    gamma: Span = (-0.35, 0.35)
    """Logarithm of the exponent."""
    brightness: Span = (-0.1, 0.1)
    """Added to what is not background."""
    contrast: Span = (0.8, 1.2)
    """Factor around the middle of the range."""
    bias: Span = (0.0, 0.3)
    """Spread of the logarithm of the shading."""
    noise: Span = (0.0, 0.04)
    """Standard deviation of the noise."""
    blur: float = 0.2
    """How often the image is blurred."""
    blur_voxels: Span = (0.3, 1.0)
    """Width of that blur."""
    thick_slices: float = 0.1
    """How often slices are thicker along one axis."""
    thickest: float = 3.0
    """How many times thicker they are at most."""
    inversion: float = 0.05
    """How often dark and bright change places inside the body."""

    def __post_init__(self) -> None:
        for name in ("blur_voxels", "bias", "noise", "contrast"):
            _require_span("intensity", name, getattr(self, name), 0.0, 3.0)
        _require_span("intensity", "gamma", self.gamma, -2.0, 2.0)
        _require_span("intensity", "brightness", self.brightness, -1.0, 1.0)
        for name in ("blur", "thick_slices", "inversion"):
            _require_value("intensity", name, getattr(self, name), 0.0, 1.0)
        _require_value("intensity", "thickest", self.thickest, 1.0, 16.0)


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """What one imaging sequence makes of each label value: brightness and the spread of its texture, (K,) float32 each."""

    means: Tensor
    stds: Tensor

    @classmethod
    def random(cls, count: int, generator: torch.Generator) -> Contrast:
        """A contrast for label values 0 to ``count`` - 1; 0 is the background: black, dark with noise, or anything, a third each.

        A shorter contrast from an equal generator is not the beginning of a longer one.
        """
        device = generator.device
        few, how_many, background, dark = uniforms(4, generator)
        means = torch.rand(count, generator=generator, device=device)
        palette = torch.rand(_PALETTE[1], generator=generator, device=device)
        chosen = torch.randint(0, round(between(how_many, _PALETTE)), (count,), generator=generator, device=device)
        jitter = torch.randn(count, generator=generator, device=device) * _PALETTE_JITTER
        if few < 0.5:
            means = (palette[chosen] + jitter).clamp_(0, 1)
        # The square makes a smooth tissue more frequent than a coarse one.
        stds = torch.rand(count, generator=generator, device=device).square_().mul_(_LARGEST_TEXTURE)
        if background < 1 / 3:
            means[0], stds[0] = 0.0, 0.0
        elif background < 2 / 3:
            means[0] = dark * _DARK
        return cls(means, stds)

    @property
    def black_background(self) -> bool:
        """Whether the background is exactly 0, as in a skull-stripped or masked image."""
        return float(self.means[0]) == 0 and float(self.stds[0]) == 0


def paint(labels: Tensor, generator: torch.Generator, settings: Synthesis, contrast: Contrast | None = None) -> Tensor:
    """An image of a label map: float32 (D, H, W) in [0, 1].

    Args:
        labels: (D, H, W), any integer type, 0 is the background.
        generator: all draws come from it; it may live on another device than the labels.
        settings: how far from ideal the image may be.
        contrast: one that several images share; drawn if None.

    Raises:
        ValueError: the labels have values that the contrast does not know.
    """
    index = labels.long()
    highest = int(index.max())
    contrast = Contrast.random(highest + 1, generator) if contrast is None else contrast
    if highest >= len(contrast.means) or int(index.min()) < 0:
        raise ValueError(f"labels from {int(index.min())} to {highest} do not fit a contrast of {len(contrast.means)} values")
    draw = uniforms(9, generator)
    shape = _shape(labels)
    texture = normals(shape, generator, labels) if draw[0] < 0.5 else smooth_noise(shape, 2 + 2 * draw[1], generator, labels)
    image = contrast.means.to(labels.device)[index] + contrast.stds.to(labels.device)[index] * texture
    image = blur(image, between(draw[2], settings.blur_voxels))
    image = image * bias_field(shape, between(draw[3], settings.bias), generator, labels)
    if draw[4] < settings.thick_slices:
        image = thick_slices(image, int(3 * draw[5]), between(draw[6], (1.0, settings.thickest)))
    image = image + normals(shape, generator, labels) * between(draw[7], settings.noise)
    image = _bend(image, between(draw[8], settings.gamma))
    return image.masked_fill_(index == 0, 0.0) if contrast.black_background else image


def perturb(image: Tensor, generator: torch.Generator, settings: Intensity) -> Tensor:
    """A real image (D, H, W) in [0, 1] as another scanner might have shown it: float32 in [0, 1].

    Voxels that are exactly 0 are taken for background: they are never brightened or inverted, and have half the noise at most.
    """
    draw = uniforms(11, generator)
    shape = _shape(image)
    body = image > 0
    out = 1 - image if draw[0] < settings.inversion else image
    out = (out.float() - 0.5) * between(draw[1], settings.contrast) + (0.5 + between(draw[2], settings.brightness))
    out = out.clamp(0, 1).mul_(body)
    if draw[3] < settings.blur:
        out = blur(out, between(draw[4], settings.blur_voxels))
    out = out * bias_field(shape, between(draw[5], settings.bias), generator, image)
    if draw[6] < settings.thick_slices:
        out = thick_slices(out, int(3 * draw[7]), between(draw[8], (1.0, settings.thickest)))
    noise = normals(shape, generator, image).mul_(between(draw[9], settings.noise))
    # Gamma comes before the noise: bending the noise of a black background would brighten it.
    return _bend(out, between(draw[10], settings.gamma)).add_(noise.mul_(body.float().mul_(0.5).add_(0.5))).clamp_(0, 1)


def _bend(image: Tensor, log_exponent: float) -> Tensor:
    return image.clamp(0, 1).pow_(math.exp(log_exponent))


def _shape(image: Tensor) -> Shape:
    return int(image.shape[0]), int(image.shape[1]), int(image.shape[2])


def _require_span(what: str, name: str, span: Span, low: float, high: float) -> None:
    if len(span) != 2 or not low <= span[0] <= span[1] <= high:
        raise UsageError(f"{what}: {name} must be two numbers in order between {low:g} and {high:g}, found {span}")


def _require_value(what: str, name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{what}: {name} must be between {low:g} and {high:g}, found {value:g}")
