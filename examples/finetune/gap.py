"""How much of what a set left out of training costs is won back by ``unireg finetune`` on 5 labelled pairs of it, in 10 minutes.

Two cases, each with weights that never saw the set (start) and weights that did (joint), all by examples/claims/configs/unseen.toml:
  abdomen_mr   start: the other sets (the runs of claim 6)
  abdomen_ct   start: the other sets, and made-up torsos instead of it
Claimed, network only, in Dice over the validation list and where joint - start is at least 0.03: ``controller`` closes at least half of the
gap, ``all`` is not below ``controller`` by more than 0.01; on the other sets the controller's file changes nothing, to the bit.

usage: gap.py                                      table and verdict from the rows
       gap.py --run [--only abdomen_mr] [--minutes 10] [--limit N] [--steps N]
                                                   train and adapt what is missing, then make the rows
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "claims"))

import bench  # noqa: E402
import study  # noqa: E402
import tables  # noqa: E402
from tables import Row, Verdict  # noqa: E402

from trainer.config_file import read_config  # noqa: E402
from trainer.finetune import finetune  # noqa: E402
from trainer.finetune_options import Options  # noqa: E402
from trainer.finetune_task import What  # noqa: E402
from unireg_cli.io.weights_config import own_smoothness  # noqa: E402
from unireg_cli.loading import load_model  # noqa: E402
from unireg_cli.spatial import Chain, DisplacementField  # noqa: E402
from unireg_cli.types import Mode  # noqa: E402

SETS = ("abdomen_mr", "abdomen_ct")
METHODS = ("start", "joint", "controller", "all")
COLUMNS = ("left_out", "method", "set", "fixed", "moving", "dice", "sdlogj", "changed")
NAME = "left_out_set"
LEAST_GAP, LEAST_PART, MOST_BELOW = 0.03, 0.5, 0.01
_PAIRS = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """Weights as a file, and the word they are asked for; none for all."""

    weights: Path
    word: str = ""

    def alone(self, case: bench.Case, mode: Mode) -> tuple[Chain, DisplacementField]:
        """What the network alone finds."""
        model = load_model(self.weights)
        words = (self.word,) if self.word else ()
        smoothness = {mode: own_smoothness(model.weights.config, mode) for mode in Mode}
        judge = bench.Judge(model.network_for(words), model.weights.sha256[:12], smoothness, {})
        return judge.alone(case, words, mode)


def five_pairs(dataset: Path, path: Path) -> Path:
    """Five pairs of ten scans of the learning list, as a list of their own with paths as they are."""
    content = json.loads(dataset.read_text("utf-8"))
    folder = dataset.parent.absolute()
    kept = content["training"][: 2 * _PAIRS]
    scans = [{key: str(folder / entry[key]) for key in ("image", "label")} for entry in kept]
    pairs = [{"0": one["image"], "1": other["image"]} for one, other in zip(scans[::2], scans[1::2], strict=True)]
    own = {key: content[key] for key in ("name", "region", "mode", "modality", "labels", "intensity") if key in content}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(own | {"training": scans, "training_paired_images": pairs}, indent=2), "utf-8")
    return path


def start_run(left_out: str) -> study.Study:
    """The run that never saw the set."""
    return study.seeing_without(left_out, torsos=left_out == "abdomen_ct")


def lattices(name: str) -> tuple[int, int]:
    """Fewest and most voxels of a set's lattices in these runs."""
    return next(source.voxels for source in read_config(study.UNSEEN_CONFIG).sources if Path(source.path).parent.name == name)


def answers(left_out: str, chosen: argparse.Namespace) -> dict[str, Answer]:
    """All four methods; what is missing is trained and adapted."""
    joint, without = study.seeing(), start_run(left_out)
    for one in (joint, without):
        study.train(one, chosen.data.absolute(), chosen.cache.absolute(), chosen.runs.absolute(), chosen.steps)
    start = without.weights(chosen.runs)
    pairs = five_pairs(chosen.data / left_out / "dataset.json", chosen.runs / f"{left_out}-pairs.json")
    found = {"start": Answer(start), "joint": Answer(joint.weights(chosen.runs))}
    for what in What:
        # Beside its base, where it is looked for.
        output = start.parent / f"{left_out}-{what.value}.safetensors"
        if not output.exists():
            options = Options(pairs, output, start, NAME, what, chosen.minutes, voxels=lattices(left_out))
            outcome = finetune(options, resume=True)
            print(f"{left_out}, {what.value}: {outcome.before.quality:.4f} -> {outcome.after.quality:.4f} (held back)", flush=True)
        found[what.value] = Answer(output, NAME)
    return found


def measure(left_out: str, chosen: argparse.Namespace) -> None:
    """The rows of one case: four methods on the set, and on the other sets whether the controller's file changes anything."""
    methods = answers(left_out, chosen)
    rows = [row for row in tables.read_rows(chosen.results) if row["left_out"] != left_out]
    for name in (left_out, *(other for other in tables.SETS if other != left_out)):
        listed = bench.pair_list(chosen.data, name, chosen.limit if name == left_out else 1)
        # Without the word an adapted file is to answer as its base.
        asked = methods if name == left_out else {method: Answer(methods[method].weights) for method in ("start", "controller")}
        for case in bench.cases(listed, chosen.cache, set()):
            found = {method: answer.alone(case, listed.mode) for method, answer in asked.items()}
            for method, (chain, field) in found.items():
                changed = apart(case, chain, found["start"][0])
                overlap = tables.mean(list(bench.dice(case, chain).values()))
                cells = (left_out, method, name, case.fixed, case.moving, overlap, bench.roughness(case, field).sdlogj, changed)
                rows.append({key: str(value) for key, value in zip(COLUMNS, cells, strict=True)})
            print(f"{left_out}: {name} {case.fixed} {case.moving}", flush=True)
    tables.write_rows(chosen.results, COLUMNS, rows)


def apart(case: bench.Case, chain: Chain, other: Chain) -> float:
    """How far apart two transforms lead any of many points of the fixed image, mm."""
    points = case.images[0].grid.resized(tuple(min(n, 32) for n in case.images[0].grid.size)).points_lps()
    return float(np.abs(chain.map(points) - other.map(points)).max())


def judged(rows: Sequence[Row], left_out: str) -> Verdict | None:
    """The claim of one case; None if there are no rows of it."""
    own = [row for row in rows if row["left_out"] == left_out]
    dice = {method: [float(row["dice"]) for row in own if (row["set"], row["method"]) == (left_out, method)] for method in METHODS}
    if not all(dice.values()):
        return None
    mean = {method: tables.mean(values) for method, values in dice.items()}
    gap, won = mean["joint"] - mean["start"], mean["controller"] - mean["start"]
    elsewhere = [float(row["changed"]) for row in own if row["set"] != left_out and row["method"] == "controller"]
    below, moved = mean["all"] - mean["controller"], max(elsewhere, default=0.0)
    parts = {
        f"controller wins back {won:+.4f} of the gap of {gap:+.4f} (claimed: at least half)": won >= LEAST_PART * gap,
        f"all - controller {below:+.4f} (claimed >= -{MOST_BELOW})": below >= -MOST_BELOW,
        f"on {len(elsewhere)} pairs of other sets the file moves the field by {moved:g} mm (claimed 0)": bool(elsewhere) and moved == 0,
    }
    tables.print_table((left_out, "Dice"), [(method, mean[method]) for method in METHODS])
    whole, told = tables.scale([row for row in own if row["set"] == left_out], [left_out])
    holds = all(parts.values()) if gap >= LEAST_GAP else None
    lines = (*(f"{'yes' if fits else 'NO '} {text}" for text, fits in parts.items()), told, study.scale_told(study.UNSEEN_CONFIG))
    if holds is None:
        lines += (f"the gap is below {LEAST_GAP}: nothing to win back here",)
    return Verdict(f"finetune, {left_out} left out", None if holds is None else tables.overall(holds, whole), lines)


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for, then judge."""
    parser = study.training_arguments(__doc__, "gap")
    parser.set_defaults(results=HERE / "results" / "gap.csv", cache=HERE / ".cache")
    parser.add_argument("--run", action="store_true", help="train, adapt and measure")
    parser.add_argument("--only", choices=SETS, help="this case alone")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each adaptation")
    chosen = parser.parse_args(words)
    cases = [chosen.only] if chosen.only else list(SETS)
    torch.set_num_threads(chosen.threads)
    for left_out in cases if chosen.run else ():
        measure(left_out, chosen)
    rows = tables.read_rows(chosen.results)
    verdicts = [verdict for left_out in cases if (verdict := judged(rows, left_out)) is not None]
    for verdict in verdicts:
        print(verdict)
    return 0 if verdicts else tables.nothing_yet(chosen.results, "--run")


if __name__ == "__main__":
    sys.exit(main())
