"""From the files and arrays that a user steers with to what a registration reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unireg_cli.errors import InputError
from unireg_cli.io.exchange import as_image, name_of
from unireg_cli.io.header import HeaderChoice
from unireg_cli.io.points import PointSpace, PointTable, read_points
from unireg_cli.registration.landmarks import Landmarks
from unireg_cli.registration.segmentations import Segmentations
from unireg_cli.registration.steering import Steering
from unireg_cli.spatial import Image
from unireg_cli.steering_words import SteeringFiles
from unireg_cli.types import FloatArray

_SIDES = ("fixed", "moving")
# Columns by which a landmark is called, first come first served, and the one that says how far it is to be trusted.
_NAMES, _WEIGHT = ("name", "label", "organ"), "weight"


def read_steering(files: SteeringFiles | None, fixed: Image, moving: Image, header: HeaderChoice) -> Steering | None:
    """Segmentations and landmarks of a pair of images, read from the files that the flags name.

    Raises:
        InputError: files that cannot be read, or landmarks that are no pairs.
    """
    if files is None:
        return None
    return make_steering(files, (files.fixed_seg, files.moving_seg), (files.fixed_points, files.moving_points), (fixed, moving), header)


def make_steering(
    files: SteeringFiles, maps: tuple[Any, Any], points: tuple[Any, Any], images: tuple[Image, Image], header: HeaderChoice
) -> Steering:
    """As :func:`read_steering` with objects in the places of files: images of any kind, and arrays (N, 3) or (N, 4), LPS mm and weight."""
    segmentations = landmarks = None
    if maps[0] is not None:
        first, second = (as_image(one, name_of(one, f"{role} segmentation"), header) for one, role in zip(maps, _SIDES, strict=True))
        segmentations = Segmentations(first, second, dict(files.seg_labels))
    if points[0] is not None:
        landmarks = _landmarks(points, images, files.space)
    return Steering(segmentations, landmarks)


def _landmarks(points: tuple[Any, Any], images: tuple[Image, Image], space: PointSpace) -> Landmarks:
    fixed, moving = (_rows(one, image, space) for one, image in zip(points, images, strict=True))
    names = (_called(points[0], "fixed points"), _called(points[1], "moving points"))
    if len(fixed[0]) == len(moving[0]):
        for number, (one, other) in enumerate(zip(fixed[2], moving[2], strict=False), 1):
            if one != other:
                raise InputError(f"{names[0]} calls point {number} {one!r} and {names[1]} calls it {other!r}; put both in the same order")
    weights = fixed[1] if fixed[1] is not None else moving[1]
    return Landmarks(fixed[0], moving[0], np.ones(len(fixed[0])) if weights is None else weights, names)


def _called(points: Any, role: str) -> str:
    return str(points) if isinstance(points, str | Path) else role


def _rows(points: Any, image: Image, space: PointSpace) -> tuple[FloatArray, FloatArray | None, list[str]]:
    """Coordinates (N, 3) LPS mm, weights (N,) or None, and names or nothing."""
    if isinstance(points, str | Path):
        table = read_points(Path(points), space, image.grid)
        return table.points_lps, _weights(Path(points), table), _column(table, _NAMES)
    array = np.asarray(points, np.float64)
    if array.ndim != 2 or array.shape[1] not in (3, 4) or not len(array) or not np.isfinite(array).all():
        raise InputError(f"landmarks in memory are finite numbers of shape (N, 3), LPS mm, or (N, 4) with weights; found {array.shape}")
    return array[:, :3], array[:, 3] if array.shape[1] == 4 else None, []


def _weights(path: Path, table: PointTable) -> FloatArray | None:
    cells = _column(table, (_WEIGHT,))
    if not cells:
        return None
    try:
        values = np.array([float(cell) for cell in cells])
    except ValueError:
        values = np.array([-1.0])
    if not np.isfinite(values).all() or (values < 0).any():
        raise InputError(f"{path}: column {_WEIGHT} holds a number for each point, 0 (only measured) or more; 1 is ordinary trust")
    return values


def _column(table: PointTable, names: tuple[str, ...]) -> list[str]:
    header = [name.lower() for name in table.header]
    for name in names:
        if name in header:
            return [row[header.index(name)].strip() for row in table.rows]
    return []
