"""One picture by which a registration can be judged: three planes, before and after, and what the field does."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unireg_cli.io.atomic import atomic_path
from unireg_cli.registration.result import Registration
from unireg_cli.report.edges import edges
from unireg_cli.report.histogram import Histogram, log_jacobian_histogram
from unireg_cli.report.planes import Plane, display_window, foreground_center, three_planes
from unireg_cli.spatial import DisplacementField, Image
from unireg_cli.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _FAINT, _GROUND, _LINES = "#d8d8d8", "#8c8c8c", "#0b0b0d", "#ffc04d"
_EDGE_COLOUR = (1.0, 0.75, 0.3)
_WIDTH_IN, _LARGEST_HEIGHT_IN, _DPI = 17.0, 12.0, 110
_MARGIN_LEFT, _MARGIN_RIGHT, _MARGIN_TOP, _MARGIN_BOTTOM, _GAP = 0.32, 1.0, 0.72, 0.46, 0.05
_COLOURS = "RdBu_r"
_LINE_EVERY_MM, _SQUARE_MM = 20.0, 30.0


@dataclass(frozen=True, slots=True)
class _Panels:
    """What one plane shows: greys and colours in 0..1, warped coordinates in mm, log-Jacobian."""

    plane: Plane
    fixed: FloatArray
    before: FloatArray
    after: FloatArray
    coordinates: tuple[FloatArray, FloatArray]
    """Where the deformation takes the pixels: mm along the picture's right and down."""
    log_jacobian: FloatArray | None


def write_picture(path: Path, fixed: Image, moving: Image, registration: Registration, warped: Image, title: str) -> None:
    """Write a PNG with axial, coronal and sagittal rows in radiological orientation (patient's right at the left).

    Args:
        path: the PNG.
        fixed: the fixed image.
        moving: the native moving image; shown before registration where its header puts it.
        registration: the result; without a displacement field the log-Jacobian column is left out.
        warped: the moving image on the fixed grid.
        title: first line of the picture.
    """
    figure = draw_picture(fixed, moving, registration, warped, title)
    with atomic_path(path) as temporary:
        # The version of matplotlib is left out of the file: equal pictures are equal bytes.
        figure.savefig(temporary, format="png", metadata={"Software": None})


def picture_jpeg(fixed: Image, moving: Image, registration: Registration, warped: Image, title: str, quality: int = 80) -> bytes:
    """The same picture as a JPEG, a few times smaller."""
    from PIL import Image as Picture

    canvas: Any = draw_picture(fixed, moving, registration, warped, title).canvas
    canvas.draw()
    stream = io.BytesIO()
    Picture.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(stream, format="JPEG", quality=quality, optimize=True)
    return stream.getvalue()


def draw_picture(fixed: Image, moving: Image, registration: Registration, warped: Image, title: str) -> Figure:
    """The picture, with a canvas that can draw it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    planes = three_planes(fixed.grid, foreground_center(fixed))
    rows = _all_panels(planes, fixed, moving, registration, warped)
    figure = _draw(rows, title, _numbers(registration))
    if registration.field is not None:
        limit = max(0.1, *(float(np.percentile(np.abs(row.log_jacobian), 99)) for row in rows if row.log_jacobian is not None))
        _colour_bar(figure, limit, log_jacobian_histogram(fixed, registration.field, limit))
    FigureCanvasAgg(figure)
    return figure


def _all_panels(planes: tuple[Plane, ...], fixed: Image, moving: Image, registration: Registration, warped: Image) -> list[_Panels]:
    window, other = display_window(fixed), display_window(moving)
    outside = float(np.min(moving.voxels)), float(np.min(fixed.voxels))
    rows = []
    for plane in planes:
        rows.append(
            _Panels(
                plane,
                _grey(plane.cut(fixed, default=outside[1]), window),
                _grey(plane.cut(moving, default=outside[0]), other),
                _grey(plane.cut(warped, default=outside[0]), other),
                _moved_coordinates(plane, registration),
                None if registration.field is None else log_jacobian(registration.field, plane.points_lps()),
            )
        )
    return rows


def _grey(values: FloatArray, window: tuple[float, float]) -> FloatArray:
    return np.clip((values - window[0]) / (window[1] - window[0]), 0, 1)


def _moved_coordinates(plane: Plane, registration: Registration) -> tuple[FloatArray, FloatArray]:
    """The displacement alone where there is one: an affine would only turn the lattice and hide what bends."""
    transform = registration.affine if registration.field is None else registration.field
    moved = transform.map(plane.points_lps()) - np.asarray(plane.grid.origin)
    return moved @ plane.grid.cosines[:, 0], moved @ plane.grid.cosines[:, 1]


def log_jacobian(field: DisplacementField, points_lps: FloatArray) -> FloatArray:
    """log det d(x + u)/dx at points (..., 3) by central differences one voxel of the field wide; folds as log 0.001."""
    step = min(field.grid.spacing) / 2
    columns = []
    for axis in range(3):
        nudge = np.zeros(3)
        nudge[axis] = step
        columns.append((field.map(points_lps + nudge) - field.map(points_lps - nudge)) / (2 * step))
    determinant = np.linalg.det(np.stack(columns, axis=-1))
    return np.asarray(np.log(np.clip(determinant, 1e-3, 1e3)))


def _numbers(registration: Registration) -> str:
    """The judgement in one line."""
    quality = registration.quality
    steps = {"before": quality.similarity_before, "affine": quality.similarity_affine, "after": quality.similarity_after}
    parts = [f"{quality.similarity_name}  " + ",  ".join(f"{value:.3f} {when}" for when, value in steps.items())]
    if quality.regularity is None:
        parts.append(f"no displacement field, hence no log-Jacobian; {registration.affine.describe()}")
    else:
        inside = quality.regularity_foreground or quality.regularity
        parts.append(f"folding {quality.regularity.folding_percent:.3g} %")
        parts.append(f"SDlogJ {inside.sdlogj:.3f} inside the foreground")
    if quality.displacement_percentiles_mm is not None:
        reach = quality.displacement_percentiles_mm
        parts.append("displacement " + ",  ".join(f"{key} {value:.1f}" for key, value in reach.items()) + " mm")
    if quality.inverse_consistency is not None:
        parts.append(f"inverse error {quality.inverse_consistency.mean_mm:.3f} mm")
    return "     ".join(parts)


def _draw(rows: list[_Panels], title: str, numbers: str) -> Figure:
    from matplotlib.figure import Figure

    with_field = rows[0].log_jacobian is not None
    painters = _PAINTERS | {"log-Jacobian": _jacobian} if with_field else _PAINTERS
    count = len(painters)
    wide = max(row.plane.width_mm for row in rows)
    tall = sum(row.plane.height_mm for row in rows)
    # One scale for all panels, inch per mm: as wide as the page allows, unless the stack of rows gets too tall.
    inch = (_WIDTH_IN - _MARGIN_LEFT - _MARGIN_RIGHT - (count - 1) * _GAP) / count / wide
    inch = min(inch, (_LARGEST_HEIGHT_IN - _MARGIN_TOP - _MARGIN_BOTTOM) / tall)
    # A tall, narrow scan still needs columns wide enough for their names.
    column = max(wide * inch, 1.15)
    width = _MARGIN_LEFT + _MARGIN_RIGHT + count * column + (count - 1) * _GAP
    height = _MARGIN_TOP + _MARGIN_BOTTOM + tall * inch + (len(rows) - 1) * _GAP
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=_GROUND)
    top = height - _MARGIN_TOP
    for row in rows:
        high, broad = row.plane.height_mm * inch, row.plane.width_mm * inch
        for n, paint in enumerate(painters.values()):
            left = _MARGIN_LEFT + n * (column + _GAP) + (column - broad) / 2
            axes = figure.add_axes((left / width, (top - high) / height, broad / width, high / height))
            paint(axes, row)
            _frame(axes, row.plane if n == 0 else None)
        figure.text(0.1 / width, (top - high / 2) / height, row.plane.name, rotation=90, va="center", ha="center", size=7.5, color=_FAINT)
        top -= high + _GAP
    _write_words(figure, tuple(painters), column, title, numbers)
    return figure


def _colour_bar(figure: Figure, limit: float, histogram: Histogram) -> None:
    """The colours of the log-Jacobian, and beside each how much of the fixed image's body has it."""
    shown = figure.axes[-1].images[-1]
    for axes in figure.axes:
        for image in axes.images:
            if image.get_cmap().name == _COLOURS:
                image.set_clim(-limit, limit)
    width, height = figure.get_size_inches()
    low, high = _MARGIN_BOTTOM / height, (height - _MARGIN_TOP) / height
    bottom, tall, left = low + 0.25 * (high - low), 0.5 * (high - low), width - _MARGIN_RIGHT
    bar = figure.add_axes(((left + 0.08) / width, bottom, 0.09 / width, tall))
    figure.colorbar(shown, cax=bar)
    bar.tick_params(labelsize=6.5, colors=_FAINT, length=2, width=0.5)
    bar.spines["outline"].set_visible(False)
    beside = figure.add_axes(((left + 0.5) / width, bottom, 0.4 / width, tall))
    colours = shown.cmap((histogram.middles / limit + 1) / 2)
    beside.barh(histogram.middles, histogram.shares, height=np.diff(histogram.borders), color=colours)
    beside.set_ylim(-limit, limit)
    beside.set_axis_off()
    figure.text((left + 0.7) / width, bottom - 0.04 / height, "in the body", ha="center", va="top", size=5.5, color=_FAINT)


def _write_words(figure: Figure, names: tuple[str, ...], column: float, title: str, numbers: str) -> None:
    width, height = figure.get_size_inches()
    for n, name in enumerate(names):
        middle = _MARGIN_LEFT + n * (column + _GAP) + column / 2
        figure.text(middle / width, (height - _MARGIN_TOP + 0.07) / height, name, ha="center", va="bottom", size=8, color=_INK)
    figure.text(_MARGIN_LEFT / width, (height - 0.14) / height, title, ha="left", va="top", size=10, color=_INK, parse_math=False)
    key = "overlays: fixed magenta, moving green, agreement grey     R L A P S I: the patient's sides"
    figure.text(_MARGIN_LEFT / width, 0.29 / height, numbers, ha="left", va="center", size=7.5, color=_INK)
    figure.text(_MARGIN_LEFT / width, 0.12 / height, key, ha="left", va="center", size=6.5, color=_FAINT)


def _frame(axes: Any, plane: Plane | None) -> None:
    """No ticks, no box; patient sides on the first panel of a row."""
    axes.set_axis_off()
    if plane is None:
        return
    shade = {"facecolor": "black", "alpha": 0.55, "linewidth": 0, "pad": 0.8}
    near, far = 0.015, 0.985
    places = ((near, 0.5, "left", "center"), (far, 0.5, "right", "center"), (0.5, far, "center", "top"), (0.5, near, "center", "bottom"))
    for letter, (x, y, ha, va) in zip(plane.edges, places, strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, ha=ha, va=va, size=7, color=_LINES, bbox=shade)


def _show(axes: Any, pixels: FloatArray) -> Any:
    return axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="bilinear")


def _overlay(fixed: FloatArray, moving: FloatArray) -> FloatArray:
    return np.stack((fixed, moving, fixed), axis=-1)


def _checkerboard(row: _Panels) -> FloatArray:
    edge = max(2, round(_SQUARE_MM / row.plane.grid.spacing[0]))
    down, right = np.indices(row.fixed.shape) // edge
    return np.where((down + right) % 2 == 0, row.fixed, row.after)


def _outlined(axes: Any, row: _Panels) -> Any:
    found = edges(row.fixed)[..., None]
    return _show(axes, np.where(found, _EDGE_COLOUR, np.repeat(0.85 * row.after[..., None], 3, axis=-1)))


def _deformation(axes: Any, row: _Panels) -> Any:
    image = _show(axes, 0.65 * row.after)
    for values in row.coordinates:
        levels = np.arange(np.floor(values.min() / _LINE_EVERY_MM), np.ceil(values.max() / _LINE_EVERY_MM) + 1) * _LINE_EVERY_MM
        axes.contour(values, levels=levels, colors=_LINES, linewidths=0.45, alpha=0.85)
    return image


def _jacobian(axes: Any, row: _Panels) -> Any:
    from scipy.ndimage import gaussian_filter

    # Faint outlines tell where in the body a volume change is.
    axes.contour(gaussian_filter(row.fixed, 2.0), levels=(0.15,), colors="black", linewidths=0.4, alpha=0.5)
    return axes.imshow(row.log_jacobian, cmap=_COLOURS, aspect="auto", interpolation="bilinear")


_PAINTERS: dict[str, Callable[[Any, _Panels], Any]] = {
    "fixed": lambda axes, row: _show(axes, row.fixed),
    "moving, header only": lambda axes, row: _show(axes, row.before),
    "moved": lambda axes, row: _show(axes, row.after),
    "before": lambda axes, row: _show(axes, _overlay(row.fixed, row.before)),
    "after": lambda axes, row: _show(axes, _overlay(row.fixed, row.after)),
    "edges of fixed": _outlined,
    "checkerboard": lambda axes, row: _show(axes, _checkerboard(row)),
    "deformation": _deformation,
}
