"""What landmarks bring: a made-up torso that moved far, 10 landmark pairs placed with 1 mm noise, judged at 20 others.

The phantom's motion is known exactly; the two answers differ in the landmarks alone. Claimed: the target registration error (TRE) at the
20 others falls by at least 30 %, on the mean over the made-up people.

usage: landmarks.py                                       table and verdict from the rows
       landmarks.py --measure [--people 5] [--weights FILE]  make the rows that are missing
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "claims"))

import bench  # noqa: E402
import tables  # noqa: E402
from tables import Row, Verdict  # noqa: E402

import unireg_cli  # noqa: E402
from unireg_cli.phantom.pair import make_pair  # noqa: E402
from unireg_cli.types import FloatArray  # noqa: E402

COLUMNS = ("weights", "person", "answer", "before_mm", "tre_mm", "tre95_mm", "folding_percent", "sdlogj")
ANSWERS = ("without", "with")
GIVEN, JUDGED, NOISE_MM, AMOUNT = 10, 20, 1.0, 1.5
LEAST_FALL, PEOPLE = 0.3, 5


def noisy(points: FloatArray, draw: np.random.Generator) -> FloatArray:
    """Points as a hand places them: ``NOISE_MM`` is the root mean square of how far they are off."""
    return points + draw.normal(0, NOISE_MM / np.sqrt(3), points.shape)


def measure(chosen: argparse.Namespace) -> None:
    """Append what is missing: both answers for every person."""
    weights = bench.weights_told(chosen.weights)
    there = {row["person"] for row in tables.of_weights(tables.read_rows(chosen.results), weights, chosen.results)}
    for person in range(chosen.people):
        if str(person) in there:
            continue
        pair, draw = make_pair(person, amount=AMOUNT), np.random.default_rng(person)
        order = draw.permutation(len(pair.landmarks_fixed_lps))
        given, judged = order[:GIVEN], order[GIVEN : GIVEN + JUDGED]
        both = pair.landmarks_fixed_lps, pair.landmarks_moving_lps
        placed = dict(zip(("fixed_points", "moving_points"), (noisy(points[given], draw) for points in both), strict=True))
        fixed, moving = (points[judged] for points in both)
        found = []
        for answer, words in zip(ANSWERS, ({}, placed), strict=True):
            done = unireg_cli.register(pair.fixed, pair.moving, mode="intra", weights=chosen.weights, threads=chosen.threads, **words)
            errors = np.linalg.norm(done.forward.map(fixed) - moving, axis=1)
            even = done.quality.regularity
            before = float(np.linalg.norm(fixed - moving, axis=1).mean())
            cells = (weights, person, answer, before, errors.mean(), np.percentile(errors, 95), even.folding_percent, even.sdlogj)
            found.append(dict(zip(COLUMNS, cells, strict=True)))
            print(f"person {person} {answer} landmarks: TRE {errors.mean():.2f} mm", flush=True)
        tables.append_rows(chosen.results, COLUMNS, found)


def judged(rows: Sequence[Row]) -> Verdict | None:
    """The claim; None if there are no rows."""
    if not rows:
        return None
    people = list(dict.fromkeys(row["person"] for row in rows))
    tre = {(row["person"], row["answer"]): float(row["tre_mm"]) for row in rows}
    before = {row["person"]: float(row["before_mm"]) for row in rows}
    fall = {person: 1 - tre[person, "with"] / tre[person, "without"] for person in people}
    means = [tables.mean([tre[person, answer] for person in people]) for answer in ANSWERS]
    whole = 1 - means[1] / means[0]
    table = [(f"person {p}", before[p], tre[p, "without"], tre[p, "with"], f"{-fall[p]:+.0%}") for p in people]
    tables.print_table(("mean at 20 points, mm", "before", "without", "with", "change"), table)
    folding = max(float(row["folding_percent"]) for row in rows)
    lines = (
        f"mean TRE {means[0]:.2f} mm without and {means[1]:.2f} mm with {GIVEN} landmarks: {-whole:+.0%} (claimed <= {-LEAST_FALL:.0%})",
        f"people on whom it fell by that much: {sum(fall[person] >= LEAST_FALL for person in people)} of {len(people)}",
        f"most folding {folding:g} %; {len(people)} made-up people of {PEOPLE}; weights {rows[0]['weights']}",
    )
    return Verdict("landmarks", tables.overall(whole >= LEAST_FALL and folding == 0, len(people) >= PEOPLE), lines)


def main(words: Sequence[str] | None = None) -> int:
    """Measure if asked to, then judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "landmarks.csv", help="rows of every person")
    parser.add_argument("--measure", action="store_true", help="make the rows that are missing")
    parser.add_argument("--people", type=int, default=PEOPLE, help="so many made-up people")
    parser.add_argument("--weights", help="a .safetensors file, or none for the engine alone (default: the shipped weights)")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args(words)
    if chosen.measure:
        measure(chosen)
    return tables.told(judged(tables.read_rows(chosen.results)), chosen.results, "--measure")


if __name__ == "__main__":
    sys.exit(main())
