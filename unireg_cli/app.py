"""The Typer app. Imports nothing heavy, so that help and shell completion are instant."""

from __future__ import annotations

from typing import Annotated

import typer

from unireg_cli.commands.demo import demo
from unireg_cli.commands.flags import PairedCommand
from unireg_cli.commands.register import register
from unireg_cli.commands.warp import warp

app = typer.Typer(
    name="unireg",
    help="Registration of 3-D CT and MR images of any body region, written as ITK transforms.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_LICENCES = "Code: Apache-2.0. No network weights are part of this version, and no data."


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        packages = ("torch", "SimpleITK", "nibabel", "numpy", "scipy")
        typer.echo(f"unireg {version('unireg')}")
        typer.echo(", ".join(f"{name} {version(name)}" for name in packages))
        typer.echo(_LICENCES)
        raise typer.Exit


@app.callback()
def unireg(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show versions and licences.")] = False,
) -> None:
    """Registration of 3-D CT and MR images of any body region, written as ITK transforms."""


app.command(cls=PairedCommand, no_args_is_help=True)(register)
app.command(no_args_is_help=True)(warp)
app.command()(demo)
