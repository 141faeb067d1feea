"""The page of one registration: what was done to whom, how it looks, and what its numbers mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from unireg_cli.io.atomic import atomic_path
from unireg_cli.registration.result import Registration
from unireg_cli.report.assets import asset
from unireg_cli.report.histogram import Histogram, histogram_svg, log_jacobian_histogram
from unireg_cli.report.judgement import Finding, Light, judge
from unireg_cli.report.page import Markup, Section, data_uri, page, table
from unireg_cli.report.picture import picture_jpeg
from unireg_cli.report.sheets import Album, make_album
from unireg_cli.report.viewer import viewer_html
from unireg_cli.spatial import Image
from unireg_cli.types import Modality

_WORDS = {Light.GOOD: "green", Light.FAIR: "yellow", Light.BAD: "red", Light.NONE: "not judged"}


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything of a page that is drawn from voxels; ``picture`` is a JPEG, ``histogram`` is missing without a field."""

    album: Album
    picture: bytes
    histogram: Histogram | None


def draw_report(
    fixed: Image, moving: Image, registration: Registration, warped: Image, title: str, modality: Modality = Modality.AUTO
) -> Drawing:
    """The pictures of a page; ``moving`` is native, ``warped`` lies on the fixed grid, ``modality`` is the fixed image's."""
    album = make_album(fixed, moving, registration, warped)
    field = registration.field
    histogram = None if field is None else log_jacobian_histogram(fixed, field, album.limit, modality)
    return Drawing(album, picture_jpeg(fixed, moving, registration, warped, title), histogram)


def write_report(path: Path, record: Mapping[str, Any], drawing: Drawing, command: str) -> None:
    """Write the page of one registration; atomic.

    Args:
        path: the HTML file.
        record: what the result's JSON holds.
        drawing: the pictures.
        command: the command line that gives this result.
    """
    text = report_html(record, drawing, command)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def report_html(record: Mapping[str, Any], drawing: Drawing, command: str) -> str:
    """The page as text."""
    options = record["options"]
    title = f"{Path(options['moving']).name} to {Path(options['fixed']).name}"
    findings = judge(record)
    static = f'<img class="static" src="{data_uri(drawing.picture, "image/jpeg")}" alt="three planes, before and after registration">'
    sections = [
        Section("", _verdict(record, findings)),
        Section("Slices", viewer_html(drawing.album)),
        Section("Numbers", _numbers(findings)),
        *([_volume(drawing.histogram)] if drawing.histogram is not None else []),
        Section("At a glance", static),
        Section("How it was made", _provenance(record, command)),
    ]
    return page(title, sections, asset("viewer.js"), asset("viewer.css"))


def light_markup(light: Light, text: str) -> Markup:
    """A traffic light with text beside it, told in words too for those who see no colours."""
    return Markup(f'<span class="light {light}" title="{_WORDS[light]}">{escape(text)}</span>')


def _verdict(record: Mapping[str, Any], findings: tuple[Finding, ...]) -> str:
    judged = [finding for finding in findings if finding.judged]
    worst = max(judged, key=lambda finding: finding.suspicion)
    if worst.light is Light.GOOD:
        words = "the numbers are unremarkable"
    else:
        words = "look closely: " + ", ".join(f"{finding.name} {finding.text}" for finding in judged if finding.light is not Light.GOOD)
    parts = [f'<p class="verdict">{light_markup(worst.light, words).html}</p>']
    if record["warnings"]:
        parts.append("<ul>" + "".join(f"<li>{escape(text)}</li>" for text in record["warnings"]) + "</ul>")
    settings, condition = record["options"]["settings"], record["condition"]
    said = [settings["transform"]]
    if condition is not None:
        said += [f"anatomy {', '.join(condition['anatomy'])}", f"mode {condition['mode']}", f"smoothness {condition['smoothness']:g}"]
    weights = record["weights"]
    said.append("no network" if weights is None else f"weights {weights['name']} (step {weights['step']})")
    parts.append(f'<p class="faint">{escape("; ".join(said))}. Numbers cannot see everything: look at the slices.</p>')
    return "\n".join(parts)


def _numbers(findings: tuple[Finding, ...]) -> str:
    rows = []
    for finding in findings:
        exact = "" if finding.value is None else f' value="{finding.value!r}"'
        shown = Markup(f'<data class="{finding.key}"{exact}>{escape(finding.text)}</data>')
        rows.append((light_markup(finding.light, finding.name), shown, finding.meaning))
    key = '<p class="faint">green: as usual; yellow: unusual, look; red: probably wrong. None of these replaces a look at the slices.</p>'
    return table(("", "found", "what it means"), rows, "numbers") + key


def _volume(histogram: Histogram) -> Section:
    words = (
        "Log-Jacobian of the displacement field at its voxels inside the fixed image's body: 0 keeps the volume, red parts are larger in "
        "the moving image, blue ones smaller. The outermost bars hold all beyond."
    )
    numbers = f'mean <data class="mean-logj" value="{histogram.mean!r}">{histogram.mean:+.3f}</data>, '
    numbers += f'standard deviation (SDlogJ) <data class="sd-logj" value="{histogram.spread!r}">{histogram.spread:.3f}</data>'
    return Section("Change of volume", f"{histogram_svg(histogram)}\n<p>{numbers}</p>\n<p class='faint'>{words}</p>")


def _provenance(record: Mapping[str, Any], command: str) -> str:
    surroundings, timing, weights = record["surroundings"], record["timing"], record["weights"]
    rows = [
        ("fixed", f"{record['options']['fixed']}: {_grid(record['grids']['fixed'])}"),
        ("moving", f"{record['options']['moving']}: {_grid(record['grids']['moving'])}"),
        ("transform", ", then ".join(record["transform"])),
        *((name.replace("_", " "), text) for name, text in record["decisions"].items()),
        ("weights", "none" if weights is None else f"{weights['name']}, step {weights['step']}, SHA-256 {weights['sha256']}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in record["versions"].items())),
        ("machine", f"{record['platform']['system']} {record['platform']['machine']}, {surroundings['device']}"),
        ("threads", f"{surroundings['threads']} ({surroundings['threads_source']})"),
        ("seed", f"number {record['seed']}"),
        ("started", timing["started"]),
        ("time", f"{timing['total_seconds']:.1f} s in all: {_stages(timing)}"),
        ("peak memory", f"{timing['peak_memory_mb']:.0f} MB"),
    ]
    apply = "\n".join(str(line) for line in record["apply"].values()) if isinstance(record["apply"], Mapping) else str(record["apply"])
    outputs = "\n".join(record["outputs"].values())
    everything = json.dumps(record, indent=1, ensure_ascii=False)
    return f"""<h3>command</h3>
<pre class="command">{escape(command)}</pre>
{table((), [(Markup(f"<b>{escape(name)}</b>"), Markup(escape(text))) for name, text in rows], "facts")}
<h3>files</h3>
<pre>{escape(outputs)}</pre>
<h3>the same by antsApplyTransforms</h3>
<pre>{escape(apply)}</pre>
<details><summary>everything, as in the JSON</summary><pre class="record">{escape(everything)}</pre></details>"""


def _grid(grid: Mapping[str, Any]) -> str:
    return f"{' × '.join(str(n) for n in grid['size'])} voxels of {' × '.join(f'{edge:g}' for edge in grid['spacing'])} mm"


def _stages(timing: Mapping[str, Any]) -> str:
    return ", ".join(f"{stage['name']} {stage['seconds']:.1f}" for stage in timing["stages"])
