"""``unireg train``: a training run from its TOML."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unireg_cli.commands import flags
from unireg_cli.commands.session import logger, progress_bar, start_logging
from unireg_cli.errors import InputError

if TYPE_CHECKING:
    from trainer.config import TrainConfig


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The run; relative paths in it begin at its folder.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the output folder, if there is one.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the config's number.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="Instead of the config's folder.")] = None,
    threads: flags.ThreadCount = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the whole config, defaults too, and stop.")] = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
    log: flags.LogFile = None,
) -> int:
    """Train the registration network on labelled data sets.

    Writes checkpoints, curves and the best weights so far into the output folder. A run that was stopped goes on with --resume
    and comes to the same numbers as one that was not.

    Several processes, also on several machines: torchrun --nproc-per-node 2 -m unireg_cli train CONFIG.toml --threads 4
    (torchrun gives each process a single thread unless --threads says more)
    """
    # Of several processes one speaks.
    speaks = os.environ.get("RANK", "0") == "0"
    start_logging(quiet=quiet or not speaks, verbose=verbose and speaks, log=log if speaks else None)
    from unireg_cli.commands.resources import apply_threads, resolve_threads

    apply_threads(resolve_threads(threads))
    settings = _settings(config, steps, output)
    if dry_run:
        from trainer.config_file import as_toml

        typer.echo(as_toml(settings), nl=False)
        return 0
    from trainer.distributed import joined
    from trainer.run import run

    with joined() as team, progress_bar(quiet=quiet or not speaks) as progress:
        outcome = run(settings, resume=resume, progress=progress, team=team)
    if outcome.stopped:
        logger.warning("stopped after step %d; go on with --resume", outcome.step)
        return 128 + outcome.stopped
    logger.info("done after step %d, best score %.4f: %s", outcome.step, outcome.best, outcome.weights)
    return 0


def _settings(path: Path, steps: int | None, output: Path | None) -> TrainConfig:
    """The config with what the command line says instead, and its data there.

    Raises:
        InputError: a data set that is not there.
    """
    from dataclasses import replace

    from trainer.config_file import read_config

    settings = read_config(path)
    if steps is not None:
        settings = replace(settings, steps=steps)
    if output is not None:
        settings = replace(settings, output=str(output.absolute()))
    for source in settings.sources:
        if source.path and not Path(source.path).is_file():
            raise InputError(f"{path}: no such data set: {source.path}; paths are relative to the config's folder")
    return settings
