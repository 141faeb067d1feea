"""``unireg demo``: a phantom pair with a known deformation, registered, and the result beside the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unireg_cli.commands import flags
from unireg_cli.commands.session import logger, progress_bar, start_logging

if TYPE_CHECKING:
    from unireg_cli.phantom.pair import PhantomPair
    from unireg_cli.registration.result import Registration
    from unireg_cli.spatial import Chain, Image
    from unireg_cli.types import FloatArray

# Rows of the table; the mean is over all organs.
_SHOWN = ("liver", "spleen", "kidney_left", "kidney_right", "stomach", "heart", "aorta", "lung_lower_lobe_right", "vertebrae_L1")
_PREFIX = "moving_to_fixed_"
# An organ of which the fixed image shows less is cut off by the field of view or too small to score.
_LEAST_VOXELS = 50


@dataclass(frozen=True, slots=True)
class _Result:
    """What the demo found: images on the fixed grid, overlaps by label, landmark errors in mm (N,), seconds by stage."""

    registration: Registration
    warped: Image
    warped_labels: Image
    dice_before: dict[int, float]
    dice_after: dict[int, float]
    error_before_mm: FloatArray
    error_after_mm: FloatArray
    seconds: dict[str, float]


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="For the files; made if missing.")] = Path("unireg_demo"),
    seed: Annotated[int, typer.Option(min=0, help="Draws another person and another motion.")] = 0,
    amount: Annotated[float, typer.Option(min=0, max=1.5, help="How far the two positions differ; 0 is not at all.")] = 1.0,
    coarsen: Annotated[float, typer.Option(min=1, max=4, help="Larger voxels by this factor: quicker, less exact.")] = 1.0,
    threads: flags.ThreadCount = None,
    overwrite: flags.Overwrite = False,
    quiet: flags.Quiet = False,
) -> None:
    """Make a realistic pair, register it, and show the result beside the truth.

    Two CT-like scans of one procedural torso, on different grids, with a known breathing-like motion between them.
    Prints overlaps and the true landmark error before and after, and writes the images, labels, landmarks, transforms
    and a picture.
    """
    start_logging(quiet=quiet)
    from unireg_cli.commands.outputs import check_outputs, staged
    from unireg_cli.commands.resources import apply_threads, resolve_threads
    from unireg_cli.errors import UsageError

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"-o {output}: the folder cannot be made ({error.strerror}); choose another one") from error
    plan = _plan(output)
    check_outputs(plan.values(), (), overwrite=overwrite)
    apply_threads(resolve_threads(threads))
    pair, result = _run(plan, seed, amount, coarsen, quiet)
    with staged(plan.values()) as places:
        _write({name: places[path] for name, path in plan.items()}, pair, result, f"unireg demo: torso phantom, seed {seed}")
    _show(plan, pair, result)


def _plan(folder: Path) -> dict[str, Path]:
    """Every file of the demo, known before it runs."""
    from unireg_cli.io.transforms import transform_paths
    from unireg_cli.types import TransformFormat

    names = {
        "fixed": "fixed.nii.gz",
        "moving": "moving.nii.gz",
        "fixed_labels": "fixed_labels.nii.gz",
        "moving_labels": "moving_labels.nii.gz",
        "label_names": "label_names.csv",
        "fixed_landmarks": "fixed_landmarks.csv",
        "moving_landmarks": "moving_landmarks.csv",
        "warped": f"{_PREFIX}Warped.nii.gz",
        "warped_labels": f"{_PREFIX}WarpedLabels.nii.gz",
        "picture": f"{_PREFIX}picture.png",
    }
    return {role: folder / name for role, name in names.items()} | transform_paths(folder / _PREFIX, TransformFormat.H5)


def _run(plan: Mapping[str, Path], seed: int, amount: float, coarsen: float, quiet: bool) -> tuple[PhantomPair, _Result]:
    import time

    from unireg_cli.loading import choose_weights, complete, load_network
    from unireg_cli.options import RegisterOptions
    from unireg_cli.phantom.pair import demo_grids, make_pair
    from unireg_cli.registration.pipeline import register_images
    from unireg_cli.registration.settings import Settings
    from unireg_cli.spatial import Chain, Image
    from unireg_cli.spatial.resample import resample
    from unireg_cli.types import Interpolation, Mode

    # As unireg register --mode intra would do it from the files.
    options = RegisterOptions(plan["fixed"], plan["moving"], plan["fixed"].parent / _PREFIX, Settings(seed=seed, mode=Mode.INTRA))
    found = choose_weights([options])
    settings, model = complete(options, found).settings, load_network(found)
    begin = time.perf_counter()
    pair = make_pair(seed, amount=amount, grids=demo_grids(coarsen))
    seconds = {"make the pair": time.perf_counter() - begin}
    network = None if model is None else model.network
    with progress_bar(quiet=quiet) as progress:
        registration = register_images(pair.fixed, pair.moving, settings, network=network, progress=progress)
    for text in registration.warnings:
        logger.warning("%s", text)
    seconds |= {stage.name: stage.seconds for stage in registration.stages}
    begin = time.perf_counter()
    grid, forward = pair.fixed.grid, registration.forward
    warped = resample(pair.moving.voxels, pair.moving.grid, grid, forward, default=float(pair.moving.voxels.min()))
    before, after = (
        resample(pair.moving_labels.voxels, pair.moving_labels.grid, grid, chain, Interpolation.NEAREST) for chain in (Chain(), forward)
    )
    result = _Result(
        registration,
        Image(warped, grid, "warped"),
        Image(after, grid, "warped_labels"),
        _overlaps(pair, before),
        _overlaps(pair, after),
        _landmark_error_mm(pair, Chain()),
        _landmark_error_mm(pair, forward),
        seconds,
    )
    seconds["warp and measure"] = time.perf_counter() - begin
    return pair, result


def _overlaps(pair: PhantomPair, warped_labels: FloatArray) -> dict[int, float]:
    """Dice by label of the organs that the fixed image shows enough of."""
    import numpy as np

    from unireg_cli.evaluation.overlap import dice_per_label
    from unireg_cli.phantom.tissue import TISSUES

    counts = np.bincount(pair.fixed_labels.voxels.ravel(), minlength=256)
    scores = dice_per_label(pair.fixed_labels.voxels, warped_labels)
    return {label: score for label, score in scores.items() if label not in TISSUES and counts[label] >= _LEAST_VOXELS}


def _landmark_error_mm(pair: PhantomPair, chain: Chain) -> FloatArray:
    import numpy as np

    return np.asarray(np.linalg.norm(chain.map(pair.landmarks_fixed_lps) - pair.landmarks_moving_lps, axis=1))


def _write(places: Mapping[str, Path], pair: PhantomPair, result: _Result, title: str) -> None:
    """All files, into the staging folder."""
    from unireg_cli.io.images import write_image
    from unireg_cli.io.transforms import write_transforms
    from unireg_cli.report.picture import write_picture
    from unireg_cli.types import TransformFormat

    images = {
        "fixed": pair.fixed,
        "moving": pair.moving,
        "fixed_labels": pair.fixed_labels,
        "moving_labels": pair.moving_labels,
        "warped": result.warped,
        "warped_labels": result.warped_labels,
    }
    for role, image in images.items():
        write_image(places[role], image)
    _write_landmarks(places, pair)
    places["label_names"].write_text("label,name\n" + "".join(f"{label},{name}\n" for label, name in pair.names.items()), encoding="utf-8")
    done = result.registration
    prefix = places["warped"].parent / _PREFIX
    write_transforms(prefix, TransformFormat.H5, done.forward, done.inverse, fixed=pair.fixed.grid, moving=pair.moving.grid)
    write_picture(places["picture"], pair.fixed, pair.moving, done, result.warped, title)


def _write_landmarks(places: Mapping[str, Path], pair: PhantomPair) -> None:
    from unireg_cli.io.points import PointSpace, PointTable, write_points

    rows = tuple(("", "", "", pair.names[label]) for label in pair.landmark_labels)
    for role, points in (("fixed_landmarks", pair.landmarks_fixed_lps), ("moving_landmarks", pair.landmarks_moving_lps)):
        table = PointTable(("x", "y", "z", "organ"), rows, (0, 1, 2), points)
        write_points(places[role], table, points, PointSpace.LPS)


def _show(plan: Mapping[str, Path], pair: PhantomPair, result: _Result) -> None:
    """The summary on stdout."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table("", "before", "after", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    labels = {name: label for label, name in pair.names.items()}
    for name in _SHOWN:
        if labels[name] in result.dice_after:
            table.add_row(f"Dice {name}", f"{result.dice_before[labels[name]]:.3f}", f"{result.dice_after[labels[name]]:.3f}")
    means = [float(np.mean(list(scores.values()))) for scores in (result.dice_before, result.dice_after)]
    table.add_row(f"Dice, mean of {len(result.dice_after)} organs", *(f"{mean:.3f}" for mean in means), style="bold")
    errors = (result.error_before_mm, result.error_after_mm)
    table.add_row(f"True error of {len(errors[0])} landmarks, mean (mm)", *(f"{error.mean():.2f}" for error in errors), style="bold")
    table.add_row("True error, 95th percentile (mm)", *(f"{np.percentile(error, 95):.2f}" for error in errors))
    console.print(table)
    quality = result.registration.quality
    if quality.regularity is not None:
        console.print(f"folding {quality.regularity.folding_percent:.3g} %, spread of log-Jacobian {quality.regularity.sdlogj:.3f}")
    console.print("seconds: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in result.seconds.items()))
    console.print(f"files in {plan['picture'].parent}: look at {plan['picture'].name} first", soft_wrap=True)
