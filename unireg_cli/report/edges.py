"""Outlines of what a picture shows, one pixel thin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unireg_cli.types import FloatArray

# Pixels; finer detail is not outlined.
_SMOOTHING = 1.3
# Steps of grey per pixel below which nothing is an edge, and the share of the weaker edges that is left out.
_LEAST_SLOPE, _WEAKER_SHARE = 0.012, 0.35


def edges(pixels: FloatArray) -> NDArray[np.bool_]:
    """Where the grey (height, width), 0..1, changes most steeply across: ridges of the gradient, the weakest left out.

    Source: Canny, A computational approach to edge detection (1986), without its tracking of weak edges.
    """
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(pixels, _SMOOTHING)
    down, right = np.gradient(smooth) if min(pixels.shape) > 1 else (np.zeros_like(smooth), np.zeros_like(smooth))
    slope = np.hypot(down, right)
    padded = np.pad(slope, 1)
    # The two neighbours that lie along the gradient, of four directions: across, down, and the diagonals.
    sector = np.rint(np.arctan2(down, right) / (np.pi / 4)).astype(int) % 4
    ahead, behind = np.zeros_like(slope), np.zeros_like(slope)
    height, width = slope.shape
    for number, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        here = sector == number
        ahead[here] = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width][here]
        behind[here] = padded[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width][here]
    ridge = (slope > _LEAST_SLOPE) & (slope >= ahead) & (slope > behind)
    if not ridge.any():
        return np.asarray(ridge)
    return np.asarray(ridge & (slope >= np.quantile(slope[ridge], _WEAKER_SHARE)))
