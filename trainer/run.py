"""A whole run: load, train, look, keep, stop when asked to, and go on later as if nothing had happened."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainer.checkpoint import restore, save
from trainer.compute import Compute, choose_compute
from trainer.config import TrainConfig
from trainer.config_file import as_toml, changed_keys, write_config
from trainer.distributed import Team
from trainer.export import export
from trainer.journal import Journal, means, read_back
from trainer.loop import Row, State, helps_to_choose, new_state, pool_names, train_step, tune
from trainer.pool import Pool, load_pool
from trainer.sampling import Gallery
from trainer.start import begin, network_before, settled
from trainer.stopping import Stop, stop_signals
from trainer.tune import TuneResult
from unireg_cli.errors import UniregError, UsageError
from unireg_cli.io.provenance import versions, write_record

logger = logging.getLogger("unireg")

Progress = Callable[[str, int, int], None]

CHECKPOINT = "last.pt"
# A single step without a finite gradient is an odd example; so many in a row are a run that is lost.
_MOST_SKIPPED = 20
# Keys that a run may change on its way without its numbers so far becoming those of another run.
_FREE_KEYS = ("steps", "name", "licence", "tune_every", "save_every", "log_every", "device", "cache", "output")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: ``stopped`` is the signal that ended it before its last step, 0 if none did."""

    step: int
    best: float
    stopped: int
    weights: Path | None


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def run(config: TrainConfig, *, resume: bool = False, progress: Progress = _silent, team: Team | None = None) -> Outcome:
    """Train as the config says; everything is written into its output folder.

    Args:
        config: the run.
        resume: go on from the output folder's checkpoint if there is one.
        progress: told of sources loaded and steps done.
        team: the processes that train together; default: this one alone.

    Raises:
        UsageError: the folder holds a run already and ``resume`` is not asked for, or the config asks for what is not there.
        InputError: data or a checkpoint that cannot be read.
        WeightsError: weights to begin with that are missing, damaged, or of another network.
        UniregError: the loss is not finite any more.
    """
    team = team or Team()
    output = Path(config.output)
    checkpoint = output / CHECKPOINT
    if checkpoint.exists() and not resume:
        raise UsageError(f"{output} holds a run already; go on with --resume, or name another --output")
    compute = choose_compute(config.device, config.precision, team.local_rank)
    before = network_before(config, checkpoint)
    pools = _load(config, progress, team)
    config = settled(config, pools, before, resumed=checkpoint.exists())
    if checkpoint.exists():
        state = new_state(config, compute.device)
        _warn_of_changes(restore(state, checkpoint), as_toml(config))
        logger.info("going on after step %d", state.step)
    else:
        state = begin(config, compute.device)
    if team.first:
        _prepare(output, config)
    team.wait()
    with stop_signals() as stop:
        return _Run(config, pools, state, compute, team, stop, Journal(output) if team.first else None, progress).all()


def _prepare(output: Path, config: TrainConfig) -> None:
    """The folder, with what makes its numbers again: the config and the versions."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{output}: the folder cannot be made ({error.strerror}); choose another one") from error
    write_config(config, output / "config.toml")
    write_record(output / "versions.json", versions())


def _load(config: TrainConfig, progress: Progress, team: Team) -> list[Pool]:
    """All sources; the first process aligns pairs, the others find them in the cache."""
    if not team.first:
        team.wait()
    pools = []
    for count, source in enumerate(config.sources, 1):
        pool = load_pool(source, Path(), Path(config.cache), config.seed, pairs="registration" in config.learns)
        if source.tune and not helps_to_choose(pool):
            raise UsageError(f"{source.path}: tune is true, but its held-out scans have no images or make no pair; leave tune out")
        pools.append(pool)
        progress("load", count, len(config.sources))
    if team.first:
        team.wait()
    for name, pool in zip(pool_names(pools), pools, strict=True):
        held = len(pool.tune.scans) if helps_to_choose(pool) else 0
        logger.info("%s: %d scans to learn from, %d to choose by", name, len(pool.learn.scans), held)
    if not any(map(helps_to_choose, pools)):
        logger.warning("no source has scans to choose the best weights by: those of the last step are kept")
    return pools


def _warn_of_changes(old: str, new: str) -> None:
    if not old:
        return
    changes = [change for change in changed_keys(old, new) if change.split(":")[0] not in _FREE_KEYS]
    if changes:
        logger.warning("the run began with other settings, so neither config alone makes its numbers: %s", "; ".join(changes))


@dataclass(slots=True, eq=False)
class _Run:
    """A run in one process; ``journal`` only where it is the one that writes."""

    config: TrainConfig
    pools: list[Pool]
    state: State
    compute: Compute
    team: Team
    stop: Stop
    journal: Journal | None
    progress: Progress
    gallery: Gallery = field(default_factory=Gallery)
    rows: list[Row] = field(default_factory=list)
    saved: tuple[int, int] = (-1, -1)
    begun: float = 0.0

    def all(self) -> Outcome:
        """Every step that is left, or as many as the signals allow."""
        state, config = self.state, self.config
        self.begun = time.monotonic()
        if self.journal is not None:
            self.journal.start(state.step)
        stopped = False
        try:
            while not (stopped := self.team.any(self.stop.number != 0)):
                if self._tune_is_due():
                    self._tune()
                elif state.step >= config.steps:
                    break
                else:
                    self.rows += train_step(state, self.pools, config, self.gallery, self.compute, self.team)
                    self.progress("train", state.step, config.steps)
                    if state.step % config.log_every == 0 or state.step == config.steps:
                        self._flush()
                    if state.step % config.save_every == 0:
                        self._save()
            self._save()
            # A process that leaves early would have its launcher end the one that is still writing.
            self.team.wait()
            return self._end(stopped)
        finally:
            if self.journal is not None:
                self.journal.close()

    def _tune_is_due(self) -> bool:
        step = self.state.step
        return step != self.state.tuned and (step % self.config.tune_every == 0 or step >= self.config.steps)

    def _flush(self) -> None:
        """Bring the rows from the device, count the steps that were skipped, write.

        Raises:
            UniregError: too many of them in a row.
        """
        rows, self.rows = self.rows, []
        records = read_back(rows, pool_names(self.pools))
        for skipped in {record["step"]: record["skipped"] for record in records}.values():
            self.state.skipped += int(skipped)
            self.state.skipped_in_row = (self.state.skipped_in_row + 1) * int(skipped)
        records = sorted(self.team.gathered(records), key=lambda record: (record["step"], record["example"]))
        if self.journal is not None:
            self.journal.losses(records)
            self._say(records)
        if self.state.skipped_in_row >= _MOST_SKIPPED:
            raise UniregError(
                f"{self.state.skipped_in_row} steps in a row without a finite loss and gradient, up to step {self.state.step}: "
                "the run is lost; lower optimiser.rate or optimiser.clip and go on from its last checkpoint with --resume"
            )

    def _say(self, records: list[dict[str, Any]]) -> None:
        """One line on the last steps."""
        if not records:
            return
        steps, now = len({record["step"] for record in records}), time.monotonic()
        curves = means(records)
        losses = ", ".join(f"{name.partition('/')[2]} {value:.3f}" for name, value in sorted(curves.items()) if name.startswith("loss/"))
        skipped = f", {self.state.skipped} steps skipped" if self.state.skipped else ""
        pace = (now - self.begun) / steps
        logger.info("step %d of %d, %.2f s each: loss %s%s", self.state.step, self.config.steps, pace, losses, skipped)
        self.begun = now

    def _save(self) -> None:
        if self.rows:
            self._flush()
        now = (self.state.step, self.state.tuned)
        if self.team.first and self.saved != now:
            save(self.state, Path(self.config.output) / CHECKPOINT, as_toml(self.config))
        self.saved = now

    def _tune(self) -> None:
        """Look at the tune split, and keep the weights if they are the best so far."""
        if self.rows:
            self._flush()
        state = self.state
        if self.team.first:
            results = tune(state, self.pools, self.config, self.gallery, lambda: self.stop.number != 0)
            if results is None:
                return
            if results:
                self._keep(results)
        state.tuned = state.step
        self._save()

    def _keep(self, results: dict[str, TuneResult]) -> None:
        scores = [result.score for result in results.values() if math.isfinite(result.score)]
        score = sum(scores) / len(scores) if scores else math.nan
        self.state.results = {name: asdict(result) for name, result in results.items()}
        for name, result in results.items():
            logger.info(
                "tune %s: Dice %.4f (affine %.4f), folding %.3f %%, SDlogJ %.3f, asked-for structures %+.4f, segmentation %.4f",
                *(name, result.dice, result.dice_affine, result.folding_percent, result.sdlogj, result.asked_gain, result.segmented),
            )
        better = score > self.state.best
        praise = ", the best so far" if better else ""
        logger.info("tune score (mean Dice less the price of roughness) at step %d: %.4f%s", self.state.step, score, praise)
        if self.journal is not None:
            self.journal.tuned(self.state.step, results, score)
        if better:
            self.state.best = score
            export(self.state, self.pools, self.config, self._weights())
        self.begun = time.monotonic()

    def _weights(self, ending: str = "") -> Path:
        return Path(self.config.output) / f"{self.config.name}{ending}.safetensors"

    def _end(self, stopped: bool) -> Outcome:
        """The weights of the last step, which are also the best where there was nothing to choose by."""
        best = self._weights()
        if self.team.first and not stopped:
            export(self.state, self.pools, self.config, self._weights("-last"))
            if self.state.best <= -1:
                export(self.state, self.pools, self.config, best)
        number = self.stop.number or signal.SIGTERM
        return Outcome(self.state.step, self.state.best, int(number) if stopped else 0, best if best.exists() else None)
