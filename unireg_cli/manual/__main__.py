"""``python -m unireg_cli.manual docs``: write the pages that repeat the commands' help."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from unireg_cli.manual import markdown, roff
from unireg_cli.manual.tree import commands


def pages() -> dict[str, str]:
    """Path below the folder of the documentation -> content of every generated page."""
    known = commands()
    site = {f"commands/{one.name}.md": markdown.command_page(one) for one in known}
    manual = {f"man/unireg-{one.name}.1": roff.command_page(one, known) for one in known}
    return site | {"commands/index.md": markdown.index_page(known), "man/unireg.1": roff.program_page(known)} | manual


def main(words: Sequence[str]) -> int:
    """Write all pages into the folder that is named, and remove those of commands that are gone."""
    if len(words) != 1:
        sys.stderr.write("usage: python -m unireg_cli.manual FOLDER\n")
        return 2
    folder, written = Path(words[0]), pages()
    for old in (*folder.glob("commands/*.md"), *folder.glob("man/*.1")):
        if old.relative_to(folder).as_posix() not in written:
            old.unlink()
    for name, text in written.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
