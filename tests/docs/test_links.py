"""Every link, anchor and path that the README and the documentation name is there."""

from __future__ import annotations

import re
from pathlib import Path

import markdown_pages
import pytest
from markdown_pages import DOCS, PAGES, ROOT, WRITTEN, anchors, links

# A path of the repository as text or code writes it; a trailing dot ends a sentence.
_PATH = re.compile(r"(?<![\w./{}-])(?:examples|weights|trainer|unireg_cli|tests|docs|\.ci)/[\w./-]*\w/?")
_NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


@pytest.fixture(params=PAGES, ids=_NAMES)
def page(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_pages_are_found():
    assert {"README.md", "docs/index.md", "docs/tutorial.md", "docs/commands/register.md", "examples/snakemake/README.md"} <= set(_NAMES)


def test_links_and_anchors(page):
    missing = []
    for link in links(page.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.is_file() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            missing.append(link)
    assert missing == []


def test_paths_of_the_repository(page):
    text = page.read_text("utf-8")
    assert [path for path in _PATH.findall(text) if not (ROOT / path).exists()] == []


def test_pictures_are_small_and_used():
    pictures = set((DOCS / "images").iterdir())
    used = {(page.parent / link).resolve() for page in WRITTEN for link in links(page.read_text("utf-8")) if "images/" in link}
    assert used == pictures and pictures
    assert all(path.stat().st_size < 300_000 for path in pictures)


def test_the_reader_of_pages_sees_what_is_there():
    text = (
        "# A *title*, twice\n\n`[not](a-link.md)` but [this](b.md#c) ![and](d.png)\n\n"
        "```sh\nunireg warp a \\\n  -o b   # why\ncat > f <<'EOF'\n[no](e.md)\nEOF\nfor x in 1 2; do\n  unireg report ${x} -q\ndone\n"
        "pip install . && unireg demo  # ends with exit code 3\n```\n"
    )
    assert links(text) == ["b.md#c", "d.png"] and anchors(text) == {"a-title-twice"}
    ((language, block),) = markdown_pages.blocks(text)
    assert language == "sh"
    found = [(one.text.split()[0], one.code) for one in markdown_pages.commands(block)]
    assert found == [("unireg", 0), ("cat", 0), ("for", 0), ("pip", 3)]
    assert markdown_pages.unireg_calls(block) == [["warp", "a", "-o", "b"], ["report", "${x}", "-q"], ["demo"]]
