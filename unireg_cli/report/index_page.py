"""The page over many runs: a row each, the worst first."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from statistics import median
from urllib.parse import quote

from unireg_cli.io.atomic import atomic_path
from unireg_cli.report.assets import asset
from unireg_cli.report.gather import Cohort, Run
from unireg_cli.report.judgement import Light
from unireg_cli.report.page import Markup, Section, page, table
from unireg_cli.report.registration_page import light_markup

GENERATOR = "unireg report"
# Of a page's beginning: enough to see who made it.
_HEAD_BYTES = 2000
_COLUMNS = ("", "pair", "suspicion", "why", "similarity before", "after", "folding %", "SDlogJ", "moved mm", "inverse mm", "seconds")


def write_index(path: Path, cohort: Cohort, title: str) -> None:
    """Write the index page; atomic. Links are relative to its folder."""
    text = index_html(cohort, title, path.parent)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_index(path: Path) -> bool:
    """True if a file is an index page that may be written anew."""
    try:
        with path.open("rb") as stream:
            return f'name="generator" content="{GENERATOR}"'.encode() in stream.read(_HEAD_BYTES)
    except OSError:
        return False


def index_html(cohort: Cohort, title: str, folder: Path) -> str:
    """The page as text, its links relative to ``folder``."""
    rows = [_row(number, run, folder) for number, run in enumerate(cohort.runs, 1)]
    find = '<p class="screen"><label>find <input type="search" id="find" placeholder="name or reason"></label> <span id="shown"></span></p>'
    words = (
        "Suspicion adds up the lights of a run's numbers (1 a red one) and how far it lies on the bad side of the median of all runs. "
        "Moved: the 99th percentile of the displacement inside the body. Click on a heading to sort by it."
    )
    sections = [
        Section("", _summary(cohort)),
        Section("Runs, worst first", f"{find}{table(_COLUMNS, rows, 'runs')}<p class='faint'>{words}</p>"),
    ]
    return page(title, sections, asset("index.js"), asset("index.css"), GENERATOR)


def _summary(cohort: Cohort) -> str:
    problems = [run for run in cohort.runs if run.problem is not None]
    good = [run for run in cohort.runs if run.problem is None]
    counts = [(light, sum(run.light is light for run in good)) for light in (Light.BAD, Light.FAIR, Light.GOOD)]
    lights = " &ensp; ".join(light_markup(light, f"{count} {word}").html for (light, count), word in zip(counts, _LIGHTS, strict=True))
    parts = [f'<p class="verdict">{len(cohort.runs)} runs: {lights}</p>']
    if problems:
        parts.append(f"<p>{light_markup(Light.BAD, f'{len(problems)} failed or cannot be read').html}; they are listed first.</p>")
    medians = []
    for key, name in (("before", "similarity before"), ("similarity", "after"), ("sdlogj", "SDlogJ"), ("seconds", "seconds")):
        values = [value for run in good if (value := run.numbers[key]) is not None]
        if values:
            medians.append(f"{name} {median(values):.3f}" if key != "seconds" else f"{name} {median(values):.1f}")
    if medians:
        parts.append(f'<p class="faint">medians: {", ".join(medians)}</p>')
    if cohort.others:
        parts.append(f'<p class="faint">{cohort.others} other JSON files were passed over: they are no results of unireg register.</p>')
    return "\n".join(parts)


_LIGHTS = ("red", "yellow", "green")


def _row(number: int, run: Run, folder: Path) -> tuple[str | Markup, ...]:
    name = _link(run.report, folder, run.pair) if run.report is not None else escape(run.pair)
    # Many pairs may have the same two file names: where the result lies tells them apart.
    place = _link(run.record, folder, Path(os.path.relpath(run.record, folder)).as_posix())
    pair = Markup(f'{name}<br><span class="faint">{place}</span>')
    if run.problem is not None:
        return (_sortable(number), pair, _cell("", "∞", run.light), Markup(escape(run.problem)), *([_missing()] * 7))
    why = "; ".join(run.reasons) or "nothing unusual"
    if run.report is None:
        why += " (no report page)"
    shown = (("before", ".3f"), ("similarity", ".3f"), ("folding", ".3g"), ("sdlogj", ".3f"))
    more = (("reach_mm", ".1f"), ("inverse_mm", ".3f"), ("seconds", ".1f"))
    numbers = [_number(run.numbers[key], form) for key, form in (*shown, *more)]
    return (_sortable(number), pair, _cell(repr(run.suspicion), f"{run.suspicion:.2f}", run.light), Markup(escape(why)), *numbers)


def _sortable(number: int) -> Markup:
    return Markup(f'<data value="{number}">{number}</data>')


def _number(value: float | None, form: str) -> Markup:
    return _missing() if value is None else Markup(f'<data value="{value!r}">{format(value, form)}</data>')


def _missing() -> Markup:
    return Markup('<span class="faint">&ndash;</span>')


def _cell(value: str, text: str, light: Light) -> Markup:
    return Markup(f'<data value="{value}">{light_markup(light, text).html}</data>')


def _link(target: Path, folder: Path, text: str) -> str:
    return f'<a href="{_address(target, folder)}">{escape(text)}</a>'


def _address(target: Path, folder: Path) -> str:
    """Relative, with the signs of file names that addresses use themselves written out."""
    return quote(Path(os.path.relpath(target, folder)).as_posix())
