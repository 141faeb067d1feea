"""The training runs of claims 1, 2 and 6: joint, one set alone, one set left out; they go on where they stopped.

Every run is a file of ``configs`` with sources taken out, another seed and another folder; nothing else differs. A run of one set alone
ends when its tune Dice has not risen for a fifth of its steps, or after SINGLE_STEPS; any other takes the steps of the file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import bench
import tables
import torch
from tables import SETS, Row

from trainer.config import Source, TrainConfig
from trainer.config_file import read_config
from trainer.journal import TUNE
from trainer.run import CHECKPOINT, run
from unireg_cli.io.atomic import atomic_path

CONFIG = tables.HERE / "configs" / "reduced.toml"
UNSEEN_CONFIG = tables.HERE / "configs" / "unseen.toml"
CURVES = tables.HERE / "results" / "curves.csv"
CURVE_COLUMNS = ("run", "seed", "step", "set", "dice", "dice_affine", "sdlogj", "folding_percent", "cpu_seconds_per_step")
SINGLE_STEPS, LEAST_STEPS, QUIET_SHARE = 3000, 1000, 0.2
# Steps between two looks at whether a run of one set may end; reading the data again costs some seconds.
_PART = 500
_CLOCK = "cpu.json"
_TORSOS = 20


@dataclass(frozen=True, slots=True)
class Study:
    """One training run: the sets it learns from, by the name of the run, and the file that it takes everything else from.

    ``stand_in``: a set that made-up torsos take the place of, none if empty. ``changed``: what else is not as in the file.
    """

    name: str
    sets: tuple[str, ...]
    seed: int
    config: Path
    stand_in: str = ""
    changed: Callable[[TrainConfig], TrainConfig] = lambda config: config

    @property
    def single(self) -> bool:
        """Whether it learns from one set alone."""
        return len(self.sets) == 1

    def folder(self, runs: Path) -> Path:
        """Where its checkpoint, curves and weights are."""
        return runs / f"{self.name}-seed{self.seed}"

    def weights(self, runs: Path) -> Path:
        """Its best weights by the tune split."""
        return self.folder(runs) / "unireg-study.safetensors"


def joint(seed: int) -> Study:
    """All sets."""
    return Study("joint", SETS, seed, CONFIG)


def single(name: str, seed: int) -> Study:
    """One set alone."""
    return Study(f"single-{name}", (name,), seed, CONFIG)


def seeing() -> Study:
    """All sets, with a segmenter."""
    return Study("seeing", SETS, 0, UNSEEN_CONFIG)


def seeing_without(name: str, *, torsos: bool = False) -> Study:
    """All sets but one, with a segmenter; made-up ``torsos`` instead of it, if asked for."""
    others = tuple(other for other in SETS if other != name)
    return Study(f"seeing-without-{name}", others, 0, UNSEEN_CONFIG, name if torsos else "")


def config_of(study: Study, base: TrainConfig, data: Path, cache: Path, runs: Path) -> TrainConfig:
    """The study's own config: the base with other sources, seed and folders, and no more steps than a run of one set has."""
    known = {Path(source.path).parent.name: source for source in base.sources}
    sources = tuple(replace(known[name], path=str(data / name / "dataset.json")) for name in study.sets)
    if study.stand_in:
        instead = known[study.stand_in]
        sources += (Source(phantoms=("torso",), phantom_scans=_TORSOS, weight=instead.weight, voxels=instead.voxels, partners=2),)
    steps = min(base.steps, SINGLE_STEPS) if study.single else base.steps
    return study.changed(replace(base, sources=sources, steps=steps, seed=study.seed, cache=str(cache), output=str(study.folder(runs))))


def train(study: Study, data: Path, cache: Path, runs: Path, steps: int | None = None) -> int:
    """Run it to its end, from where it stopped; returns the signal that ended it, 0 for none.

    Args:
        study: which.
        data: folder of the data sets.
        cache: folder of affines found before.
        runs: folder of all runs.
        steps: fewer than the study's own number, for a quick look.
    """
    config = config_of(study, read_config(study.config), data, cache, runs)
    most = min(steps or config.steps, config.steps)
    folder = study.folder(runs)
    done = last_step(folder)
    while done < most and not (study.single and may_end(tune_curve(folder))):
        upto = min(most, (done // _PART + 1) * _PART) if study.single else most
        print(f"{study.name}, seed {study.seed}: from step {done} to {upto} of at most {most}", flush=True)
        begin = time.process_time()
        outcome = run(replace(config, steps=upto), resume=(folder / CHECKPOINT).exists())
        _count(folder, outcome.step - done, time.process_time() - begin)
        if outcome.stopped:
            return outcome.stopped
        done = outcome.step
    return 0


def last_step(folder: Path) -> int:
    """The step of a run's checkpoint, 0 if there is none."""
    path = folder / CHECKPOINT
    return int(torch.load(path, map_location="cpu", weights_only=True)["step"]) if path.exists() else 0


def tune_rows(folder: Path) -> list[dict[str, float | str]]:
    """What a run saw of every set at every look; a line that was cut short is left out."""
    path = folder / TUNE
    rows = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def tune_curve(folder: Path) -> list[tuple[int, float]]:
    """(step, mean Dice over sets)."""
    by_step: dict[int, list[float]] = {}
    for row in tune_rows(folder):
        by_step.setdefault(int(row["step"]), []).append(float(row["dice"]))
    return [(step, tables.mean(values)) for step, values in sorted(by_step.items())]


def may_end(curve: Sequence[tuple[int, float]]) -> bool:
    """Whether the best look lies so far back that a fifth of all steps brought nothing more."""
    if not curve or curve[-1][0] < LEAST_STEPS:
        return False
    best = max(curve, key=lambda point: point[1])[0]
    return best <= (1 - QUIET_SHARE) * curve[-1][0]


def _count(folder: Path, steps: int, seconds: float) -> None:
    """Add to what a run has cost; a part that was killed counts neither its steps nor its seconds."""
    path = folder / _CLOCK
    before = json.loads(path.read_text("utf-8")) if path.exists() else {"steps": 0, "seconds": 0.0}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"steps": before["steps"] + steps, "seconds": before["seconds"] + seconds}), "utf-8")


def collect(studies: Sequence[Study], runs: Path, curves: Path) -> None:
    """Put the curves of these runs into the committed file, in the place of older ones of the same runs."""
    new = []
    for study in studies:
        folder = study.folder(runs)
        clock = folder / _CLOCK
        cost = json.loads(clock.read_text("utf-8")) if clock.exists() else {"steps": 0, "seconds": 0.0}
        pace = cost["seconds"] / cost["steps"] if cost["steps"] else float("nan")
        for row in tune_rows(folder):
            numbers = (row["dice"], row["dice_affine"], row["sdlogj"], row["folding_percent"], pace)
            new.append(dict(zip(CURVE_COLUMNS, (study.name, study.seed, row["step"], row["set"], *numbers), strict=True)))
    replaced = {(study.name, str(study.seed)) for study in studies if study.folder(runs).exists()}
    kept = [row for row in tables.read_rows(curves) if (row["run"], row["seed"]) not in replaced]
    tables.write_rows(curves, CURVE_COLUMNS, [*kept, *new])


def curve_of(rows: Sequence[Row], name: str, seed: str, set_name: str) -> list[tuple[int, float]]:
    """(step, tune Dice) of one set in one run of the committed file."""
    own = [row for row in rows if (row["run"], row["seed"], row["set"]) == (name, seed, set_name)]
    return sorted((int(row["step"]), float(row["dice"])) for row in own)


def still_rising(rows: Sequence[Row]) -> str:
    """Which single runs ended because of their number of steps and not because nothing more came, in words."""
    runs = dict.fromkeys((row["run"], row["seed"], row["set"]) for row in rows if row["run"].startswith("single-"))
    found = [f"{name.removeprefix('single-')} (seed {seed})" for name, seed, own in runs if not may_end(curve_of(rows, name, seed, own))]
    return f"single runs that might have risen further: {', '.join(found) or 'none'}"


def training_arguments(description: str | None, name: str) -> argparse.ArgumentParser:
    """What the scripts of claims 1, 2 and 6 take."""
    parser = tables.common_arguments(description, name)
    parser.add_argument("--retrain", action="store_true", help="make the runs and the rows; what is there is not made again")
    parser.add_argument("--runs", type=Path, default=tables.HERE / ".runs", help="folder of the training runs")
    parser.add_argument("--curves", type=Path, default=CURVES, help="tune curves of the runs")
    parser.add_argument("--steps", type=int, help="train for so many steps only: a quick look, not the study")
    return parser


def train_all(studies: Sequence[Study], chosen: argparse.Namespace, curves: Path) -> int:
    """Train them one after the other and put their ``curves`` into the file; the signal that ended it, 0 for none."""
    torch.set_num_threads(chosen.threads)
    for study in studies:
        stopped = train(study, chosen.data.absolute(), chosen.cache.absolute(), chosen.runs.absolute(), chosen.steps)
        collect([study], chosen.runs, curves)
        if stopped:
            print(f"stopped by signal {stopped}; the same command goes on from here", file=sys.stderr)
            return stopped
    return 0


def judge_of(study: Study, runs: Path, set_name: str) -> bench.Judge:
    """Its best weights, on the lattices that it was trained on; weights with a segmenter say themselves which these are."""
    base = read_config(study.config)
    if "segmentation" in base.learns:
        return bench.load_judge(str(study.weights(runs)))
    voxels = {Path(source.path).parent.name: source.voxels[1] for source in base.sources}
    return bench.load_judge(str(study.weights(runs)), voxels[set_name])


def scale_told(path: Path = CONFIG) -> str:
    """The scale of the runs of a config in words."""
    base = read_config(path)
    low, high = min(source.voxels[0] for source in base.sources), max(source.voxels[1] for source in base.sources)
    single = f", single runs of at most {SINGLE_STEPS}" if path == CONFIG else ""
    schedule = "constant rate" if base.optimiser.schedule == "constant" else "a cosine from"
    return (
        f"reduced scale: lattices of {low:,} to {high:,} voxels, joint runs of {base.steps} steps{single}, "
        f"a look at the tune split every {base.tune_every} steps, {schedule} {base.optimiser.rate:g}"
    )
