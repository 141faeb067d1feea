"""Building blocks of the feature maps: all (1, C, D, H, W), channels last in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pad

from unireg_cli.model.conditioning import Modulation, modulated

_SLOPE = 0.2
# torch sends a single float32 volume with fewer numbers than this (all axes but the last) to a slow path on the CPU.
_SLOW = 20_480


def activate(features: Tensor) -> Tensor:
    """The one nonlinearity of the feature maps; ``features`` themselves are changed."""
    return leaky_relu(features, _SLOPE, inplace=True)


def pointwise(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A 1 x 1 x 1 convolution, ``weight`` (out, in), as one matrix product over channels-last memory."""
    return nn.functional.linear(features.permute(0, 2, 3, 4, 1), weight.to(features.dtype), bias).permute(0, 4, 1, 2, 3)


class Pointwise(nn.Linear):
    """A learned 1 x 1 x 1 convolution."""

    def forward(self, features: Tensor) -> Tensor:
        """(N, in, D, H, W) -> (N, out, D, H, W)."""
        return pointwise(features, self.weight, self.bias)


class Neighbourhood(nn.Conv3d):
    """A 3 x 3 x 3 convolution with zeros beyond the edge, fast for single small volumes too."""

    def __init__(self, inner: int, out: int, stride: int = 1) -> None:
        super().__init__(inner, out, 3, stride=stride, padding=1)

    def forward(self, features: Tensor, change: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(N, in, D, H, W) -> (N, out, D / stride, H / stride, W / stride).

        ``change``, a scale and a shift (out,) of what comes out, is put into the kernel: voxels need not be touched again.
        """
        weight, bias = self.weight, self.bias
        if change is not None:
            scale, shift = change
            weight = weight * scale[:, None, None, None, None]
            bias = shift if bias is None else torch.addcmul(shift, bias, scale)
        depth = features.shape[2]
        if len(features) > 1 or self.stride[0] > 1 or features[..., 0].numel() > _SLOW or features.device.type != "cpu":
            return nn.functional.conv3d(features, weight, bias, self.stride, padding=1)
        # As a batch of two overlapping halves it takes the fast path.
        half = (depth + 1) // 2
        wide = pad(features, (0, 0, 0, 0, 1, 1))
        both = torch.cat((wide[:, :, : half + 2], wide[:, :, depth - half :])).contiguous(memory_format=torch.channels_last_3d)
        found = nn.functional.conv3d(both, weight, bias, padding=(0, 1, 1))
        return torch.cat((found[:1], found[1:, :, 2 * half - depth :]), dim=2)


class Convolution(nn.Module):
    """A 3 x 3 x 3 convolution, group normalisation, and the condition's scale and shift where there is one.

    At the finest level, most of the cost of a pass, ``norm`` is left out.
    """

    def __init__(self, inner: int, out: int, *, stride: int = 1, condition: int = 0, norm: bool = True) -> None:
        super().__init__()
        self.convolution = Neighbourhood(inner, out, stride)
        self.norm = nn.GroupNorm(max(1, out // 8), out) if norm else None
        self.modulation = Modulation(condition, out) if condition else None

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Before the nonlinearity."""
        change = None if self.modulation is None or condition is None else self.modulation(condition)
        found: Tensor = self.convolution(features, change if self.norm is None else None)
        if self.norm is None:
            return found
        found = self.norm(found)
        return found if change is None else modulated(found, *change)


class Residual(nn.Module):
    """x + f(x) with one or two convolutions, the first modulated by the condition."""

    def __init__(self, channels: int, *, condition: int = 0, depth: int = 2, norm: bool = True) -> None:
        super().__init__()
        self.first = Convolution(channels, channels, condition=condition, norm=norm)
        self.second = Convolution(channels, channels, norm=norm) if depth == 2 else None

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Same shape as ``features``."""
        found = self.first(features, condition)
        if self.second is not None:
            found = self.second(activate(found))
        # Into the newest tensor: nothing that a gradient needs, and no memory has to be fetched.
        return activate(found.add_(features))


def halves_to_channels(image: Tensor, known: Tensor) -> Tensor:
    """(N, 1, D, H, W) and (N, 1, D/2, H/2, W/2) -> (N, 9, D/2, H/2, W/2).

    The eight voxels of a 2 x 2 x 2 block become channels, and ``known`` the ninth; in the type that convolutions take here.
    """
    n, _, d, h, w = image.shape
    kind = image.device.type
    of = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else image.dtype
    found = image.new_empty(n, d // 2, h // 2, w // 2, 9, dtype=of)
    shown = image[:, 0].to(of)
    # A channel at a time, in rows of a volume's width: three times as fast as all in one go, in rows of two.
    for channel in range(8):
        found[..., channel] = shown[:, channel // 4 :: 2, channel // 2 % 2 :: 2, channel % 2 :: 2]
    found[..., 8] = known[:, 0]
    return found.permute(0, 4, 1, 2, 3)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Feature maps (1, C, D, H, W) one after the other along C, in channels-last memory and the type of the first, whatever theirs is."""
    first, count = parts[0], sum(part.shape[1] for part in parts)
    found = first.new_empty((first.shape[0], *first.shape[2:], count))
    # Part by part: torch.cat along the channels runs on one core.
    at = 0
    for part in parts:
        found[..., at : at + part.shape[1]] = part.permute(0, 2, 3, 4, 1)
        at += part.shape[1]
    return found.permute(0, 4, 1, 2, 3)


def doubled(features: Tensor) -> Tensor:
    """Features at twice the resolution, linear between voxels."""
    return interpolate(features, scale_factor=2, mode="trilinear", align_corners=False)
