"""``unireg finetune``: adapt weights to a handful of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unireg_cli.commands import flags
from unireg_cli.commands.session import logger, progress_bar, start_logging

if TYPE_CHECKING:
    from trainer.finetune import Outcome

WhatWord = Literal["controller", "all"]


def finetune(
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS.json", help="1 to 50 pairs in the Learn2Reg layout, labelled or not.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="NAME.safetensors", help="What to write, with a JSON beside it.")],
    anatomy: Annotated[
        str | None,
        typer.Option("--anatomy", metavar="NAME", show_default="all", help="What to adapt for: a name of the table, or a new one."),
    ] = None,
    what: Annotated[
        WhatWord,
        typer.Option(
            "--what",
            case_sensitive=False,
            help="controller: a small file beside the base, used where NAME is asked for; all: everything, and which structures it sees.",
        ),
    ] = "controller",
    minutes: Annotated[float | None, typer.Option("--minutes", help="Longest time. Default: 10, if no --steps are given.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Most steps, instead of minutes.")] = None,
    val: Annotated[Path | None, typer.Option("--val", metavar="FILE.json", help="Pairs to judge by. Default: a fifth of PAIRS.")] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="FILE|NAME", help="What to begin with; default as in register.")
    ] = None,
    look_every: Annotated[int, typer.Option("--look-every", metavar="STEPS", help="How often to look at the pairs held back.")] = 50,
    rate: Annotated[float | None, typer.Option("--rate", help="Learning rate. Default: 2e-3; 1e-4 with --what all.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped, to the same numbers.")] = False,
    device: Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to compute.")] = "auto",
    seed: flags.Seed = 0,
    threads: flags.ThreadCount = None,
    overwrite: flags.Overwrite = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
    log: flags.LogFile = None,
) -> int:
    """Adapt weights to your own pairs, and never to anything worse: pairs held back decide.

    Use the result with unireg register --weights NAME.safetensors --anatomy NAME. Without --anatomy here, it is used where register is
    asked for nothing in particular. What was not adapted for is answered by the base weights, to the bit (--what controller).

    If nothing better is found, that is said, the exit code is 0, and the file written answers as the base does.
    """
    start_logging(quiet=quiet, verbose=verbose, log=log)
    from unireg_cli.commands.resources import apply_threads, resolve_threads
    from unireg_cli.errors import UsageError, WeightsError
    from unireg_cli.io.weights import find_weights

    count = resolve_threads(threads)
    path = find_weights(weights)
    if path is None:
        raise WeightsError("there are no weights to begin with; name some with --weights")
    if path.resolve() == output.resolve():
        raise UsageError(f"--output {output} is the file of the weights to begin with; choose another name")
    apply_threads(count)
    from trainer.finetune import finetune as run
    from trainer.finetune_options import Options
    from trainer.finetune_task import What

    options = Options(
        pairs=pairs,
        output=output,
        weights=path,
        anatomy=anatomy,
        what=What(what),
        minutes=minutes,
        steps=steps,
        val=val,
        look_every=look_every,
        seed=seed,
        device=device,
        rate=rate,
    )
    with progress_bar(quiet=quiet, left=True) as progress:
        outcome = run(options, resume=resume, overwrite=overwrite, progress=progress)
    return _say(outcome, output)


def _say(outcome: Outcome, output: Path) -> int:
    """How it ended, and the exit code."""
    if outcome.stopped:
        logger.warning("stopped after step %d; go on with --resume", outcome.step)
        return 128 + outcome.stopped
    name = "Dice" if outcome.measure.value == "dice" else "similarity"
    before, after = outcome.before, outcome.after
    if not outcome.improved:
        text = "no step of %d was better than the weights as they were (%s %.4f): %s changes nothing and answers as they do"
        logger.warning(text, outcome.step, name, before.quality, output)
        return 0
    logger.info("%s %.4f -> %.4f at step %d of %d; wrote %s", name, before.quality, after.quality, after.step, outcome.step, output)
    return 0
