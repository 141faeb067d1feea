"""``--compare-with``: a second answer for another anatomy from the same affine, and the numbers of both side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unireg_cli.commands.outputs import check_inputs
from unireg_cli.commands.pair_files import Run, Watch, read_pair, solve_as_asked, write_run
from unireg_cli.commands.resources import Threads
from unireg_cli.commands.session import Progress, collected_warnings
from unireg_cli.loading import Model
from unireg_cli.options import RegisterOptions
from unireg_cli.registration.pipeline import Aligned


def second_answer(options: RegisterOptions) -> RegisterOptions | None:
    """The options of the run to compare with: another anatomy, and PREFIX with that anatomy's name and ``_`` added."""
    if options.compare_with is None:
        return None
    name = "-".join(options.compare_with) or "all"
    before = options.output.name
    output = options.output.with_name(f"{before}{'' if before.endswith(('_', '-', '.')) else '_'}{name}_")
    picture = None if options.picture is None else output.with_name(f"{output.name}.png")
    settings = replace(options.settings, anatomy=options.compare_with)
    return replace(options, settings=settings, output=output, picture=picture, compare_with=None)


def compare_files(
    runs: Sequence[tuple[RegisterOptions, Mapping[str, Path]]], threads: Threads, progress: Progress, model: Model | None = None
) -> list[dict[str, Any]]:
    """Register one pair under several options, the images read and aligned once; the records in the same order."""
    records: list[dict[str, Any]] = []
    aligned: Aligned | None = None
    watch = Watch()
    with collected_warnings():
        check_inputs(runs[0][0].inputs)
        with watch.stage("read"):
            pair = read_pair(runs[0][0])
    for options, plan in runs:
        with collected_warnings() as warnings:
            solution = solve_as_asked(options, pair, watch, progress, model, aligned)
            aligned = solution.aligned
            records.append(write_run(Run(options, threads, solution, watch, warnings, model), plan))
        watch = Watch()
    return records


def side_by_side(records: Sequence[Mapping[str, Any]]) -> str:
    """The numbers of several records of one pair as a table of text."""
    rows = [("", *(", ".join(record["condition"]["anatomy"]) for record in records))]
    rows += [(name, *cells) for name, cells in _rows(records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for name, *cells in rows:
        right = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *right]).rstrip())
    return "\n".join(lines)


def _rows(records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    qualities = [record["quality"] for record in records]
    yield f"{qualities[0]['similarity_name']}, before", [f"{quality['similarity_before']:.4f}" for quality in qualities]
    yield f"{qualities[0]['similarity_name']}, after", [f"{quality['similarity_after']:.4f}" for quality in qualities]
    yield "folding (%)", [f"{quality['regularity']['folding_percent']:.4g}" for quality in qualities]
    yield "SDlogJ", [f"{quality['regularity']['sdlogj']:.4f}" for quality in qualities]
    for key, what in (("p50", "median"), ("p95", "95th percentile"), ("max", "largest")):
        yield f"displacement, {what} (mm)", [f"{quality['displacement_percentiles_mm'][key]:.2f}" for quality in qualities]
    overlaps = [record["steering"]["structures"] for record in records]
    for parts in zip(*overlaps, strict=True):
        yield f"Dice {parts[0]['name']}", [f"{part['dice_after']:.4f}{'*' if part['steers'] else ''}" for part in parts]
    if any(part["steers"] for parts in overlaps for part in parts):
        yield "(* this structure's segmentations steered)", [""] * len(records)
    landmarks = [record["steering"]["landmarks"] for record in records]
    if landmarks[0] is not None:
        yield "landmarks, mean (mm)", [f"{entry['after']['mean_mm']:.2f}" for entry in landmarks]
    yield "seconds", [f"{record['timing']['total_seconds']:.1f}" for record in records]
