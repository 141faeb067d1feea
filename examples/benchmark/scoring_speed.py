"""Seconds that scoring takes: surface distances of a brain map with 138 labels, and bootstrap intervals of 100 pairs.

usage: scoring_speed.py [--size 160 192 160] [--labels 138] [--pairs 100] [--draws 1000] [--rounds 3] [--threads 2] [-o OUT.csv]

The map is made up: every voxel belongs to the nearest of as many seeds as there are labels, strewn over the whole volume, so that all
surfaces touch; the map that it is compared with is the same one, three voxels away along each axis. The pairs are drawn among half as
many people, each with one number for each of the labels. The median of the rounds counts.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence

import costs
import numpy as np
from scipy.spatial import cKDTree

from unireg_cli.evaluation.statistics import bootstrap_columns
from unireg_cli.evaluation.surface import surface_distances

AWAY = 3


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = costs.arguments(__doc__, "scoring_speed")
    parser.add_argument("--size", type=int, nargs=3, default=[160, 192, 160], metavar=("X", "Y", "Z"))
    parser.add_argument("--labels", type=int, default=138)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args(words)
    fixed, warped = two_maps(chosen.size, chosen.labels)
    table, persons = people(chosen.pairs, chosen.labels)
    ids = range(1, chosen.labels + 1)
    size, labels = "x".join(map(str, chosen.size)), chosen.labels
    steps: dict[str, Callable[[], object]] = {
        f"distances of {labels} labels, {size}": lambda: surface_distances(fixed, warped, ids, (1.0, 1.0, 1.0)),
        f"{chosen.draws} draws, {chosen.pairs} pairs x {labels} labels": lambda: bootstrap_columns(table, persons, draws=chosen.draws),
    }
    rows = [{"step": name, "seconds": seconds_of(step, chosen.rounds)} for name, step in steps.items()]
    costs.write_rows(chosen.output, rows, chosen.threads)
    print(told(costs.read_rows(chosen.output)))
    return 0


def two_maps(size: Sequence[int], labels: int) -> tuple[np.ndarray, np.ndarray]:
    """A label map (z, y, x) without background and the same one moved by ``AWAY`` voxels along each axis."""
    draw = np.random.default_rng(0)
    shape = tuple(reversed(size))
    seeds = draw.random((labels, 3)) * shape
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    fixed = (cKDTree(seeds).query(voxels)[1] + 1).astype(np.int32).reshape(shape)
    return fixed, np.roll(fixed, (AWAY,) * 3, (0, 1, 2))


def people(pairs: int, columns: int) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Numbers (pairs, columns), and the two persons of each pair."""
    draw = np.random.default_rng(0)
    count = max(3, pairs // 2)
    chosen = [draw.choice(count, 2, replace=False) for _ in range(pairs)]
    return draw.random((pairs, columns)), [(f"person {a}", f"person {b}") for a, b in chosen]


def seconds_of(step: Callable[[], object], rounds: int) -> float:
    """Median seconds of a step."""
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        step()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def told(rows: Sequence[dict[str, str]]) -> str:
    """The rows as a table."""
    return costs.markdown(("step", "s"), [(row["step"], f"{float(row['seconds']):.2f}") for row in rows])


if __name__ == "__main__":
    sys.exit(main())
