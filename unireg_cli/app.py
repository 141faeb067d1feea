"""The Typer app. Imports nothing heavy, so that help and shell completion are instant."""

from __future__ import annotations

from typing import Annotated

import typer

from unireg_cli.commands.anatomies import anatomies
from unireg_cli.commands.demo import demo
from unireg_cli.commands.doctor import doctor
from unireg_cli.commands.evaluate import evaluate
from unireg_cli.commands.finetune import finetune
from unireg_cli.commands.flags import PairedCommand
from unireg_cli.commands.register import register
from unireg_cli.commands.report import report
from unireg_cli.commands.train import train
from unireg_cli.commands.warp import warp

app = typer.Typer(
    name="unireg",
    help="Registration of 3-D CT and MR images of any body region, written as ITK transforms.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)



def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        packages = ("torch", "SimpleITK", "nibabel", "numpy", "scipy")
        typer.echo(f"unireg {version('unireg')}")
        typer.echo(", ".join(f"{name} {version(name)}" for name in packages))
        typer.echo(f"Code: Apache-2.0. {_weights_licences()}")
        raise typer.Exit


def _weights_licences() -> str:
    from unireg_cli.errors import WeightsError
    from unireg_cli.io.weights import shipped_folder
    from unireg_cli.io.weights_config import read_config

    try:
        shipped = [read_config(path) for path in sorted(shipped_folder().glob("*.safetensors"))]
    except WeightsError as error:
        # Versions are asked for when something is wrong: say it, and the rest.
        return f"Weights: {error}."
    if not shipped:
        return "No network weights are part of this version, and no data."
    return " ".join(f"Weights {config['name']} (step {config['step']}): {config['licence']}." for config in shipped)


@app.callback()
def unireg(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show versions and licences.")] = False,
) -> None:
    """Registration of 3-D CT and MR images of any body region, written as ITK transforms."""


app.command(cls=PairedCommand, no_args_is_help=True)(register)
app.command(no_args_is_help=True)(warp)
app.command(no_args_is_help=True)(evaluate)
app.command(no_args_is_help=True)(train)
app.command(no_args_is_help=True)(finetune)
app.command()(anatomies)
app.command()(demo)
app.command(no_args_is_help=True)(report)
app.command()(doctor)
