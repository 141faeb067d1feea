"""The Markdown pages of the repository as the tests read them: fences, commands, headings, links."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
WRITTEN = sorted(DOCS.glob("*.md"))
GENERATED = sorted((DOCS / "commands").glob("*.md"))
# Everything that a user reads in the repository.
PAGES = [ROOT / "README.md", *WRITTEN, *GENERATED, *sorted((ROOT / "examples").rglob("README.md"))]

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_HERE_DOCUMENT = re.compile(r"<<'?(\w+)'?")


@dataclass(frozen=True)
class Command:
    """One command of a shell block, with its comment cut off, and the exit code that the comment names."""

    text: str
    code: int = 0


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each fenced block."""
    return [(found[2], found[3]) for found in _FENCE.finditer(text)]


def prose(text: str) -> str:
    """The page without its fenced blocks and comments."""
    return re.sub(r"<!--.*?-->", "", _FENCE.sub("", text), flags=re.DOTALL)


def commands(block: str) -> list[Command]:
    """The commands of a shell block: a here-document, a loop and a continued line are one."""
    found: list[Command] = []
    lines = iter(block.splitlines())
    for line in lines:
        whole = line
        if (marker := _HERE_DOCUMENT.search(line)) is not None:
            while (more := next(lines)) != marker[1]:
                whole += f"\n{more}"
            whole += f"\n{marker[1]}"
        elif line.startswith("for "):
            while (more := next(lines)) != "done":
                whole += f"\n{more}"
            whole += "\ndone"
        else:
            while whole.endswith("\\"):
                whole = whole[:-1] + next(lines)
        if whole.strip() and not whole.lstrip().startswith("#"):
            code = re.search(r"  # ends with exit code (\d+)", whole)
            found.append(Command(whole if "\n" in whole else re.sub(r"\s+#.*", "", whole), int(code[1]) if code else 0))
    return found


def unireg_calls(block: str) -> list[list[str]]:
    """The words after each ``unireg`` in a shell block, of commands joined by ``&&``, loops too."""
    calls: list[list[str]] = []
    for command in commands(block):
        for line in command.text.splitlines() if command.text.startswith("for ") else [command.text.split("\n")[0]]:
            for part in re.split(r"&&|;", line):
                words = shlex.split(part, comments=True)
                if words and words[0] == "unireg":
                    calls.append(words[1:])
    return calls


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in a link."""
    titles = re.findall(r"^#+ +(.+)$", prose(text), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", title.replace("\\", "")).strip().lower() for title in titles]
    return {re.sub(r"[-\s]+", "-", title) for title in plain}


def links(text: str) -> list[str]:
    """Where the page's links and pictures point to."""
    without_code = re.sub(r"`[^`]*`", "", prose(text))
    return re.findall(r"\]\(([^)\s]+)\)", without_code)


def inline_code(text: str) -> list[str]:
    """What stands between backticks in the prose."""
    return re.findall(r"`([^`\n]+)`", prose(text))
