"""One pair of an evaluation: registered or read, scored, and made a row of the table."""

from __future__ import annotations

import csv
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unireg_cli.commands.failure import describe_failure
from unireg_cli.commands.outputs import check_inputs
from unireg_cli.commands.pair_files import Watch, read_pair, solve_as_asked
from unireg_cli.errors import GeometryError, InputError
from unireg_cli.evaluation.scoring import LabelScores, score_labels, score_landmarks, score_regularity, warp_labels
from unireg_cli.io.header import HeaderChoice
from unireg_cli.io.images import read_image
from unireg_cli.io.learn2reg import ListedPair
from unireg_cli.io.points import PointSpace, read_points
from unireg_cli.io.transforms import read_transform, transform_paths
from unireg_cli.loading import Model
from unireg_cli.options import RegisterOptions, stem
from unireg_cli.registration.stopwatch import peak_memory_mb
from unireg_cli.spatial import Chain, Grid, Image
from unireg_cli.types import AnyArray, FloatArray, Interpolation, TransformFormat
from unireg_cli.warping import warp_image

logger = logging.getLogger("unireg")


@dataclass(frozen=True, slots=True)
class Task:
    """A pair and what is to be done with it; ``transforms`` is the folder to take its transform from instead of registering."""

    pair: ListedPair
    options: RegisterOptions
    labels: dict[int, str]
    run: str
    """Short hash of what results depend on: rows of another one are not taken up by --resume."""
    transforms: Path | None = None
    point_space: PointSpace = PointSpace.VOXEL
    picture: bool = False


@dataclass(frozen=True, slots=True)
class PairResult:
    """Rows for the two tables; ``picture`` is a PNG."""

    row: dict[str, Any]
    structures: list[dict[str, Any]] = field(default_factory=list)
    picture: bytes | None = None


def evaluate_pair(task: Task, model: Model | None = None) -> PairResult:
    """Score one pair; what goes wrong is a row that says why."""
    names = {"fixed": task.pair.names[0], "moving": task.pair.names[1], "persons": ";".join(task.pair.persons), "run": task.run}
    try:
        return _evaluate(task, names, model)
    except Exception as error:
        failure = describe_failure(error)
        if failure.unforeseen:
            logger.debug("traceback", exc_info=error)
        return PairResult({**names, "status": "failed", "error": failure.line, "exit_code": failure.exit_code})


def _evaluate(task: Task, names: dict[str, Any], model: Model | None) -> PairResult:
    watch, options = Watch(), task.options
    check_inputs(options.inputs)
    if task.transforms is None:
        with watch.stage("read"):
            pair = read_pair(options)
        solution = solve_as_asked(options, pair, watch, None, model)
        fixed, moving, chain = pair.fixed, pair.moving, solution.written
        stages = {stage.name: stage.seconds for stage in watch.stages}
        names |= {"seconds": round(sum(stages.values()), 3), "stages": ";".join(f"{name}={value:.3f}" for name, value in stages.items())}
    else:
        fixed, moving = (read_image(path, options.header) for path in (options.fixed, options.moving))
        chain = find_transform(task.transforms, options.fixed, options.moving)
    peak = peak_memory_mb()
    labels = _labels(task, fixed, moving)
    warped = None if labels is None else warp_labels(labels[1], fixed.grid, chain)
    scores = None if labels is None or warped is None else score_labels(*labels, warped, task.labels)
    inside = None if labels is None else labels[0].voxels > 0
    regular, within = score_regularity(chain, fixed.grid, inside)
    row = {**names, "status": "done", "exit_code": 0, "peak_memory_mb": round(peak, 1)}
    row |= {"folding": regular.folding_percent, "sdlogj": regular.sdlogj}
    row |= {} if within is None else {"folding_inside": within.folding_percent, "sdlogj_inside": within.sdlogj}
    row |= {} if scores is None else _label_cells(scores)
    row |= _landmark_cells(task, fixed.grid, moving.grid, chain)
    picture = _picture(fixed, moving, chain, labels, warped) if task.picture else None
    return PairResult(row, [] if scores is None else _structure_rows(scores, names), picture)


def find_transform(folder: Path, fixed: Path, moving: Path) -> Chain:
    """The forward transform of a pair under the names that ``unireg register`` gives, MOVING_to_FIXED and an ending, or plainly that.

    Raises:
        InputError: there is none.
    """
    prefix = folder / f"{stem(moving)}_to_{stem(fixed)}"
    for form in (TransformFormat.H5, TransformFormat.NII):
        path = transform_paths(prefix, form)["forward"]
        if path.is_file():
            return read_transform(path)
    ants = transform_paths(prefix, TransformFormat.ANTS)
    if ants["warp"].is_file() and ants["affine"].is_file():
        return Chain((*read_transform(ants["warp"]).steps, *read_transform(ants["affine"]).steps))
    for ending in (".h5", ".nii.gz", ".mat", ".tfm", ".txt"):
        path = prefix.with_name(prefix.name + ending)
        if path.is_file():
            return read_transform(path)
    raise InputError(f"{prefix}*: no transform of this pair; expected {prefix.name}Composite.h5 or another name of unireg register")


def _labels(task: Task, fixed: Image, moving: Image) -> tuple[Image, Image] | None:
    paths = task.pair.fixed.label, task.pair.moving.label
    if paths[0] is None or paths[1] is None:
        return None
    return read_labels(paths[0], fixed, task.options.header), read_labels(paths[1], moving, task.options.header)


def read_labels(path: Path, image: Image, header: HeaderChoice) -> Image:
    """A label map on the grid of its image.

    Raises:
        InputError: not whole numbers from 0 on, or not a readable file.
        GeometryError: on another grid.
    """
    read = read_image(path, header)
    whole = read.voxels.astype(np.int64)
    if (whole != read.voxels).any() or whole.min() < 0:
        raise InputError(f"{path}: not a label map; expected whole numbers from 0 on, found {read.voxels.min():g} to {read.voxels.max():g}")
    if not read.grid.same_space(image.grid):
        raise GeometryError(f"{path}: the labels are not on the grid of {image.name}; resample them with unireg warp -n nearest")
    return Image(whole, read.grid, read.name)


def read_landmarks(path: Path, space: PointSpace, grid: Grid) -> FloatArray:
    """LPS mm (N, 3) of a landmark table; without a header line, as Learn2Reg writes them, the first three columns are x, y, z."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = [line for line in csv.reader(stream) if line]
        values = np.array([[float(cell) for cell in line[:3]] for line in lines])
    except ValueError:
        # Words in the first line: a table with a header.
        return read_points(path, space, grid).points_lps
    except OSError as error:
        raise InputError(f"{path}: not a readable table of landmarks ({error.strerror})") from None
    if values.ndim != 2 or values.shape[1] != 3 or not np.isfinite(values).all():
        raise InputError(f"{path}: expected lines of three finite numbers x,y,z")
    if space is PointSpace.VOXEL:
        matrix = grid.lps_from_index
        return np.asarray(values @ matrix[:3, :3].T + matrix[:3, 3])
    if space is PointSpace.RAS:
        from unireg_cli.io.ras import lps_from_ras

        return lps_from_ras(values)
    return values


def _landmark_cells(task: Task, fixed: Grid, moving: Grid, chain: Chain) -> dict[str, Any]:
    paths = task.pair.fixed.points, task.pair.moving.points
    if paths[0] is None or paths[1] is None:
        return {}
    found = score_landmarks(read_landmarks(paths[0], task.point_space, fixed), read_landmarks(paths[1], task.point_space, moving), chain)
    return {"tre": found.after_mm, "tre_before": found.before_mm, "landmarks": found.count}


def _label_cells(scores: LabelScores) -> dict[str, Any]:
    parts = scores.structures
    kept = [part.distance for part in parts if not part.lost]
    means: dict[str, Any] = {"structures": len(parts), "lost": len(parts) - len(kept), "unscored": len(scores.unscored)}
    means["dice_all"] = scores.dice_all
    if parts:
        means["dice"] = float(np.mean([part.dice for part in parts]))
        means["dice_before"] = float(np.mean([part.dice_before for part in parts]))
    if kept:
        means |= {"hd95": float(np.mean([one.hd95_mm for one in kept])), "assd": float(np.mean([one.assd_mm for one in kept]))}
    return means


def _structure_rows(scores: LabelScores, names: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for part in scores.structures:
        row = {name: names[name] for name in ("fixed", "moving", "persons")}
        row |= {"label": part.label, "name": part.name, "dice": part.dice, "dice_before": part.dice_before, "lost": int(part.lost)}
        rows.append(row if part.lost else row | {"hd95": part.distance.hd95_mm, "assd": part.distance.assd_mm})
    return rows


def _picture(fixed: Image, moving: Image, chain: Chain, labels: tuple[Image, Image] | None, warped: AnyArray | None) -> bytes:
    from unireg_cli.report.pair_picture import draw_pair

    image = warp_image(Image(moving.voxels.astype(np.float32), moving.grid, moving.name), fixed.grid, chain, Interpolation.LINEAR, 0.0)
    contours = None if labels is None or warped is None else (labels[0].voxels, warped)
    return draw_pair(fixed, image, contours)
