"""The generated pages: up to date in the repository, sound as roff and Markdown, part of the installed package."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

import unireg_cli
from unireg_cli.manual import __main__ as manual
from unireg_cli.manual import markdown, roff
from unireg_cli.manual.tree import Command, Flag

ROOT = Path(__file__).resolve().parents[2]
PAGES = manual.pages()
ODD = Command(
    "odd", "A *summary*, with <b>_marks_</b>.", (".starts like a request", "it's a `C:\\path` [x]"), (Flag((), "IN", "'quoted'", True),), {}
)  # fmt: skip


def test_the_pages_in_the_repository_are_the_generated_ones() -> None:
    """After a change of a command's help: python -m unireg_cli.manual docs."""
    there = {path.relative_to(ROOT / "docs").as_posix(): path.read_text("utf-8") for path in (ROOT / "docs/commands").iterdir()}
    there |= {path.relative_to(ROOT / "docs").as_posix(): path.read_text("utf-8") for path in (ROOT / "docs/man").iterdir()}
    assert set(there) == set(PAGES)
    assert [name for name, text in PAGES.items() if there[name] != text] == []


def test_the_writer_replaces_what_is_old(tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "gone.md").write_text("old")
    (tmp_path / "mine.md").write_text("mine")
    assert manual.main([str(tmp_path)]) == 0
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")} == {*PAGES, "mine.md"}
    done = subprocess.run([sys.executable, "-m", "unireg_cli.manual"], capture_output=True, text=True)
    assert done.returncode == 2 and "FOLDER" in done.stderr


def groff(text: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("groff") is None:
        pytest.skip("needs groff to read manual pages")
    return subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-P-cbou"], input=text, capture_output=True, encoding="utf-8", check=True)


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("man/")])
def test_groff_reads_each_page_without_a_word(name: str) -> None:
    done = groff(PAGES[name])
    assert done.stderr == ""
    assert "SYNOPSIS" in done.stdout and "EXIT STATUS" in done.stdout and "unireg" in done.stdout.split("\n")[0].lower()


def test_groff_shows_every_flag_as_it_is_typed() -> None:
    text = groff(PAGES["man/unireg-register.1"]).stdout
    assert all(words in text for words in ("--fixed, -f FIXED", "--also IMG OUT", "--init none|header|centers|moments|FILE"))
    # A hyphen of typography could not be copied to a shell.
    assert "\N{HYPHEN}-" not in text and "\N{MINUS SIGN}" not in text


def test_odd_characters_survive_roff() -> None:
    text = groff(roff.command_page(ODD, [ODD])).stdout
    assert all(words in text for words in (".starts like a request", "it's a `C:\\path` [x]", "'quoted'", "<b>_marks_</b>"))


def test_odd_characters_are_escaped_in_markdown() -> None:
    text = markdown.command_page(ODD)
    assert "A \\*summary\\*, with &lt;b>\\_marks\\_&lt;/b>." in text and "it's a \\`C:\\\\path\\` \\[x\\]" in text
    assert "- `IN` (required): 'quoted'" in text


def test_pages_are_installed_where_man_looks() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert build["data-files"]["share/man/man1"] == ["docs/man/*.1"]
    if Path(unireg_cli.__file__).is_relative_to(ROOT):
        pytest.skip("unireg runs from its source folder here; an installed package has its manual pages in share/man")
    files = [path for path in distribution("unireg").files or [] if "share/man/man1/" in path.as_posix()]
    assert {f"man/{path.name}" for path in files} == {name for name in PAGES if name.startswith("man/")}
    installed = {f"man/{path.name}": Path(str(path.locate())).resolve() for path in files}
    assert all(path.parent == Path(sys.prefix).resolve() / "share/man/man1" for path in installed.values())
    assert all(path.read_text("utf-8") == PAGES[name] for name, path in installed.items())
