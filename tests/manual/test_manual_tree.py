"""What the manual knows about commands is what their help says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from unireg_cli.app import app
from unireg_cli.manual import tree
from unireg_cli.manual.tree import Command, Flag, commands

_OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


@pytest.mark.parametrize("command", commands(), ids=lambda one: one.name)
def test_flags_and_panels_are_those_of_the_help(command: Command) -> None:
    # So wide that nothing is wrapped.
    text = CliRunner().invoke(app, [command.name, "--help"], terminal_width=400, env={"COLUMNS": "400"}).stdout
    shown = {name for line in text.splitlines() if re.match(r"\W*--?[a-z]", line) for name in _OPTION.findall(line.split("  " * 3)[0])}
    flags = [flag for panel in command.panels.values() for flag in panel]
    assert {name for flag in flags for name in flag.names} >= shown - {"--help", "-h"}
    assert all(name in text for flag in flags for name in flag.names)
    titles = re.findall(r"^╭─ (.+?) ─", text, re.MULTILINE)
    assert [title for title in titles if title != "Arguments"] == list(command.panels) or titles[-1:] == ["Options"]
    plain = " ".join(text.split())
    assert command.summary in plain and all(word.value in text and word.help.split(" Default:")[0] in plain for word in command.words)


def test_every_command_is_there_in_the_order_of_the_help() -> None:
    text = CliRunner().invoke(app, ["--help"], terminal_width=200).stdout
    places = [re.search(rf"^\W*{one.name} ", text, re.MULTILINE) for one in commands()]
    assert len(places) >= 9 and None not in places
    assert [one.name for one in commands()] == re.findall(r"^│ ([a-z]+) ", text.split("Commands ─")[1], re.MULTILINE)


def test_a_command_drawn_by_hand() -> None:
    def paint(
        wall: Annotated[Path, typer.Argument(metavar="WALL", help="What to paint.")],
        colour: Annotated[Literal["red", "blue"], typer.Option("--colour", "-c", help="Of the \\[outer] coat.")],
        lid: Annotated[Path | None, typer.Argument(metavar="LID")] = None,
        coats: Annotated[int, typer.Option(min=1, max=3, help="How many.", rich_help_panel="Work")] = 2,
        gloss: Annotated[float | None, typer.Option(show_default="as the wall", help="Of the paint.", rich_help_panel="Work")] = None,
        also: Annotated[list[str] | None, typer.Option("--also", help="Other walls.")] = None,
        wet: Annotated[bool, typer.Option("--wet", help="Do not wait.")] = False,
        secret: Annotated[bool, typer.Option("--secret", hidden=True)] = False,
    ) -> None:
        """Paint a wall.

        Slowly, and
        evenly.
        """

    found = tree._command(paint)
    assert found == Command(
        "paint",
        "Paint a wall.",
        ("Slowly, and evenly.",),
        (Flag((), "WALL", "What to paint.", True), Flag((), "LID", "", False)),
        {
            "Options": (
                Flag(("--colour", "-c"), "red|blue", "Of the [outer] coat.", True),
                Flag(("--also",), "TEXT", "Other walls.", False),
                Flag(("--wet",), "", "Do not wait.", False),
            ),
            "Work": (
                Flag(("--coats",), "N", "How many. From 1 to 3. Default: 2.", False),
                Flag(("--gloss",), "X", "Of the paint. Default: as the wall.", False),
            ),
        },
    )
    assert found.usage == "unireg paint --colour red|blue [OPTIONS] WALL [LID]"


def test_a_command_without_help_is_refused() -> None:
    def bare() -> None:
        pass

    with pytest.raises(ValueError, match="bare"):
        tree._command(bare)
