"""Accuracy on pairs of the tune split, by which constants are chosen: persons of the training lists that no weights have learned from.

usage: tune_split.py [--sets SET ...] [--limit N] [--weights W] [--effort fast|default|best] [--engine]

Two frames of each held-out heart, and of the other sets every held-out scan with the next one as its moving image. Nothing is written.
Structures that come together while the images grow unlike were paid for by all else that a body holds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import bench
import tables

from trainer.datasets import held_persons, persons_of_scans
from unireg_cli.registration.settings import Settings
from unireg_cli.types import Effort, Mode


def held_out(data: Path, name: str, limit: int | None) -> bench.PairList:
    """The tune pairs of a set."""
    listed = bench.pair_list(data, name)
    content = json.loads((listed.folder / "dataset.json").read_text("utf-8"))
    scans = [listed.folder / entry["image"] for entry in content["training"]]
    twice = [(listed.folder / pair["0"], listed.folder / pair["1"]) for pair in content.get("training_paired_images", [])]
    persons = persons_of_scans(len(scans), [(scans.index(one), scans.index(other)) for one, other in twice])
    held = held_persons(persons)
    if listed.mode is Mode.INTRA:
        pairs = [pair for pair in twice if persons[scans.index(pair[0])] in held]
    else:
        own = [scan for scan, person in zip(scans, persons, strict=True) if person in held]
        pairs = list(zip(own, own[1:] + own[:1], strict=True))
    return replace(listed, pairs=tuple(pairs[:limit]))


def main(words: Sequence[str] | None = None) -> int:
    """Register and print."""
    parser = tables.common_arguments(__doc__, "tune_split")
    parser.add_argument("--weights", help="a .safetensors file (default: the shipped weights)")
    parser.add_argument("--effort", choices=[effort.value for effort in Effort], default=Effort.DEFAULT.value)
    parser.add_argument("--engine", action="store_true", help="no weights")
    parser.add_argument("--anatomy", nargs="*", default=[])
    chosen = parser.parse_args(words)
    bench.use_threads(chosen.threads)
    judge = None if chosen.engine else bench.load_judge(chosen.weights)
    rows = []
    for name in chosen.sets:
        listed = held_out(chosen.data, name, chosen.limit)
        before, after, rough, alike, seconds = [], [], [], [], []
        for case in bench.cases(listed, chosen.cache, set()):
            begin = time.perf_counter()
            own = 0.5 if judge is None else judge.smoothness[listed.mode]
            settings = Settings(anatomy=tuple(chosen.anatomy), mode=listed.mode, smoothness=own, effort=Effort(chosen.effort))
            done = bench.bent(case, settings, None if judge is None else judge.network)
            seconds.append(time.perf_counter() - begin)
            assert done.field is not None  # only rigid and affine registrations have none
            before.append(tables.mean(list(bench.dice(case, bench.chain_of(case, None)).values())))
            after.append(tables.mean(list(bench.dice(case, done.forward).values())))
            rough.append(bench.roughness(case, done.field).sdlogj)
            alike.append(done.quality.similarity_after)
        rows.append((name, len(after), *map(tables.mean, (before, after, rough, alike, seconds))))
    tables.print_table(("set", "pairs", "affine Dice", "Dice", "SDlogJ", "similarity", "seconds after the affine"), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
