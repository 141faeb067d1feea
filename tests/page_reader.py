"""Reads the project's HTML pages with the standard library's parser, and runs them in Chromium where there is one."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

_VOID = {"meta", "link", "img", "input", "br", "hr"}


@dataclass
class Node:
    """An element: its attributes, all text inside, and the elements inside, in order."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""
    inside: list[Node] = field(default_factory=list)

    def all(self, tag: str, **attributes: str) -> list[Node]:
        """Elements below of a kind whose attributes have these words among theirs."""
        found = []
        for node in self.inside:
            if node.tag == tag and all(word in (node.attributes.get(name) or "").split() for name, word in attributes.items()):
                found.append(node)
            found += node.all(tag, **attributes)
        return found

    def cells(self) -> list[list[str]]:
        """The rows of a table's body as texts."""
        return [[" ".join(cell.text.split()) for cell in row.all("td")] for row in self.all("tr") if row.all("td")]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.top = Node("page", {})
        self.open = [self.top]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        node = Node(tag, dict(attrs))
        self.open[-1].inside.append(node)
        if tag not in _VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].inside.append(Node(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> where <{self.open[-1].tag}> is open"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for node in self.open:
            node.text += data


def read_page(text: str) -> Node:
    """The page as a tree; every element is closed, and nothing is fetched from anywhere."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [reader.top]
    # Words may name an address, but nothing that loads may.
    assert not re.search(r"""(?:src|srcset|href|action|url)\s*[=(]\s*["']?\s*(?:https?:)?//""", text)
    assert "@import" not in text and "fetch(" not in text and "XMLHttpRequest" not in text
    for node in reader.top.all("img"):
        assert (node.attributes["src"] or "").startswith("data:image/")
        assert node.attributes.get("alt")
    return reader.top


def picture(node: Node) -> Image.Image:
    """The decoded picture of an <img>, of the format and the size that the page says."""
    head, content = (node.attributes["src"] or "").split(",", 1)
    opened = Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
    opened.load()
    assert head == f"data:image/{(opened.format or '').lower()};base64"
    if "width" in node.attributes:
        assert opened.size == (int(node.attributes["width"] or 0), int(node.attributes["height"] or 0))
    return opened


def run_in_chromium(page: Path, folder: Path, probe: str = "") -> str:
    """The page's DOM after its scripts and the JavaScript ``probe`` have run; no word on the console. Skips without Chromium."""
    chromium = next((found for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (found := shutil.which(name))), None)
    if chromium is None:
        pytest.skip("needs Chromium on the PATH to run the page's scripts")
    text = page.read_text("utf-8")
    if probe:
        text = text.replace("</body>", f"<script>window.addEventListener('load', () => {{ {probe} }});</script></body>")
    copy = folder / "probed.html"
    copy.write_text(text, "utf-8")
    # The kernel's sandbox is not for root, and not in most containers.
    words = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"]
    words += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", "--dump-dom", copy.as_uri()]
    environment = {**os.environ, "HOME": str(folder)}
    # Chromium writes UTF-8 whatever the locale is.
    done = subprocess.run(words, capture_output=True, encoding="utf-8", timeout=120, env=environment, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not console, "\n".join(console)
    return done.stdout
