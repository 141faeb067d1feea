"""A page of the documentation site for each command."""

from __future__ import annotations

from collections.abc import Iterable

from unireg_cli.manual.tree import Command, Flag

NOTE = "<!-- Written by `python -m unireg_cli.manual docs` from the command's help: change it there. -->"

# Where a command is explained at length: title and file beside the folder of these pages.
_GUIDES: dict[str, tuple[tuple[str, str], ...]] = {
    "register": (("Tutorial", "tutorial.md"), ("Steer a registration", "steering.md"), ("Transforms and geometry", "transforms.md")),
    "warp": (("Transforms and geometry", "transforms.md"),),
    "evaluate": (("Evaluate on labelled data", "evaluate.md"),),
    "train": (("Train and adapt", "training.md"),),
    "finetune": (("Train and adapt", "training.md"),),
    "anatomies": (("Steer a registration", "steering.md"),),
    "demo": (("Tutorial", "tutorial.md"),),
    "report": (("Read a report", "reports.md"),),
    "doctor": (("When something is wrong", "troubleshooting.md"),),
}


def command_page(command: Command) -> str:
    """The page of one command; its links are relative to the folder ``commands``."""
    lines = [f"# unireg {command.name}", "", NOTE, "", _text(command.summary), "", "```text", command.usage, "```", ""]
    for paragraph in command.paragraphs:
        lines += [_text(paragraph), ""]
    if command.words:
        lines += _section("Arguments", command.words)
    for title, flags in command.panels.items():
        lines += _section(title, flags)
    links = ", ".join(f"[{title}](../{file})" for title, file in _GUIDES.get(command.name, ()))
    lines += [f"More: {links}." if links else "[All commands](index.md)"]
    return "\n".join(lines).rstrip() + "\n"


def index_page(commands: Iterable[Command]) -> str:
    """The list of all commands."""
    rows = [f"- [`unireg {one.name}`]({one.name}.md): {_text(one.summary)}" for one in commands]
    words = (
        "`unireg --help` and `unireg COMMAND --help` say the same on the terminal, `man unireg` and `man unireg-COMMAND` where the\n"
        "installation's `share/man` is on the manual's path. `unireg --version` names versions and licences,\n"
        "`unireg --install-completion` adds completion to your shell."
    )
    return "\n".join(["# Commands", "", NOTE, "", *rows, "", words]) + "\n"


def _section(title: str, flags: Iterable[Flag]) -> list[str]:
    rows = []
    for flag in flags:
        names = ", ".join(f"`{name}`" for name in flag.names)
        shown = " ".join(part for part in (names, f"`{flag.value}`" if flag.value else "") if part)
        rows.append(f"- {shown}{' (required)' if flag.required else ''}: {_text(flag.help)}")
    return [f"## {title}", "", *rows, ""]


def _text(words: str) -> str:
    """Plain words as Markdown: no character starts emphasis, a link or HTML."""
    for character in "\\`*_[]<":
        words = words.replace(character, f"\\{character}" if character != "<" else "&lt;")
    return words
