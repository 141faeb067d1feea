"""What the programs on time and memory share: phantom pairs as files, rows that say when and how they came about, a straight line."""

from __future__ import annotations

import argparse
import csv
import datetime
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from processes import Ended, run_process

from unireg_cli.io.images import write_image
from unireg_cli.phantom.pair import centred_grid, make_pair

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "costs"
# Edge of the field of view of the made-up torsos, mm.
FIELD_OF_VIEW = 360.0
HOW = ("date", "command", "threads")


def arguments(description: str | None, name: str) -> argparse.ArgumentParser:
    """What every one of the programs takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / f"{name}.csv", help="the rows; replaced")
    parser.add_argument("--threads", type=int, default=2)
    return parser


def write_pair(folder: Path, side: int, seed: int = 0) -> tuple[Path, Path]:
    """Two made-up scans of one torso with side x side x side voxels, as files."""
    grid = centred_grid((side,) * 3, (FIELD_OF_VIEW / side,) * 3, np.eye(3), (0.0, 0.0, 15.0), 1.0)
    pair = make_pair(seed, grids=(grid, grid))
    paths = folder / f"fixed_{side}_{seed}.nii.gz", folder / f"moving_{side}_{seed}.nii.gz"
    for path, image in zip(paths, (pair.fixed, pair.moving), strict=True):
        write_image(path, image)
    return paths


def run_unireg(words: Sequence[str], log: Path, threads: int) -> Ended:
    """One ``unireg`` process.

    Raises:
        SystemExit: it failed.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    ended = run_process([sys.executable, "-m", "unireg_cli", *words], log, dict.fromkeys(names, str(threads)), timeout=36000.0)
    if ended.reason:
        raise SystemExit(f"unireg {' '.join(words)}: {ended.reason}")
    return ended


def write_rows(path: Path, rows: Sequence[Mapping[str, object]], threads: int) -> None:
    """Replace the rows; each gets the date, the command line of this process and the number of threads.

    Written after each measurement, so that a stopped run leaves what it had.
    """
    # Where a file lies on this machine tells nobody anything.
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv]
    told = shlex.join([Path(words[0]).name, *words[1:]])
    how = {"date": datetime.date.today().isoformat(), "command": f"python examples/benchmark/{told}", "threads": threads}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], *HOW])
        writer.writeheader()
        writer.writerows({**{name: _short(value) for name, value in row.items()}, **how} for row in rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def line_through(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float] | None:
    """Offset, slope and R squared of the least-squares line; None for fewer than three points."""
    if len(x) < 3:
        return None
    slope, offset = np.polyfit(x, y, 1)
    rest = np.asarray(y) - (offset + slope * np.asarray(x))
    spread = float(np.square(np.asarray(y) - np.mean(y)).sum())
    return float(offset), float(slope), 1 - float(rest @ rest) / spread if spread else 1.0


def markdown(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value
