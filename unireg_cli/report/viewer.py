"""The part of a page in which a registration is looked at slice by slice."""

from __future__ import annotations

from html import escape

from unireg_cli.report.page import data_uri
from unireg_cli.report.sheets import Album, PlaneSheets

# What can be shown: value of the choice, its name, what it is.
_VIEWS = (
    ("colours", "overlay", "fixed magenta, moving green, agreement grey"),
    ("moving", "moving", "the moving image alone: slide from before to after"),
    ("fixed", "fixed", "the fixed image alone"),
    ("blend", "blend", "fixed and moving mixed, by the slider below"),
    ("edges", "edges", "outlines of the fixed image on the moving one"),
    ("checkerboard", "checkerboard", "squares of 30 mm from the fixed and the moving image by turns"),
    ("grid", "deformation grid", "a lattice of 20 mm, bent by the displacement field (turned by the affine, where there is none)"),
    ("logj", "log-Jacobian", "red: what lies here is larger in the moving image; blue: smaller"),
)


def viewer_html(album: Album) -> str:
    """Three canvases with their sliders, and hidden pictures that hold the slices."""
    with_field = "logj" in album.planes[0].sheets
    choices = "".join(_choice(*view, checked=view[0] == "colours") for view in _VIEWS if view[0] != "logj" or with_field)
    stops = ("before", "affine", "after") if with_field else ("before", "after")
    marks = "".join(f"<span>{escape(stop)}</span>" for stop in stops)
    figures = "\n".join(_figure(plane) for plane in album.planes)
    legend = f"blue &minus;{album.limit:.2f} &hellip; red +{album.limit:.2f}"
    return f"""<div class="screen" id="viewer" data-limit="{album.limit:.6g}" data-stops="{" ".join(stops)}">
<fieldset class="views"><legend>show</legend>{choices}</fieldset>
<div class="sliders">
<label class="stop">moving image: <span class="marks"><input type="range" id="stop" min="0" max="{len(stops) - 1}" step="0.02"
 value="{len(stops) - 1}"><span class="names">{marks}</span></span></label>
<label id="mixing">fixed <input type="range" id="mix" min="0" max="1" step="0.02" value="0.5"> moving</label>
<span id="saying" class="faint" data-logj="{legend}"></span>
</div>
<div class="planes">
{figures}
</div>
</div>
<noscript><p class="faint">The slices need JavaScript; the picture below does not.</p></noscript>"""


def _choice(value: str, name: str, meaning: str, *, checked: bool) -> str:
    mark = " checked" if checked else ""
    return f'<label title="{escape(meaning)}"><input type="radio" name="view" value="{value}"{mark}>{escape(name)}</label>'


def _figure(sheets: PlaneSheets) -> str:
    name, count = sheets.plane.name, len(sheets.offsets_mm)
    pixel = float(sheets.plane.grid.spacing[0])
    offsets = " ".join(f"{offset:.1f}" for offset in sheets.offsets_mm)
    sides = "".join(f'<b class="{place}">{side}</b>' for place, side in zip(("w", "e", "n", "s"), sheets.plane.edges, strict=True))
    held = "\n".join(
        f'<img hidden class="sheet" data-layer="{layer}" data-slices="{count}" width="{sheets.width}" height="{sheets.height * count}" '
        f'alt="{name} slices: {layer}" src="{data_uri(sheet.content, sheet.kind)}">'
        for layer, sheet in sheets.sheets.items()
    )
    return f"""<figure class="plane" data-plane="{name}" data-pixel="{pixel:.6g}" data-offsets="{offsets}">
<div class="frame"><canvas width="{sheets.width}" height="{sheets.height}" role="img" aria-label="{name} slice"></canvas>{sides}</div>
<figcaption><label>{name} <input type="range" class="slice" min="0" max="{count - 1}" step="1" value="{sheets.start}"></label>
<span class="place"></span></figcaption>
{held}
</figure>"""

