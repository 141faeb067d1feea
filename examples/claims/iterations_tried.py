"""Claim 2: what was tried to make the joint network need fewer steps, each a run of the study with something changed.

A change helps the claim only where it makes the joint run faster than it makes the single runs. For each set: tune Dice at the last
step, and how many times as fast the run was as the study's own: the steps that the study's took to that Dice, over its own steps.

usage: iterations_tried.py               table from the committed curves
       iterations_tried.py --retrain     make the runs that are missing
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import iterations
import study
import tables
from tables import SETS, Row

from trainer.config import TrainConfig

SEED = 0


@dataclass(frozen=True, slots=True)
class Tried:
    """One run: the sets it learns from, its steps, and what is not as in the study.

    ``weights``: how often each set is drawn. ``optimiser``: values of its settings by name. ``painted``: share of examples whose images
    are painted on label maps; ``every``: steps between two looks at the tune split.
    """

    name: str
    what: str
    sets: tuple[str, ...]
    steps: int
    weights: Mapping[str, float] = field(default_factory=dict)
    optimiser: Mapping[str, float | str] = field(default_factory=dict)
    batch: int = 1
    painted: float = 0.0
    every: int = 250

    @property
    def study(self) -> study.Study:
        """As a run of the study, under its own name."""
        return study.Study(self.name, self.sets, SEED, study.CONFIG, changed=self.changed)

    @property
    def plain(self) -> str:
        """The study's run that differs in nothing else."""
        return "joint" if len(self.sets) > 1 else f"single-{self.sets[0]}"

    def changed(self, config: TrainConfig) -> TrainConfig:
        """The study's config with these changes."""
        optimiser = replace(config.optimiser, **self.optimiser)  # type: ignore[arg-type]
        named = zip(self.sets, config.sources, strict=True)
        sources = [replace(source, weight=self.weights.get(name, 1.0), synthetic_contrast=self.painted) for name, source in named]
        return replace(config, optimiser=optimiser, sources=tuple(sources), batch=self.batch, steps=self.steps, tune_every=self.every)


# By how many examples of its own each set took to come to the level of its single run, in the joint run of the study.
NEEDS = {"hippocampus_mr": 2.9, "cardiac_mr": 2.85, "abdomen_mr": 2.95, "abdomen_ct": 0.5, "brain_mr": 0.55}
NEEDS_CLIPPED = {"hippocampus_mr": 1.6, "cardiac_mr": 1.5, "abdomen_mr": 1.6, "abdomen_ct": 0.5, "brain_mr": 0.4}
NEEDS_OF_MANY = {"hippocampus_mr": 1.5, "cardiac_mr": 1.5, "abdomen_mr": 1.7, "abdomen_ct": 0.5, "brain_mr": 0.4}
CLIPPED = {"rate": 1.5e-3, "clip": 0.3}
# Many examples a step bear a larger step.
MANY = {"rate": 4e-3, "clip": 0.3, "warmup": 30}
ORTHOGONAL = MANY | {"method": "muon"}
ORTHOGONAL_SHORT = ORTHOGONAL | {"rate": 3e-3}
NEEDS_ORTHOGONAL = {"hippocampus_mr": 1.8, "cardiac_mr": 1.4, "abdomen_mr": 2.0, "abdomen_ct": 0.5, "brain_mr": 0.4}
TRIED = (
    Tried("joint-by-need", "drawn by need", SETS, 4750, weights=NEEDS),
    Tried("joint-clip", "clip 0.3, rate 2e-3", SETS, 1500, optimiser=CLIPPED | {"rate": 2e-3}),
    Tried("single-abdomen_mr-clip", "clip 0.3, rate 2e-3", ("abdomen_mr",), 1500, optimiser=CLIPPED | {"rate": 2e-3}),
    Tried("joint-by-need-clip", "drawn by need, clip 0.3, rate 1.5e-3", SETS, 9000, weights=NEEDS_CLIPPED, optimiser=CLIPPED),
    Tried("single-abdomen_mr-clip-1.5e-3", "clip 0.3, rate 1.5e-3", ("abdomen_mr",), 3500, optimiser=CLIPPED),
    Tried("joint-rate-2e-3", "rate 2e-3, average 0.999", SETS, 2250, optimiser={"rate": 2e-3, "average": 0.999}),
    Tried("single-hippocampus_mr-rate-2e-3", "rate 2e-3", ("hippocampus_mr",), 1500, optimiser={"rate": 2e-3}),
    Tried("joint-rate-4e-3", "rate 4e-3, average 0.999", SETS, 2250, optimiser={"rate": 4e-3, "average": 0.999}),
    Tried("joint-batch-5", "5 examples a step", SETS, 500, batch=5),
    Tried("single-abdomen_mr-batch-5", "5 examples a step", ("abdomen_mr",), 750, batch=5),
    Tried("single-hippocampus_mr-batch-4", "4 examples a step", ("hippocampus_mr",), 750, batch=4),
    Tried("joint-batch-16", "16 examples a step, by need, clip 0.3", SETS, 360, NEEDS_OF_MANY, MANY, 16, every=20),
    Tried("single-abdomen_mr-batch-16", "16 examples a step, clip 0.3", ("abdomen_mr",), 240, optimiser=MANY, batch=16, every=20),
    Tried("joint-muon-4", "orthogonal steps of 4, by need", SETS, 500, NEEDS_OF_MANY, ORTHOGONAL_SHORT, 4, every=50),
    Tried("single-abdomen_mr-muon-4", "orthogonal steps of 4", ("abdomen_mr",), 600, {}, ORTHOGONAL_SHORT, 4, every=50),
    Tried("single-hippocampus_mr-muon-4", "orthogonal steps of 4", ("hippocampus_mr",), 600, {}, ORTHOGONAL_SHORT, 4, every=50),
    Tried("joint-muon-16", "orthogonal steps of 16, by need", SETS, 750, NEEDS_ORTHOGONAL, ORTHOGONAL, 16, every=25),
    Tried("single-abdomen_mr-muon-16", "orthogonal steps of 16", ("abdomen_mr",), 300, {}, ORTHOGONAL, 16, every=25),
    Tried("single-hippocampus_mr-muon-16", "orthogonal steps of 16", ("hippocampus_mr",), 300, {}, ORTHOGONAL, 16, every=25),
    Tried("single-abdomen_ct-muon-16", "orthogonal steps of 16", ("abdomen_ct",), 300, {}, ORTHOGONAL, 16, every=25),
    Tried("single-cardiac_mr-muon-16", "orthogonal steps of 16", ("cardiac_mr",), 300, {}, ORTHOGONAL, 16, every=25),
    Tried("joint-painted", "half of the images painted", SETS, 1750, painted=0.5),
    Tried("single-abdomen_mr-painted", "half of the images painted", ("abdomen_mr",), 2250, painted=0.5),
)


def told(rows: Sequence[Row], plain_rows: Sequence[Row]) -> list[str]:
    """Print a line for each run that has curves; returns when joint ones came to levels of the study, in words."""
    races = {race.set: race for race in iterations.races(plain_rows, str(SEED))}
    total = sum(race.single for race in races.values())
    table, lines = [], []
    for tried in TRIED:
        cells: dict[str, str] = {}
        late: dict[str, int | None] = {}
        last = 0
        for name in tried.sets:
            curve = study.curve_of(rows, tried.name, str(SEED), name)
            plain = study.curve_of(plain_rows, tried.plain, str(SEED), name)
            if not curve or not plain or name not in races:
                continue
            last, dice = curve[-1]
            same = iterations.first_at(plain, dice)
            cells[name] = f"{dice:.3f} " + (f"x{same / last:.2f}" if same else "above")
            late[name] = iterations.first_at(curve, races[name].level)
        if not cells:
            continue
        who = "joint" if tried.plain == "joint" else "single"
        table.append((tried.what, who, last, *(cells.get(name, "") for name in SETS)))
        if who == "joint" and any(late.values()):
            lines.append(f"{tried.what}: {_reached(late, tried.batch, total)}")
    tables.print_table(("changed", "run", "steps", *SETS), table)
    return lines


def _reached(late: Mapping[str, int | None], batch: int, total: int) -> str:
    """When a joint run came to the levels of the study's single runs, which were made without its change and had one example a step."""
    told = ", ".join(f"{name} {step or 'never'}" for name, step in late.items())
    steps = [step for step in late.values() if step is not None]
    examples = f", {max(steps) * batch} examples" if steps and batch > 1 else ""
    share = f"; all in {max(steps)}{examples}, {max(steps) * batch / total:.0%}" if len(steps) == len(SETS) else ""
    return f"first step at the study's levels: {told}{share} (the study's single runs: {total} in all, without the change)"


def main(words: Sequence[str] | None = None) -> int:
    """Train if asked to, then show."""
    chosen = study.training_arguments(__doc__, "iterations_tried").parse_args(words)
    if chosen.retrain and (stopped := study.train_all([tried.study for tried in TRIED], chosen, chosen.results)):
        return 128 + stopped
    rows = tables.read_rows(chosen.results)
    if not rows:
        return tables.nothing_yet(chosen.results, "--retrain")
    for line in told(rows, tables.read_rows(chosen.curves)):
        print(line)
    print(f"seed {SEED}; {study.scale_told()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
