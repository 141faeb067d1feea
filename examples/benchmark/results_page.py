"""docs/results.md from the committed CSVs: the claims, the comparison with other tools, and what runs and training cost.

usage: results_page.py [--page docs/results.md] [--write | --check]

Each section says which command prints it, and when its rows were made. --write makes the page (the claims' own scripts run, which takes
minutes); --check fails if a CSV has changed since.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cohort_cost
import costs
import forward_speed
import scaling
import scoring_speed
import time_ratios
import training_speed
from benchmark_tables import read_tables
from toolbox import TOOLS
from writing import MISSING, STARTS, markdown

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CLAIMS = {
    "parity": "Claim 1: one joint network or one network per data set",
    "iterations": "Claim 2: training steps of the joint network",
    "iterations_tried": "Claim 2: what was tried",
    "anatomy": "Claim 3: control by anatomy",
    "type": "Claim 4: control by type of registration",
    "smoothness": "Claim 5: control by smoothness",
    "unseen": "Claim 6: a data set that training has not seen (zero-shot)",
}
COSTS = {
    "time_ratios": ("Time beside greedy", time_ratios.told),
    "forward_speed": ("Time of the network alone", forward_speed.told),
    "scaling": ("Time and memory against image size", scaling.told),
    "cohort_cost": ("Cost of a cohort", cohort_cost.told),
    "scoring_speed": ("Cost of scoring", scoring_speed.told),
    "training_speed": ("Training speed", training_speed.told),
}
ROWS = {"iterations": "curves"}  # where a claim's rows have another name
STAMP = "<!-- made by examples/benchmark/results_page.py --write from CSVs with the SHA-256 "
NOT_YET = "Not measured yet."
HOW = """\
`python examples/benchmark/benchmark.py --scorer SCORE.py` makes the rows, `python examples/benchmark/benchmark_tables.py` these tables.

Every tool writes its total transform. One program warps the labels (nearest), counts Dice over the labels of the fixed map, and takes the
Jacobian of x -> x + u(x) on the fixed grid in physical space: folding over the whole grid, SDlogJ inside the labels. Distances are
means over the labels that both maps have. Seconds are of the registration alone (greedy and antsRegistration read their images within
it), then of the whole process; memory is the most of all pairs. Pairs are run one after the other, all tools in turn. Differences are pair
by pair against the best peer of the table, their 95 % intervals from resampled persons, p-values corrected after Holm within each table."""


def main(words: Sequence[str] | None = None) -> int:
    """Print, write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "results.md")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository whose examples hold the CSVs")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true")
    what.add_argument("--check", action="store_true")
    chosen = parser.parse_args(words)
    if chosen.check:
        wrong = complaint(chosen.page, chosen.root)
        print(wrong or f"{chosen.page.name} was made from these CSVs")
        return 1 if wrong else 0
    text = page(chosen.root)
    if chosen.write:
        chosen.page.parent.mkdir(parents=True, exist_ok=True)
        chosen.page.write_text(text, "utf-8")
        for name in CLAIMS:
            picture = chosen.root / "examples" / "claims" / "results" / f"{name}.png"
            if picture.is_file():
                copy = chosen.page.parent / _claim_picture(name)
                copy.parent.mkdir(exist_ok=True)
                copy.write_bytes(picture.read_bytes())
    else:
        print(text)
    return 0


def complaint(path: Path, root: Path) -> str:
    """What is wrong with the page; empty if nothing is. No page is right only where there are no CSVs."""
    if not path.is_file():
        return f"{path.name} is missing: run examples/benchmark/results_page.py --write" if csvs(root) else ""
    if f"{STAMP}{fingerprint(root)}" in path.read_text("utf-8"):
        return ""
    return f"{path.name} was made from other CSVs: run examples/benchmark/results_page.py --write"


def csvs(root: Path) -> list[Path]:
    """Every CSV that the page is made from."""
    examples = root / "examples"
    return sorted([*(examples / "claims" / "results").glob("*.csv"), *(examples / "benchmark" / "results").rglob("*.csv")])


def fingerprint(root: Path) -> str:
    """Of names and contents of all CSVs."""
    found = hashlib.sha256()
    for path in csvs(root):
        found.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return found.hexdigest()


def page(root: Path) -> str:
    """The whole text."""
    parts = ["# Results", f"{STAMP}{fingerprint(root)} -->", "Numbers that were measured, each with the command that prints it."]
    parts += ["## Claims", *(claim(root, name, title) for name, title in CLAIMS.items())]
    parts += ["## Comparison with other tools", *comparison(root), "## Costs", *(cost(root, name) for name in COSTS)]
    return "\n\n".join(parts) + "\n"


def _claim_picture(name: str) -> str:
    """Beside the page: a site of the docs folder has no other folders."""
    return f"images/claim-{name}.png"


def claim(root: Path, name: str, title: str) -> str:
    """What the claim's own script prints of its committed rows."""
    head = f"### {title}\n\n`python examples/claims/{name}.py`"
    script = root / "examples" / "claims" / f"{name}.py"
    if not (script.parent / "results" / f"{ROWS.get(name, name)}.csv").is_file():
        return f"{head}\n\n{NOT_YET}"
    # Neither the width that tables are cut at nor the letters may depend on the terminal.
    environment = {**os.environ, "COLUMNS": "160", "PYTHONUTF8": "1"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, encoding="utf-8", check=False, env=environment, cwd=root)
    lines = [line.rstrip() for line in done.stdout.splitlines() if not line.startswith("picture:")]
    picture = script.parent / "results" / f"{name}.png"
    shown = f"\n\n![{title}]({_claim_picture(name)})" if picture.is_file() else ""
    said = "\n".join(lines).strip() or done.stderr.strip().splitlines()[-1]
    return f"{head}\n\n```text\n{said}\n```{shown}"


def comparison(root: Path) -> list[str]:
    """How it was done, what the tools are, and a table a set and start."""
    results = root / "examples" / "benchmark" / "results"
    tables = read_tables(results)
    if not tables:
        return [MISSING]
    used = [tool for name, tool in TOOLS.items() if any(line.tool.name == name for table in tables.values() for line in table.lines)]
    parts = [
        HOW,
        costs.markdown(("tool", "what it is", "settings from"), [(tool.name, tool.title, tool.source) for tool in used]),
    ]
    for name in dict.fromkeys(name for name, _ in tables):
        own = [tables[name, start] for start in STARTS if (name, start) in tables]
        versions = sorted({row["version"] for row in costs.read_rows(results / f"{name}.csv") if row["version"] not in ("", "-")})
        picture = f"![accuracy against time, {name}](images/benchmark-{name}.png)"
        parts += [f"### {name}", *map(markdown, own), f"Versions: {'; '.join(versions)}.", picture]
    return parts


def cost(root: Path, name: str) -> str:
    """One table of what something costs."""
    title, told = COSTS[name]
    rows = costs.read_rows(root / "examples" / "benchmark" / "results" / "costs" / f"{name}.csv")
    if not rows:
        return f"### {title}\n\n`python examples/benchmark/{name}.py`\n\n{NOT_YET}"
    how = rows[0]
    return f"### {title}\n\n`{how['command']}`, {how['date']}, {how['threads']} threads\n\n{told(rows)}"


if __name__ == "__main__":
    sys.exit(main())
