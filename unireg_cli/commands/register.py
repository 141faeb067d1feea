"""``unireg register``: two images in, a warped image and ITK transforms out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from unireg_cli.commands import flags
from unireg_cli.commands.session import progress_bar, start_logging
from unireg_cli.errors import UsageError

# Flags of one pair only: in a table they are columns, or would make all pairs write the same file.
_ONE_PAIR = ("fixed", "moving", "fixed_file", "moving_file", "output", "also", "also_labels", "picture", "dicom_out", "compare_with")


def register(
    fixed: flags.Fixed = None,
    moving: flags.Moving = None,
    fixed_file: flags.FixedFile = None,
    moving_file: flags.MovingFile = None,
    output: flags.Prefix = None,
    transform: flags.Kind = "deformable",
    init: flags.Init = None,
    modality: flags.BothModalities = None,
    fixed_modality: flags.FixedModality = None,
    moving_modality: flags.MovingModality = None,
    anatomy: flags.Anatomy = None,
    mode: flags.ModeKind = None,
    similarity: flags.SimilarityKind = "auto",
    smoothness: flags.Smoothness = None,
    iterations: flags.Iterations = None,
    fast: flags.Fast = False,
    best: flags.Best = False,
    fixed_mask: flags.FixedMask = None,
    moving_mask: flags.MovingMask = None,
    fixed_seg: flags.FixedSeg = None,
    moving_seg: flags.MovingSeg = None,
    seg_labels: flags.SegLabels = None,
    fixed_points: flags.FixedPoints = None,
    moving_points: flags.MovingPoints = None,
    space: flags.LandmarkSpace = None,
    compare_with: flags.CompareWith = None,
    also: flags.Also = None,
    also_labels: flags.AlsoLabels = None,
    transform_format: flags.Format = "h5",
    field_spacing: flags.FieldSpacing = None,
    jacobian: flags.Jacobian = False,
    log_jacobian: flags.LogJacobian = False,
    inverse_warped: flags.InverseWarped = False,
    picture: flags.Picture = None,
    report: flags.Report = False,
    dicom_out: flags.DicomOut = None,
    bids: flags.Bids = False,
    interpolation: flags.WarpedInterpolation = "linear",
    default_value: flags.WarpedFill = None,
    weights: flags.Weights = None,
    device: flags.Device = "auto",
    threads: flags.ThreadCount = None,
    seed: flags.Seed = 0,
    deterministic: flags.Deterministic = False,
    max_memory: flags.MaxMemory = None,
    fail_on_folding: flags.FailOnFolding = None,
    header: flags.Header = "check",
    overwrite: flags.Overwrite = False,
    dry_run: flags.DryRun = False,
    pairs: flags.Pairs = None,
    resume: flags.Resume = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
    log: flags.LogFile = None,
    json: flags.Json = False,
) -> None:
    """Register MOVING to FIXED and write the warped image, ITK transforms both ways, and a JSON.

    Exit codes: 0 done, 2 usage, 3 bad input, 4 weights, 5 out of memory, 6 --fail-on-folding, 1 anything else.
    """
    words = dict(locals())
    start_logging(quiet=quiet, verbose=verbose, log=log)
    if pairs is not None:
        _register_many(words)
        return
    if resume:
        raise UsageError("--resume belongs to --pairs; leave it out")
    from unireg_cli.options import RegisterOptions

    # Before anything heavy is imported: a word that is wrong is said at once.
    options = RegisterOptions.from_words(words)
    from unireg_cli.commands.outputs import check_inputs, check_plan, plan_outputs
    from unireg_cli.commands.resources import resolve_threads
    from unireg_cli.loading import choose_weights, complete, load_network

    count, found = resolve_threads(threads), choose_weights([options])
    answers = [options] if options.compare_with is None else [options, _second(options)]
    runs = [(complete(one, found), plan_outputs(one)) for one in answers]
    check_inputs(options.inputs)
    check_plan(options, [path for _, plan in runs for path in plan.values()], overwrite=overwrite)
    if dry_run:
        _show_plan(runs, count, found, as_json=json)
        return
    from unireg_cli.commands.pair_files import check_folding, register_files
    from unireg_cli.commands.resources import apply_threads

    apply_threads(count)
    with progress_bar(quiet=quiet) as progress:
        if len(runs) > 1:
            records = _compare(runs, count, progress, load_network(found))
        else:
            records = [register_files(*runs[0], count, progress, load_network(found))]
    _show_records(records, as_json=json, quiet=quiet)
    for record in records:
        check_folding(record)


def _second(options: Any) -> Any:
    from unireg_cli.commands.comparison import second_answer

    return second_answer(options)


def _compare(runs: Any, count: Any, progress: Any, model: Any) -> list[dict[str, Any]]:
    from unireg_cli.commands.comparison import compare_files

    return compare_files(runs, count, progress, model)


def _show_records(records: Sequence[Mapping[str, Any]], *, as_json: bool, quiet: bool) -> None:
    """One record as it is; several side by side, or as the runs of one object."""
    from unireg_cli.io.provenance import SCHEMA_VERSION
    from unireg_cli.io.provenance import as_json as text

    for record in records:
        _show_record(record, as_json=as_json and len(records) == 1)
    if len(records) > 1 and as_json:
        typer.echo(text({"schema_version": SCHEMA_VERSION, "command": "register --compare-with", "runs": list(records)}), nl=False)
    elif len(records) > 1 and not quiet:
        from unireg_cli.commands.comparison import side_by_side

        typer.echo(side_by_side(records))


def _register_many(words: Mapping[str, Any]) -> None:
    # With --bids, -o is the folder of all.
    given = [f"--{name.replace('_', '-')}" for name in _ONE_PAIR if words[name] and not (name == "output" and words["bids"])]
    if given:
        raise UsageError(f"{', '.join(given)} cannot go with --pairs, where each row names its own files")
    from unireg_cli.options import anatomy_names

    anatomy_names(words["anatomy"] or (), words["weights"])
    from unireg_cli.commands.batch import check_rows, check_summary, choose_model, read_pairs, run_rows
    from unireg_cli.commands.outputs import plan_outputs
    from unireg_cli.commands.resources import apply_threads, resolve_threads
    from unireg_cli.io.provenance import as_json
    from unireg_cli.loading import load_network

    rows, count = read_pairs(words["pairs"], words), resolve_threads(words["threads"])
    mode = {"overwrite": words["overwrite"], "resume": words["resume"]}
    check_rows(rows, **mode)
    found, rows = choose_model(rows)
    if words["dry_run"]:
        runs = [(row.options, plan_outputs(row.options)) for row in rows if row.options is not None]
        _show_plan(runs, count, found, as_json=words["json"])
        for row in rows:
            if row.problem is not None:
                raise UsageError(f"line {row.number}: {row.problem.line}")
        return
    apply_threads(count)
    with progress_bar(quiet=words["quiet"]) as progress:
        summary = run_rows(rows, count, progress, load_network(found), **mode)
    if words["json"]:
        typer.echo(as_json(summary), nl=False)
    check_summary(summary)


def _show_plan(runs: Sequence[tuple[Any, Mapping[str, Path]]], threads: Any, found: Any, *, as_json: bool) -> None:
    from unireg_cli.io.provenance import SCHEMA_VERSION, plain
    from unireg_cli.io.provenance import as_json as text
    from unireg_cli.loading import weights_of

    config = found and found.config
    plans = [
        {
            "options": plain(options),
            "condition": plain(options.condition),
            "weights": weights_of(options, config),
            "outputs": plain(dict(plan)),
        }
        for options, plan in runs
    ]
    if as_json:
        typer.echo(text({"schema_version": SCHEMA_VERSION, "dry_run": True, "threads": plain(threads), "runs": plans}), nl=False)
        return
    typer.echo(f"threads: {threads.count} ({threads.source})")
    for entry in plans:
        weights = entry["weights"] and f"{entry['weights']['name']} (SHA-256 {entry['weights']['sha256'][:12]}...)"
        shown = entry["options"] | entry["options"]["settings"] | (entry["condition"] or {}) | {"weights": weights}
        for name, value in shown.items():
            if name != "settings" and value is not None and value is not False and value != []:
                typer.echo(f"{name}: {value}")
        typer.echo("would write:\n" + "\n".join(f"  {path}" for path in entry["outputs"].values()))


def _show_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    from unireg_cli.commands.session import logger
    from unireg_cli.io.provenance import as_json as text

    if as_json:
        typer.echo(text(record), nl=False)
    quality = record["quality"]
    for name, reason in record["decisions"].items():
        logger.debug("%s: %s", name.replace("_", " "), reason)
    values = " -> ".join(f"{quality[key]:.4f}" for key in ("similarity_before", "similarity_affine", "similarity_after"))
    logger.info("%s before -> affine -> after: %s", quality["similarity_name"], values)
    if quality["regularity"] is not None:
        logger.info("folding %.4g %%, SDlogJ %.3f", quality["regularity"]["folding_percent"], quality["regularity"]["sdlogj"])
    logger.info("%.1f s; wrote %s", record["timing"]["total_seconds"], record["outputs"]["record"])
