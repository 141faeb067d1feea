"""Stacks of slices as small picture files: one sheet a layer, its slices one below the other."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from unireg_cli.registration.result import Registration
from unireg_cli.report.planes import Plane, foreground_center, three_planes
from unireg_cli.report.stacks import Stack, cut_stack, prepare_sources
from unireg_cli.spatial import Image
from unireg_cli.types import FloatArray

# Pixels along the longer side, slices a plane, JPEG quality: the first that fits is taken, the last one in any case.
_SIZES = ((208, 21, 76), (192, 19, 70), (168, 17, 66), (144, 15, 62), (112, 13, 55))
# Bytes of all sheets together: with the static picture, and a third more as text, a page of less than 3 MB.
_BUDGET = 1_650_000
# Layers of thin lines, which JPEG would blur, and in how many steps of grey they are kept.
_LINE_LAYERS = {"edges": 2, "lines": 6}
_SMOOTH_LAYER_QUALITY = 88


@dataclass(frozen=True, slots=True)
class Sheet:
    """One layer of one plane as a file, ``kind`` its MIME type."""

    content: bytes
    kind: str


@dataclass(frozen=True, slots=True)
class PlaneSheets:
    """All layers of one plane; slice k of a sheet lies ``height`` * k pixels below its top."""

    plane: Plane
    offsets_mm: tuple[float, ...]
    width: int
    height: int
    sheets: dict[str, Sheet]

    @property
    def start(self) -> int:
        """The slice nearest to the middle of the foreground."""
        return int(np.argmin(np.abs(np.asarray(self.offsets_mm))))

    @property
    def size_bytes(self) -> int:
        """Bytes of all sheets."""
        return sum(len(sheet.content) for sheet in self.sheets.values())


@dataclass(frozen=True, slots=True)
class Album:
    """The sheets of all planes; the log-Jacobian's black and white are -limit and +limit."""

    planes: tuple[PlaneSheets, ...]
    limit: float


def make_album(fixed: Image, moving: Image, registration: Registration, warped: Image, budget: int = _BUDGET) -> Album:
    """Slices in three planes, as large and as many as fit into ``budget`` bytes.

    Args:
        fixed: the fixed image.
        moving: the native moving image.
        registration: the result.
        warped: the moving image on the fixed grid.
        budget: bytes of all sheets together; the smallest sheets are taken even if they exceed it.
    """
    center = foreground_center(fixed)
    for pixels, slices, quality in _SIZES:
        planes = three_planes(fixed.grid, center, pixels)
        sources = prepare_sources(fixed, moving, warped, registration, planes[0].grid.spacing[0])
        stacks = (cut_stack(sources, plane, plane.offsets_mm(fixed, slices)) for plane in planes)
        album = Album(tuple(_sheets(stack, quality) for stack in stacks), sources.limit)
        if sum(plane.size_bytes for plane in album.planes) <= budget:
            break
    return album


def _sheets(stack: Stack, quality: int) -> PlaneSheets:
    width, height, _ = stack.plane.grid.size
    sheets = {}
    for name, layer in stack.layers.items():
        tall = layer.reshape(-1, width)
        if name in _LINE_LAYERS:
            sheets[name] = Sheet(_png(tall, _LINE_LAYERS[name]), "image/png")
        else:
            sheets[name] = Sheet(_jpeg(tall, _SMOOTH_LAYER_QUALITY if name == "logj" else quality), "image/jpeg")
    return PlaneSheets(stack.plane, tuple(float(o) for o in stack.offsets_mm), width, height, sheets)


def _png(grey: FloatArray, steps: int) -> bytes:
    from PIL import Image as Picture

    levels = np.rint(grey * (steps - 1)) / (steps - 1)
    return _saved(Picture.fromarray(np.rint(levels * 255).astype(np.uint8)), format="PNG", optimize=True)


def _jpeg(grey: FloatArray, quality: int) -> bytes:
    from PIL import Image as Picture

    return _saved(Picture.fromarray(np.rint(grey * 255).astype(np.uint8)), format="JPEG", quality=quality, optimize=True)


def _saved(picture: Any, **how: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, **how)
    return stream.getvalue()
