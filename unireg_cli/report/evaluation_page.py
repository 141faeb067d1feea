"""The page of an evaluation: numbers, box plots, pictures of pairs, failures, and how it was made."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from unireg_cli.evaluation.tables import METRICS, finite
from unireg_cli.report.page import Section, page, png_image, table

Rows = Sequence[Mapping[str, Any]]
_MOST_BOXES = 45
# Of a method's name in a legend, and how wide a letter of it is.
_MOST_LETTERS, _INCHES_A_LETTER = 60, 0.06


def evaluation_page(
    record: Mapping[str, Any],
    rows: Rows,
    structures: Rows,
    pictures: Mapping[str, tuple[tuple[str, str], bytes]],
    compared: Mapping[str, Rows] | None = None,
    compared_structures: Mapping[str, Rows] | None = None,
) -> str:
    """The whole page.

    Args:
        record: the content of PREFIXsummary.json.
        rows: of the table of pairs; none where only tables are compared.
        structures: of the table of structures.
        pictures: best, median, worst -> the pair and its PNG.
        compared: file name -> rows of the tables that are compared.
        compared_structures: the same for their tables of structures.
    """
    sections = []
    summary = record.get("summary")
    if summary is not None:
        sections += [_numbers(summary), _failures(summary)]
        sections += [Section("Per structure", _boxes({"": structures}) + _structure_table(summary))] if structures else []
        sections += [_pictures(pictures)] if pictures else []
    if record.get("comparison") is not None:
        sections.append(_comparison(record["comparison"], compared or {}, compared_structures or {}))
    if rows:
        sections.append(_pairs(rows))
    sections += [Section("Rule for missing structures", f"<p>{escape(str(record['rule']))}</p>"), _provenance(record)]
    name = record.get("dataset") or "two tables"
    return page(f"Evaluation of {name}", sections, style="img { max-width: 100%; height: auto; }", generator="unireg evaluate")


def _number(value: Any) -> str:
    return f"{float(value):.4g}" if finite(value) else ""


def _numbers(summary: Mapping[str, Any]) -> Section:
    rows = [
        [METRICS[name], _number(one["mean"]), _number(one["low"]), _number(one["high"]), _number(one["median"]), str(one["pairs"])]
        for name, one in summary["metrics"].items()
    ]
    words = f"{summary['done']} of {summary['pairs']} pairs, {summary['persons']} persons, {summary['lost_structures']} structures lost."
    head = ("metric", "mean", "95 % from", "to", "median", "pairs")
    return Section("Numbers", f"<p>{escape(words)} Intervals: {summary['draws']} draws of persons.</p>" + table(head, rows))


def _failures(summary: Mapping[str, Any]) -> Section:
    if not summary["failures"]:
        return Section("Failures", "<p>No pair failed.</p>")
    return Section("Failures", table(("fixed", "moving", "reason"), [[f["fixed"], f["moving"], f["error"]] for f in summary["failures"]]))


def _structure_table(summary: Mapping[str, Any]) -> str:
    rows = []
    for name, metrics in summary["structures"].items():
        cells = [name]
        for metric in ("dice", "hd95", "assd"):
            one = metrics.get(metric)
            cells += ["", ""] if one is None else [_number(one["mean"]), f"{_number(one['low'])} to {_number(one['high'])}"]
        rows.append(cells)
    return table(("structure", "Dice", "95 %", "HD95 mm", "95 %", "ASSD mm", "95 %"), rows)


def _boxes(methods: Mapping[str, Rows]) -> str:
    """Dice and HD95 of every structure, a box a method; the structures of lowest Dice first, if there are too many for one plot."""
    means: dict[str, list[float]] = {}
    for rows in methods.values():
        for row in rows:
            means.setdefault(str(row["name"]), []).append(float(row["dice"]))
    names = sorted(means, key=lambda name: sum(means[name]) / len(means[name]))[:_MOST_BOXES]
    note = f"<p>The {_MOST_BOXES} structures of lowest Dice of {len(means)}.</p>" if len(means) > _MOST_BOXES else ""
    plots = {"dice": "Dice", "hd95": "HD95 (mm)"}.items()
    drawn = [png_image(_plot(methods, names, metric, title), f"box plots of {title} per structure") for metric, title in plots]
    return note + "\n".join(drawn)


def _plot(methods: Mapping[str, Rows], names: Sequence[str], metric: str, title: str) -> bytes:
    columns = {
        method: [[float(row[metric]) for row in rows if row["name"] == name and finite(row.get(metric))] for name in names]
        for method, rows in methods.items()
    }
    return _draw(columns, names, title)


def _draw(columns: Mapping[str, Sequence[Sequence[float]]], names: Sequence[str], title: str) -> bytes:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    # A method may be called by a long path, of which the end says most; the plot is as wide as its legend needs.
    labels = [name if len(name) <= _MOST_LETTERS else "…" + name[1 - _MOST_LETTERS :] for name in columns]
    legend = 1.5 + _INCHES_A_LETTER * max(map(len, labels), default=0)
    wide = min(16, max(2.5 + 0.35 * len(names) * max(1, len(columns)), legend))
    figure = Figure(figsize=(wide, 3.8), dpi=100, layout="constrained")
    axes = figure.subplots()
    colours = ("#4477aa", "#ee6677", "#228833", "#ccbb44")
    width = 0.8 / max(1, len(columns))
    for n, values in enumerate(columns.values()):
        places = [k + (n - (len(columns) - 1) / 2) * width for k in range(len(names))]
        drawn = axes.boxplot(list(values), positions=places, widths=0.85 * width, patch_artist=True, manage_ticks=False, sym=".")
        for box in drawn["boxes"]:
            box.set(facecolor=colours[n % 4], alpha=0.6)
    turn = 45 if len(names) < 12 else 90
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names], rotation=turn, ha="right", size=7)
    axes.set_ylabel(title)
    axes.grid(axis="y", alpha=0.3)
    if len(columns) > 1:
        axes.legend(handles=[Patch(facecolor=colours[n % 4], alpha=0.6, label=name) for n, name in enumerate(labels)], fontsize=7)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _pictures(pictures: Mapping[str, tuple[tuple[str, str], bytes]]) -> Section:
    parts = []
    for word, (names, png) in pictures.items():
        title = f"{word}: {names[1]} to {names[0]}"
        parts.append(f"<h3>{escape(title)}</h3>\n" + png_image(png, f"{word} pair, fixed, warped and outlines of the labels"))
    return Section("Best, median and worst pair", "\n".join(parts))


def _comparison(compared: Mapping[str, Any], methods: Mapping[str, Rows], structures: Mapping[str, Rows]) -> Section:
    head = ("metric", "first", "second", "difference", "95 % from", "to", "p, Holm", "Wilcoxon p", "pairs")
    shown = ("first", "second", "mean", "low", "high", "p_holm", "p_wilcoxon")
    rows = [
        [METRICS[name], *(_number(one[cell]) for cell in shown), str(one["pairs"])]
        for name, one in compared["metrics"].items()
    ]
    words = f"{compared['second']} - {compared['first']}: {compared['pairs']} pairs finished in both, {compared['left_out']} left out."
    if not compared["independent"]:
        words += " Pairs share persons, so that Wilcoxon's test does not apply."
    html = f"<p>{escape(words)}</p>" + table(head, rows)
    for metric in ("dice", "hd95", "tre", "sdlogj"):
        columns = {name: [[float(row[metric]) for row in own if finite(row.get(metric))]] for name, own in methods.items()}
        if columns and all(values[0] for values in columns.values()):
            html += "\n" + png_image(_draw(columns, ["all pairs"], METRICS[metric]), f"box plots of {METRICS[metric]} per method")
    if structures and all(structures.values()):
        html += "\n" + _boxes(structures)
    return Section("Comparison", html)


def _pairs(rows: Rows) -> Section:
    columns = [name for name in METRICS if any(finite(row.get(name)) for row in rows)]
    cells = [[str(row["fixed"]), str(row["moving"]), str(row["status"]), *(_number(row.get(name)) for name in columns)] for row in rows]
    return Section("Pairs", table(("fixed", "moving", "status", *(METRICS[name] for name in columns)), cells))


def _provenance(record: Mapping[str, Any]) -> Section:
    weights = record.get("weights")
    facts = {"date": record["date"], "split": record.get("split"), "transforms": record.get("transforms"), "threads": record.get("threads")}
    facts["weights"] = weights and f"{weights['name']} (SHA-256 {weights['sha256']})"
    facts |= record["versions"] | {f"option {name}": value for name, value in (record.get("options") or {}).items()}
    rows = [[name, str(value)] for name, value in facts.items() if value not in (None, False, "")]
    return Section("How this was made", f"<pre>{escape(str(record['command_line']))}</pre>" + table((), rows))
