"""One registration from files to files: read, solve, write everything together."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unireg_cli.commands.bids_files import bids_keys, make_dataset, write_sidecars
from unireg_cli.commands.chain_files import read_chain
from unireg_cli.commands.command_line import command_line
from unireg_cli.commands.outputs import check_inputs, plan_outputs, staged
from unireg_cli.commands.resources import Threads
from unireg_cli.commands.session import Progress, collected_warnings
from unireg_cli.errors import QualityGateError, UsageError
from unireg_cli.io.images import read_image, write_image
from unireg_cli.io.provenance import Clock, Surroundings, register_record, write_record
from unireg_cli.io.transforms import apply_commands, transform_paths, write_transforms
from unireg_cli.loading import Model, warn_of_gaps, weights_of
from unireg_cli.options import RegisterOptions
from unireg_cli.pair import Pair, Solution, jacobian_map, solve, warp_inverse
from unireg_cli.registration.normalise import decide_modality
from unireg_cli.registration.pipeline import Aligned
from unireg_cli.registration.result import Registration, Stage
from unireg_cli.registration.stopwatch import peak_memory_mb
from unireg_cli.spatial import DisplacementField, Image
from unireg_cli.steering_input import read_steering
from unireg_cli.types import Interpolation, Modality, TransformFormat
from unireg_cli.warping import fill_value, warp_image
from unireg_cli.words import ants_name

if TYPE_CHECKING:
    from unireg_cli.report.registration_page import Drawing

logger = logging.getLogger("unireg")


@dataclass(slots=True)
class Watch:
    """Times the steps around the registration itself."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    begin: float = field(default_factory=time.perf_counter)
    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        begin = time.perf_counter()
        yield
        self.stages.append(Stage(name, round(time.perf_counter() - begin, 3), peak_memory_mb()))

    def clock(self) -> Clock:
        """The times so far."""
        return Clock(self.started, tuple(self.stages), time.perf_counter() - self.begin, peak_memory_mb())


@dataclass(frozen=True, slots=True)
class Run:
    """A solved pair with the options and surroundings that led to it: all that its files are made of."""

    options: RegisterOptions
    threads: Threads
    solution: Solution
    watch: Watch
    warnings: list[str]
    model: Model | None = None


def register_files(
    options: RegisterOptions, plan: Mapping[str, Path], threads: Threads, progress: Progress, model: Model | None = None
) -> dict[str, Any]:
    """Run one registration and return its record; the files of ``plan`` appear together at the end, or none does."""
    watch = Watch()
    with collected_warnings() as warnings:
        check_inputs(options.inputs)
        with watch.stage("read"):
            pair = read_pair(options)
        solution = solve_as_asked(options, pair, watch, progress, model)
        return write_run(Run(options, threads, solution, watch, warnings, model), plan)


def read_pair(options: RegisterOptions) -> Pair:
    """The images, masks and initial transforms that the options name."""
    fixed, moving = (read_image(path, options.header) for path in (options.fixed, options.moving))
    masks = [None if path is None else read_image(path, options.header) for path in (options.fixed_mask, options.moving_mask)]
    initial = read_chain(options.init) if options.init else None
    bent = initial is not None and any(isinstance(step, DisplacementField) for step in initial.steps)
    if bent and options.transform_format is TransformFormat.ANTS:
        raise UsageError("--transform-format ants holds one field and one affine, not that of --init besides; use --transform-format h5")
    return Pair(fixed, moving, masks[0], masks[1], initial, read_steering(options.steering, fixed, moving, options.header))


def solve_as_asked(
    options: RegisterOptions,
    pair: Pair,
    watch: Watch,
    progress: Progress | None = None,
    model: Model | None = None,
    aligned: Aligned | None = None,
) -> Solution:
    """Solve a pair under the options, from an earlier alignment if there is one; the stages go to the watch, the warnings to the log."""
    warn_of_gaps(options, model)
    begin = time.perf_counter()
    solution = solve(
        pair,
        options.settings,
        interpolation=options.interpolation,
        default_value=options.default_value,
        max_memory_gb=options.max_memory_gb,
        network=None if model is None else model.network_for(options.settings.anatomy),
        aligned=aligned,
        progress=progress,
    )
    # What was spent on an earlier solution is told there.
    stages = solution.registration.stages[0 if aligned is None else len(aligned.stages) :]
    rest = time.perf_counter() - begin - sum(stage.seconds for stage in stages)
    watch.stages += [*stages, Stage("resample", round(rest, 3), peak_memory_mb())]
    for text in solution.registration.warnings:
        logger.warning("%s", text)
    return solution


def write_run(run: Run, plan: Mapping[str, Path]) -> dict[str, Any]:
    """Write the files of ``plan``, all or none, and return the record."""
    if run.options.bids is not None:
        make_dataset(run.options.bids, {path.parent for path in plan.values()})
    with staged(plan.values()) as places:
        with run.watch.stage("write"):
            named = {name: places[path] for name, path in plan.items()}
            # Packing is most of it, and leaves a core to the other.
            with ThreadPoolExecutor(1) as beside:
                transforms = beside.submit(_write_transforms, run, named)
                _write_images(run, named)
                transforms.result()
        drawing = _draw_report(run) if "report" in plan else None
        record = make_record(run, plan)
        if run.options.bids is not None:
            write_sidecars(run.options, named)
            record = bids_keys(run.options, "warped") | record
        if drawing is not None:
            from unireg_cli.report.registration_page import write_report

            write_report(places[plan["report"]], record, drawing, command_line(run.options))
        write_record(places[plan["record"]], record)
    return record


def _write_images(run: Run, places: Mapping[str, Path]) -> None:
    options, solution = run.options, run.solution
    makers: dict[str, Callable[[], Image]] = {
        "warped": lambda: solution.warped,
        "inverse_warped": lambda: warp_inverse(solution, options.interpolation, options.default_value),
        "jacobian": lambda: jacobian_map(solution),
        "log_jacobian": lambda: jacobian_map(solution, logarithm=True),
    }
    for name, make in makers.items():
        if name in places:
            write_image(places[name], make())
    for number, extra in enumerate(options.also, 1):
        image = read_image(extra.image, options.header)
        way = Interpolation.NEAREST if extra.labels else Interpolation.LINEAR
        default = 0.0 if extra.labels else fill_value(image, Modality.AUTO, None)
        write_image(places[f"also_{number}"], warp_image(image, solution.pair.fixed.grid, solution.written, way, default))
    if "dicom" in places:
        _write_dicom(run, places["dicom"])
    if "picture" in places:
        from unireg_cli.report.picture import write_picture

        write_picture(places["picture"], *_shown(run))


def _draw_report(run: Run) -> Drawing:
    """The pictures of the page, timed like any other step: the page itself tells how long."""
    from unireg_cli.report.registration_page import draw_report

    with run.watch.stage("report"):
        return draw_report(*_shown(run), run.options.settings.fixed_modality)


def _shown(run: Run) -> tuple[Image, Image, Registration, Image, str]:
    """What pictures are drawn from, and their title."""
    solution, options = run.solution, run.options
    title = f"{options.moving.name} to {options.fixed.name}"
    return solution.pair.fixed, solution.pair.moving, solution.registration, solution.warped, title


def _write_dicom(run: Run, folder: Path) -> None:
    from unireg_cli.io.dicom_series import write_dicom
    from unireg_cli.io.dicom_source import read_source

    options, solution = run.options, run.solution
    fixed, moving = (read_source(path) if path.is_dir() else None for path in (options.fixed, options.moving))
    modality = decide_modality(solution.pair.moving, options.settings.moving_modality)[0]
    write_dicom(folder, solution.warped, fixed, moving, modality)


def _write_transforms(run: Run, places: Mapping[str, Path]) -> None:
    """Into the staging folder, under the names that the plan gives them."""
    options, done, pair = run.options, run.solution.registration, run.solution.pair
    with tempfile.TemporaryDirectory(dir=places["warped"].parent) as folder:
        prefix, fmt = Path(folder) / "t_", options.transform_format
        write_transforms(prefix, fmt, done.forward, done.inverse, fixed=pair.fixed.grid, moving=pair.moving.grid)
        for role, path in transform_paths(prefix, fmt).items():
            path.replace(places[role])


def make_record(run: Run, plan: Mapping[str, Path]) -> dict[str, Any]:
    """Everything known about a run, as the JSON will hold it."""
    options, done, pair = run.options, run.solution.registration, run.solution.pair
    grids = {"fixed": pair.fixed.grid, "moving": pair.moving.grid, "network": done.network_grid}
    if done.field is not None:
        grids["field"] = done.field.grid
    if done.inverse_field is not None:
        grids["inverse_field"] = done.inverse_field.grid
    transforms = plan_outputs(options)
    name = ants_name(options.interpolation)
    return register_record(
        options=options,
        condition=options.condition,
        weights=weights_of(options, None if run.model is None else run.model.weights.config),
        grids=grids,
        registration=done,
        surroundings=Surroundings(done.decisions.get("device", options.settings.device), run.threads.count, run.threads.source),
        warnings=run.warnings,
        outputs=plan,
        apply=apply_commands(transforms, options.transform_format, options.fixed, options.moving, options.output, name),
        clock=run.watch.clock(),
    )


def check_folding(record: Mapping[str, Any]) -> None:
    """Hold a finished registration against ``--fail-on-folding``.

    Raises:
        QualityGateError: more folding than allowed.
    """
    options, measured = record["options"], record["quality"]["regularity"]
    limit = options["fail_on_folding"]
    if limit is not None and measured is not None and measured["folding_percent"] > limit:
        raise QualityGateError(
            f"{options['moving']} to {options['fixed']}: {measured['folding_percent']:.4g} % of the field is folded, more than "
            f"--fail-on-folding {limit:g}; the outputs are written, look at them or try a higher --smoothness"
        )
