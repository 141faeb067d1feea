"""``unireg evaluate``: register the pairs of a labelled data set, or take their transforms, and score them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from unireg_cli.commands import flags
from unireg_cli.commands.session import progress_bar, start_logging
from unireg_cli.errors import UsageError

_NO_REGISTRATION = (
    *("anatomy", "mode", "smoothness", "iterations", "fast", "best", "init", "modality", "weights", "max_memory"),
    *("field_spacing", "deterministic"),
)
_NOT_WORDS = ("dataset", "output", "transforms", "split", "points_space", "report", "jobs", "compare", "resume", "overwrite")

Dataset = Annotated[Path | None, typer.Argument(metavar="DATASET.json", help="In the Learn2Reg layout; not needed beside --compare.")]
Prefix = Annotated[str, typer.Option("--output", "-o", metavar="PREFIX", help="Beginning of all output names.")]
Folder = Annotated[
    Path | None, typer.Option("--transforms", metavar="DIR", help="Score MOVING_to_FIXEDComposite.h5 (...) instead of registering.")
]
Split = Annotated[str, typer.Option(help="Which list of pairs: registration_val, training_paired_images, ...")]
PointsSpace = Annotated[flags.SpaceWord, typer.Option(help="Of the data set's landmarks; Learn2Reg counts voxels.")]
Page = Annotated[Path | None, typer.Option("--report", metavar="OUT.html", help="Self-contained page: plots, pictures, failures.")]
Jobs = Annotated[int, typer.Option(min=1, help="Pairs at the same time; the threads are shared among them.")]
Compare = Annotated[tuple[Path, Path] | None, typer.Option(metavar="A.csv B.csv", help="Paired differences of two PREFIXpairs.csv.")]
Resume = Annotated[bool, typer.Option("--resume", help="Take the finished rows of an earlier run; failed ones are tried again.")]


def evaluate(
    dataset: Dataset = None,
    output: Prefix = "evaluation_",
    transforms: Folder = None,
    split: Split = "registration_val",
    points_space: PointsSpace = "voxel",
    report: Page = None,
    jobs: Jobs = 1,
    compare: Compare = None,
    transform: flags.Kind = "deformable",
    init: flags.Init = None,
    modality: flags.BothModalities = None,
    anatomy: flags.Anatomy = None,
    mode: flags.ModeKind = None,
    similarity: flags.SimilarityKind = "auto",
    smoothness: flags.Smoothness = None,
    iterations: flags.Iterations = None,
    fast: flags.Fast = False,
    best: flags.Best = False,
    field_spacing: flags.FieldSpacing = None,
    weights: flags.Weights = None,
    device: flags.Device = "auto",
    threads: flags.ThreadCount = None,
    seed: flags.Seed = 0,
    deterministic: flags.Deterministic = False,
    max_memory: flags.MaxMemory = None,
    header: flags.Header = "check",
    overwrite: flags.Overwrite = False,
    resume: Resume = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
    log: flags.LogFile = None,
    json: flags.Json = False,
) -> None:
    """Score registrations by labels and landmarks: PREFIXpairs.csv, PREFIXstructures.csv and PREFIXsummary.json.

    Exit codes: 0 done, 1 some pairs failed (or their own code, if they agree), 2 usage, 3 bad input, 4 weights.
    """
    words = dict(locals())
    start_logging(quiet=quiet, verbose=verbose, log=log)
    tables = compare if compare and compare[0] is not None else None
    if resume and overwrite:
        raise UsageError("--resume and --overwrite contradict each other; give one")
    from unireg_cli.commands.evaluate_outcome import compare_only, evaluate_dataset

    if dataset is None:
        if tables is None:
            raise UsageError("name a DATASET.json to evaluate, or two tables with --compare A.csv B.csv")
        record = compare_only(tables, output, report, seed, overwrite=overwrite)
        _print(record, as_json=json, quiet=quiet)
        return
    given = [f"--{name.replace('_', '-')}" for name in _NO_REGISTRATION if words[name]]
    if transforms is not None and given:
        raise UsageError(f"{', '.join(given)} would do nothing with --transforms; leave it out")
    with progress_bar(quiet=quiet) as progress:
        record = evaluate_dataset(words, register_words(words), tables, progress)
    _print(record, as_json=json, quiet=quiet)
    check_failures(record)


def register_words(words: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that are those of ``unireg register``."""
    return {name: value for name, value in words.items() if name not in _NOT_WORDS}


def _print(record: Mapping[str, Any], *, as_json: bool, quiet: bool) -> None:
    from unireg_cli.commands.evaluate_outcome import in_words
    from unireg_cli.io.provenance import as_json as text

    if as_json:
        typer.echo(text(record), nl=False)
    elif not quiet:
        typer.echo(in_words(record))


def check_failures(record: Mapping[str, Any]) -> None:
    """Raise if any pair failed; the code is theirs if they agree."""
    from unireg_cli.commands.batch import BatchError

    codes = set(record["exit_codes"])
    if codes:
        failed, pairs = record["summary"]["failed"], record["summary"]["pairs"]
        raise BatchError(f"{failed} of {pairs} pairs failed; {record['outputs']['pairs']} says why", codes.pop() if len(codes) == 1 else 1)
