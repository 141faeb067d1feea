"""What segmentations bring: the liver's own label maps given for both images of the validation CTs, default mode, affine included.

Claimed: liver Dice after warping at least 0.93, no folding, the other structures not worse by more than 0.01 on the mean.

usage: segmentations.py                                           table and verdict from the rows
       segmentations.py --measure [--limit N] [--weights FILE]    make the rows that are missing
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "claims"))

import bench  # noqa: E402
import tables  # noqa: E402
from tables import Row, Verdict  # noqa: E402

import unireg_cli  # noqa: E402
from unireg_cli.evaluation.overlap import dice_per_label  # noqa: E402
from unireg_cli.evaluation.scoring import warp_labels  # noqa: E402
from unireg_cli.evaluation.statistics import bootstrap_over_persons  # noqa: E402

SET, ASKED = "abdomen_ct", "liver"
COLUMNS = ("weights", "set", "fixed", "moving", "answer", "structure", "dice", "folding_percent", "sdlogj")
ANSWERS = ("without", "with")
LEAST_DICE, MOST_LOSS = 0.93, 0.01


def measure(chosen: argparse.Namespace) -> None:
    """Append what is missing: both answers on every pair, Dice of every structure of the fixed map."""
    weights = bench.weights_told(chosen.weights)
    there = {(row["fixed"], row["moving"]) for row in tables.of_weights(tables.read_rows(chosen.results), weights, chosen.results)}
    listed = bench.pair_list(chosen.data, SET, chosen.limit)
    label = next(value for value, name in listed.names.items() if name == ASKED)
    for fixed, moving in listed.pairs:
        names = bench.stem(fixed), bench.stem(moving)
        if names in there:
            continue
        (one, one_labels), (other, other_labels) = map(bench.read_labelled, (fixed, moving))
        given = {"fixed_seg": one_labels, "moving_seg": other_labels, "seg_labels": {label: ASKED}}
        found = []
        for answer, words in zip(ANSWERS, ({}, given), strict=True):
            done = unireg_cli.register(one, other, anatomy=ASKED, weights=chosen.weights, threads=chosen.threads, **words)
            warped, even = warp_labels(other_labels, one_labels.grid, done.forward), done.quality.regularity
            for value, overlap in dice_per_label(one_labels.voxels, warped).items():
                cells = (weights, SET, *names, answer, listed.names[value], overlap, even.folding_percent, even.sdlogj)
                found.append(dict(zip(COLUMNS, cells, strict=True)))
            print(f"{names[0]} {names[1]} {answer} segmentations", flush=True)
        tables.append_rows(chosen.results, COLUMNS, found)


def judged(rows: Sequence[Row]) -> Verdict | None:
    """The claim; None if there are no rows."""
    if not rows:
        return None
    pairs = list(dict.fromkeys((row["fixed"], row["moving"]) for row in rows))
    asked, others, rough = ({answer: [] for answer in ANSWERS} for _ in range(3))
    for pair in pairs:
        for answer in ANSWERS:
            own = [row for row in rows if (row["fixed"], row["moving"], row["answer"]) == (*pair, answer)]
            asked[answer].append(tables.mean([float(row["dice"]) for row in own if row["structure"] == ASKED]))
            others[answer].append(tables.mean([float(row["dice"]) for row in own if row["structure"] != ASKED]))
            rough[answer].append(float(own[0]["sdlogj"]))
    heads = ("mean over pairs", ASKED, "other structures", "SDlogJ of the field")
    means = {answer: [tables.mean(of[answer]) for of in (asked, others, rough)] for answer in ANSWERS}
    tables.print_table(heads, [(f"{answer} segmentations", *numbers) for answer, numbers in means.items()])
    persons = [tables.persons_of({"set": SET, "fixed": fixed, "moving": moving}) for fixed, moving in pairs]
    change = bootstrap_over_persons([b - a for a, b in zip(others["without"], others["with"], strict=True)], persons)
    folding = max(float(row["folding_percent"]) for row in rows if row["answer"] == "with")
    whole, told = tables.scale(rows, [SET])
    reached = tables.mean(asked["with"])
    lines = (
        f"{ASKED} Dice {reached:.4f}, worst pair {min(asked['with']):.4f} (claimed >= {LEAST_DICE} on the mean)",
        f"other structures {tables.shown(change)} (claimed >= -{MOST_LOSS})",
        f"most folding {folding:g} % (claimed 0)",
        f"{told}; weights {rows[0]['weights']}",
    )
    holds = reached >= LEAST_DICE and change.mean >= -MOST_LOSS and folding == 0
    return Verdict("segmentations", tables.overall(holds, whole), lines)


def main(words: Sequence[str] | None = None) -> int:
    """Measure if asked to, then judge."""
    parser = tables.measuring_arguments(__doc__, "segmentations")
    parser.set_defaults(results=HERE / "results" / "segmentations.csv")
    chosen = parser.parse_args(words)
    if chosen.measure:
        measure(chosen)
    return tables.told(judged(tables.read_rows(chosen.results)), chosen.results, "--measure")


if __name__ == "__main__":
    sys.exit(main())
