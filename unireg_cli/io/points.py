"""Tables of landmarks: CSV with columns x, y, z."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unireg_cli.errors import InputError, UsageError
from unireg_cli.io.atomic import atomic_path
from unireg_cli.io.ras import lps_from_ras, ras_from_lps
from unireg_cli.types import AnyArray, FloatArray

if TYPE_CHECKING:
    from unireg_cli.spatial import Grid


class PointSpace(StrEnum):
    """In which coordinates a table's x, y, z are: LPS mm (ITK), RAS mm (NIfTI, Slicer), or voxel indices counted from 0."""

    LPS = "lps"
    RAS = "ras"
    VOXEL = "voxel"


@dataclass(frozen=True, slots=True)
class PointTable:
    """A CSV of points: every cell as it was read, and the coordinates as LPS mm, (N, 3) in row order."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    columns: tuple[int, int, int]
    """Where x, y and z stand in a row."""
    points_lps: FloatArray


def read_points(path: Path, space: PointSpace, grid: Grid | None = None) -> PointTable:
    """Read a CSV whose first line names its columns, among them x, y and z in any order and case; others are kept.

    Args:
        path: the file, commas between columns.
        space: what the numbers mean.
        grid: the image whose voxels are counted; needed for ``PointSpace.VOXEL`` only.

    Raises:
        InputError: missing or empty file, no such columns, or a cell that is no number (its line is named).
        UsageError: voxel indices without a grid.
    """
    lines = _read_lines(path)
    if not lines:
        raise InputError(f"{path}: the table of points is empty; expected a header line with x,y,z and one line a point")
    header = tuple(name.strip() for name in lines[0][1])
    columns = _find_columns(path, header)
    rows = lines[1:]
    if not rows:
        raise InputError(f"{path}: a header line without any points")
    values = np.array([_numbers(path, number, cells, header, columns) for number, cells in rows])
    return PointTable(header, tuple(tuple(cells) for _, cells in rows), columns, _to_lps(values, space, grid))


def write_points(path: Path, table: PointTable, points_lps: AnyArray, space: PointSpace, grid: Grid | None = None) -> None:
    """Write ``table`` with its x, y, z replaced by ``points_lps`` (N, 3) said in ``space``; shortest digits that read back exactly.

    Raises:
        InputError: the folder cannot be written to.
        UsageError: voxel indices without a grid.
    """
    points = np.asarray(points_lps, np.float64)
    if points.shape != (len(table.rows), 3):
        raise ValueError(f"a table of {len(table.rows)} rows needs points of shape ({len(table.rows)}, 3), found {points.shape}")
    values = _from_lps(points, space, grid)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(table.header)
        for row, coordinates in zip(table.rows, values.tolist(), strict=True):
            cells = list(row)
            for column, value in zip(table.columns, coordinates, strict=True):
                cells[column] = repr(value)
            writer.writerow(cells)


def _read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Non-blank lines with their numbers in the file."""
    if path.is_dir() or not path.exists():
        raise InputError(f"{path}: no such file of points; check the path")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV text file ({error})") from error


def _find_columns(path: Path, header: tuple[str, ...]) -> tuple[int, int, int]:
    names = [name.lower() for name in header]
    if any(names.count(axis) != 1 for axis in "xyz"):
        found = ", ".join(header)[:120]
        raise InputError(f"{path}: the first line must name the columns x,y,z (each once, commas between); found columns: {found}")
    return names.index("x"), names.index("y"), names.index("z")


def _numbers(path: Path, number: int, cells: list[str], header: tuple[str, ...], columns: tuple[int, int, int]) -> list[float]:
    if len(cells) != len(header):
        raise InputError(f"{path}, line {number}: {len(cells)} columns, the header has {len(header)}")
    values = []
    for column in columns:
        try:
            value = float(cells[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{path}, line {number}: column {header[column]} should be a finite number, found {cells[column]!r}")
        values.append(value)
    return values


def _to_lps(values: FloatArray, space: PointSpace, grid: Grid | None) -> FloatArray:
    if space is PointSpace.LPS:
        return values
    if space is PointSpace.RAS:
        return lps_from_ras(values)
    matrix = _grid(grid).lps_from_index
    return np.asarray(values @ matrix[:3, :3].T + matrix[:3, 3])


def _from_lps(points: FloatArray, space: PointSpace, grid: Grid | None) -> FloatArray:
    if space is PointSpace.LPS:
        return points
    if space is PointSpace.RAS:
        return ras_from_lps(points)
    matrix = _grid(grid).index_from_lps
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


def _grid(grid: Grid | None) -> Grid:
    if grid is None:
        raise UsageError("points in voxels need the image whose voxels they count; name it, or use --space lps or ras")
    return grid
