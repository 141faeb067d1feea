"""A pair as a small picture: fixed, warped, and the outlines of both label maps."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from unireg_cli.report.planes import Plane, display_window, foreground_center, three_planes
from unireg_cli.spatial import Chain, Image
from unireg_cli.spatial.resample import resample
from unireg_cli.types import AnyArray, FloatArray, Interpolation

FIXED_COLOUR, WARPED_COLOUR = "#ffb84d", "#4dd2ff"
_PIXELS = 260


def draw_pair(fixed: Image, warped: Image, labels: tuple[AnyArray, AnyArray] | None) -> bytes:
    """PNG with a row a plane: fixed, warped, fixed with the outlines of the fixed (solid) and the warped labels (dashed).

    Args:
        fixed: the fixed image.
        warped: the moving image on its grid.
        labels: fixed and warped label ids (D, H, W) on the same grid; without them the last column is a red and green overlay.
    """
    from matplotlib.figure import Figure

    center = foreground_center(fixed)
    if labels is not None and labels[0].any():
        index = np.argwhere(labels[0]).mean(axis=0)[::-1]
        matrix = fixed.grid.lps_from_index
        center = matrix[:3, :3] @ index + matrix[:3, 3]
    planes = three_planes(fixed.grid, center, _PIXELS)
    wide = max(plane.width_mm for plane in planes)
    heights = [plane.height_mm / wide for plane in planes]
    figure = Figure(figsize=(7.5, 2.5 * sum(heights) + 0.3), dpi=100, facecolor="black", layout="constrained")
    axes = figure.subplots(3, 3, squeeze=False, gridspec_kw={"height_ratios": heights})
    windows = display_window(fixed), display_window(warped)
    for row, plane in zip(axes, planes, strict=True):
        first, second = (_grey(image, plane, window) for image, window in zip((fixed, warped), windows, strict=True))
        for place, pixels in zip(row, (first, second, first if labels else np.stack((second, first, first), -1)), strict=True):
            place.imshow(pixels, cmap="gray", vmin=0, vmax=1, aspect=plane.height_mm / plane.width_mm * pixels.shape[1] / pixels.shape[0])
            place.set_axis_off()
        if labels is not None:
            _outline(row[2], _cut(labels[0], fixed, plane), FIXED_COLOUR, "solid")
            _outline(row[2], _cut(labels[1], fixed, plane), WARPED_COLOUR, "dashed")
    for place, title in zip(axes[0], ("fixed", "warped", "outlines: fixed, warped (dashed)" if labels else "overlay"), strict=True):
        place.set_title(title, color="white", size=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _grey(image: Image, plane: Plane, window: tuple[float, float]) -> FloatArray:
    voxels = image.voxels.astype(np.float32)
    pixels = resample(voxels, image.grid, plane.grid, Chain(), Interpolation.LINEAR, window[0])[0]
    return np.asarray(np.clip((pixels - window[0]) / max(window[1] - window[0], 1e-12), 0, 1), np.float64)


def _cut(labels: AnyArray, image: Image, plane: Plane) -> AnyArray:
    cut: AnyArray = resample(labels, image.grid, plane.grid, Chain(), Interpolation.NEAREST, 0)[0]
    return cut


def _outline(axes: Any, labels: AnyArray, colour: str, style: str) -> None:
    for label in np.unique(labels[labels > 0]):
        axes.contour(labels == label, levels=(0.5,), colors=colour, linewidths=0.8, linestyles=style)
