"""Every ``unireg`` command that a page shows is one that the program understands, and every flag that it names is one."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer
from markdown_pages import PAGES, ROOT, blocks, inline_code, unireg_calls

from unireg_cli.app import app

CALLS = [(page.relative_to(ROOT).as_posix(), call) for page in PAGES for kind, block in blocks(page.read_text("utf-8")) if kind == "sh"
         for call in unireg_calls(block)]  # fmt: skip
# Flags of other programs in our pages: Snakemake, sbatch, git, torchrun, podman, and those of the programs in examples/.
OTHERS = {"--build-arg", "--scorer", "--data", "--write", "--work", "--rows", "--sides"}
OTHERS |= {"--profile", "--unlock", "--signal", "--nproc-per-node", "--gpus-per-node", "--time"}


@pytest.fixture(scope="module")
def program() -> Any:
    return typer.main.get_command(app)


def parse(program: Any, words: list[str]) -> None:
    """Read the words as the program does, without running anything."""
    with program.make_context("unireg", list(words[:1]), resilient_parsing=True) as context:
        command = program.get_command(context, words[0])
        assert command is not None, f"no command {words[0]}"
        with command.make_context(words[0], words[1:], parent=context):
            pass


@pytest.mark.parametrize(("page", "words"), CALLS, ids=[f"{page}: {' '.join(words)[:60]}" for page, words in CALLS])
def test_shown_commands_are_understood(program, page, words):
    if words[0].startswith("-"):
        assert words[0] in ("--version", "--help", "--install-completion")
    else:
        parse(program, words)


def test_a_wrong_command_is_noticed(program):
    for words in (["register", "a", "b", "--fixed-segm", "c"], ["register", "a", "b", "--mode", "both"], ["regster", "a"]):
        with pytest.raises(Exception):  # noqa: B017 (Typer's own errors have changed their place with its versions)
            parse(program, words)


def test_flags_in_the_text_exist(program):
    known = {name for command in program.commands.values() for parameter in command.params for name in parameter.opts}
    known |= {"--help", "--version", "--install-completion"} | OTHERS
    unknown = {
        (page.name, flag)
        for page in PAGES
        for code in inline_code(page.read_text("utf-8"))
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)
        if flag not in known
    }
    assert unknown == set()
