"""The skeleton of a self-contained HTML page: it opens from disk, asks no network, and prints."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from unireg_cli.report.assets import asset

# The browser itself refuses whatever the page does not bring along.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Markup:
    """HTML made by this package, put into a page as it is; everything else is escaped."""

    html: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page: ``heading`` is text (none if empty), ``html`` is put in as it is."""

    heading: str
    html: str


def page(title: str, sections: Sequence[Section], script: str = "", style: str = "", generator: str = "unireg") -> str:
    """A whole page.

    Args:
        title: text of the first heading and of the browser's tab.
        sections: from top to bottom.
        script: plain JavaScript, put at the end of the body.
        style: rules added to those of every page.
        generator: who made the page, for programs that find it.
    """
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f'<meta name="generator" content="{escape(generator)}">',
        f"<title>{escape(title)}</title>\n<style>\n{asset('page.css')}{style}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>",
        *(_section(section) for section in sections),
        f"<script>\n{script}</script>\n</body>\n</html>\n" if script else "</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _section(section: Section) -> str:
    heading = f"<h2>{escape(section.heading)}</h2>\n" if section.heading else ""
    return f"<section>\n{heading}{section.html}\n</section>"


def png_image(png: bytes, alt: str) -> str:
    """A PNG as part of the page."""
    return f'<img src="{data_uri(png, "image/png")}" alt="{escape(alt)}">'


def data_uri(content: bytes, kind: str) -> str:
    """A file as an address that holds it; ``kind`` is its MIME type."""
    return f"data:{kind};base64,{b64encode(content).decode('ascii')}"


def table(header: Sequence[str | Markup], rows: Sequence[Sequence[str | Markup]], kind: str = "") -> str:
    """A table; cells that look like numbers are aligned at the right. ``kind`` is a class of the stylesheet."""
    head = "".join(f'<th scope="col">{text_or_markup(cell)}</th>' for cell in header)
    body = "\n".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
    top = f"<thead><tr>{head}</tr></thead>\n" if header else ""
    return f'<div class="scroll"><table class="{escape(kind)}">\n{top}<tbody>\n{body}\n</tbody></table></div>'


def text_or_markup(cell: str | Markup) -> str:
    """Text escaped, markup as it is."""
    return cell.html if isinstance(cell, Markup) else escape(cell)


def _cell(cell: str | Markup) -> str:
    return f'<td class="number">{escape(cell)}</td>' if isinstance(cell, str) and _is_number(cell) else f"<td>{text_or_markup(cell)}</td>"


def _is_number(text: str) -> bool:
    """True for a number, with or without a unit behind it."""
    try:
        float(text.split(" ")[0].rstrip("%"))
    except ValueError:
        return False
    return True
