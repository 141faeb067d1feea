"""``unireg doctor``: is this installation sound, and what will it use on this machine?"""

from __future__ import annotations

from typing import Annotated

import typer

from unireg_cli.commands import flags
from unireg_cli.commands.session import start_logging


def doctor(
    device: flags.Device = "auto",
    weights: flags.Weights = None,
    threads: flags.ThreadCount = None,
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON on stdout.")] = False,
) -> None:
    """Check this installation: versions, device, threads, memory, weights and their checksum, and a small registration.

    Takes about five seconds and writes nothing. Exit code 0 only if there is no problem; notes are worth knowing, no more.
    """
    start_logging()
    from unireg_cli.commands.resources import apply_threads, resolve_threads

    count = resolve_threads(threads)
    apply_threads(count)
    from unireg_cli.commands.checkup import State, checkup
    from unireg_cli.errors import UniregError
    from unireg_cli.io.provenance import SCHEMA_VERSION, plain
    from unireg_cli.io.provenance import as_json as text

    checks = []
    for check in checkup(count, device, weights):
        checks.append(check)
        if not as_json:
            typer.echo(f"{check.state:8} {check.name:10} {check.text}")
    problems = [check.name for check in checks if check.state is State.PROBLEM]
    if as_json:
        found = {"schema_version": SCHEMA_VERSION, "command": "doctor", "well": not problems, "checks": plain(checks)}
        typer.echo(text(found), nl=False)
    if problems:
        raise UniregError(f"unireg doctor found {len(problems)} problem{'s' * (len(problems) > 1)}: {', '.join(problems)}")
    if not as_json:
        typer.echo("all is well")
