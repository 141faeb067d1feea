"""``unireg report``: one page over many finished registrations, the most suspicious first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unireg_cli.commands import flags
from unireg_cli.commands.session import logger, start_logging


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with results of unireg register, at any depth.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="HTML", show_default="DIR/index.html", help="The page to write.")
    ] = None,
    overwrite: flags.Overwrite = False,
    quiet: flags.Quiet = False,
) -> None:
    """Gather finished registrations into one page, the most suspicious first.

    Reads every PREFIX.json below DIR; runs made with --report are linked. Low similarity gain, folding, uneven change of
    volume, large displacement, warnings, and being unlike the other runs count as suspicious.

    An index page of an earlier time is replaced; any other file only with --overwrite.
    """
    start_logging(quiet=quiet)
    from unireg_cli.commands.outputs import check_outputs
    from unireg_cli.report.gather import gather
    from unireg_cli.report.index_page import is_index, write_index

    path = folder / "index.html" if output is None else output
    cohort = gather(folder)
    check_outputs([path], [run.record for run in cohort.runs], overwrite=overwrite or is_index(path))
    write_index(path, cohort, f"unireg: {folder.resolve().name}")
    for run in cohort.runs[:5]:
        if run.problem is not None:
            logger.info("%s: %s", run.record, run.problem)
        elif run.reasons:
            logger.info("%s: suspicion %.2f, %s", run.record, run.suspicion, "; ".join(run.reasons))
    problems = sum(run.problem is not None for run in cohort.runs)
    said = f", {problems} of them failed or unreadable" if problems else ""
    logger.info("%d runs%s; wrote %s", len(cohort.runs), said, path)
