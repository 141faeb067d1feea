"""The skeleton of a page: whole, closed, escaped, and alone."""

from __future__ import annotations

import io

from page_reader import picture, read_page, run_in_chromium
from PIL import Image

from unireg_cli.report.page import Markup, Section, page, png_image, table

ODD = 'a <b> & "c" \'d\''


def _png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (width, height), 90).save(stream, "PNG")
    return stream.getvalue()


def test_text_is_escaped_and_markup_is_not() -> None:
    cells = [[ODD, "1.5 mm"], [Markup("<i>x</i>"), "-3 %"]]
    top = read_page(page(ODD, [Section(ODD, table([ODD, "n"], cells)), Section("", png_image(_png(3, 2), ODD))]))
    assert [node.text for name in ("title", "h1", "h2") for node in top.all(name)] == [ODD] * 3
    assert top.all("table")[0].cells() == [[ODD, "1.5 mm"], ["x", "-3 %"]]
    assert len(top.all("i")) == 1 and not top.all("b")
    assert top.all("img")[0].attributes["alt"] == ODD and picture(top.all("img")[0]).size == (3, 2)
    assert len(top.all("section")) == 2


def test_numbers_are_aligned_and_words_are_not() -> None:
    cells = read_page(table(["a"], [["1.25"], ["-3e-5 mm"], ["7%"], ["mm 7"], [""]])).all("td")
    assert [node.attributes.get("class") for node in cells] == ["number", "number", "number", None, None]


def test_page_says_who_made_it_and_asks_for_nothing() -> None:
    top = read_page(page("t", [], "let x = 1;", "p { color: red; }", "somebody"))
    metas = {node.attributes.get("name") or node.attributes.get("http-equiv"): node.attributes.get("content") for node in top.all("meta")}
    assert metas["generator"] == "somebody" and (metas["Content-Security-Policy"] or "").startswith("default-src 'none'")
    assert "p { color: red; }" in top.all("style")[0].text and top.all("script")[0].text.strip() == "let x = 1;"
    assert [node.attributes["href"] for node in top.all("link")] == ["data:,"]
    assert not read_page(page("t", [])).all("script")


def test_a_word_on_the_console_would_be_seen(tmp_path) -> None:
    file = tmp_path / "p.html"
    script = "window.addEventListener('load', () => { document.body.dataset.ready = document.images[0].naturalWidth; });"
    file.write_text(page("t", [Section("h", png_image(_png(4, 4), "square"))], script))
    assert 'data-ready="4"' in run_in_chromium(file, tmp_path)
    for wrong in ("console.error('no');", "undefined_name();", "fetch('https://example.org');"):
        try:
            run_in_chromium(file, tmp_path, wrong)
        except AssertionError:
            continue
        raise AssertionError(f"{wrong} went unnoticed")
