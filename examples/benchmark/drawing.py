"""Accuracy against time, one picture a set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from comparing import Table
from writing import STARTS


def draw(tables: Sequence[Table], path: Path) -> None:
    """Mean Dice over seconds of the registration (logarithmic), one panel a start; an unfilled mark has fewer pairs than the others."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(tables), figsize=(5.2 * len(tables), 4.4), layout="constrained", sharey=True, squeeze=False)
    for axis, table in zip(axes[0], tables, strict=True):
        for line in table.lines:
            if not line.pairs:
                continue
            # Nothing at all takes no time; it is drawn as a level.
            if not line.means["registration_seconds"]:
                axis.axhline(line.means["dice"], color="0.6", linewidth=0.8, linestyle=":")
                continue
            place = line.means["registration_seconds"], line.means["dice"]
            colour = "tab:red" if line.tool.ours else "tab:blue"
            marker = {"marker": "o" if line.tool.ours else "s", "markersize": 6, "linestyle": "none"}
            axis.plot(*place, color=colour, markerfacecolor=colour if line.pairs == line.of else "none", **marker)
            text = line.tool.name if "sdlogj_in" not in line.means else f"{line.tool.name} ({line.means['sdlogj_in']:.2f})"
            axis.annotate(text, place, xytext=(5, 4), textcoords="offset points", fontsize=7)
        axis.set_xscale("log")
        axis.margins(x=0.25)
        axis.set_xlabel(f"seconds of the registration, {' and '.join(table.threads)} threads")
        axis.set_title(f"{table.set}\n{STARTS[table.start].partition(' (')[0]}", fontsize=9)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("mean Dice (in brackets: SDlogJ inside the labels)")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
