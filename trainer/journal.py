"""The record of a run: what every example said and every look at the tune split, as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from trainer.loop import Row
from trainer.tune import TuneResult
from unireg_cli.io.atomic import atomic_path

logger = logging.getLogger("unireg")

LOSSES, TUNE = "losses.jsonl", "tune.jsonl"
# Facts of a step, not of a source.
_OF_STEP = ("rate", "norm", "skipped")


def read_back(rows: Sequence[Row], names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows as plain numbers, brought from the device in one go; ``names`` are those of the sources."""
    if not rows:
        return []
    values = iter(torch.stack([value.float().reshape(()) for row in rows for value in row.parts.values()]).tolist())
    facts = [{"step": row.step, "example": row.example, "source": names[row.source], "rate": row.rate} for row in rows]
    return [fact | {part: next(values) for part in row.parts} for fact, row in zip(facts, rows, strict=True)]


class Journal:
    """Files in one folder. Lines are appended; what a lost process wrote beyond its checkpoint is cut off when the run goes on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._board: Any = None

    def start(self, step: int) -> None:
        """Begin after ``step``: later lines are forgotten, and so is a last line that was cut short."""
        for name in (LOSSES, TUNE):
            _truncate(self.folder / name, step)
        self._board = _tensorboard(self.folder / "tensorboard", step)

    def losses(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Append a line for each example, and the means over these steps to the curves."""
        self._append(LOSSES, records)
        if self._board is None or not records:
            return
        last = max(record["step"] for record in records)
        for name, value in means(records).items():
            self._board.add_scalar(name, value, last)

    def tuned(self, step: int, results: Mapping[str, TuneResult], score: float) -> None:
        """Append a line for each set."""
        self._append(TUNE, [{"step": step, "set": name, **asdict(result)} for name, result in results.items()])
        if self._board is None:
            return
        self._board.add_scalar("tune/score", score, step)
        for name, result in results.items():
            for part, value in asdict(result).items():
                self._board.add_scalar(f"tune_{part}/{name}", value, step)
        self._board.flush()

    def close(self) -> None:
        """Nothing more will come."""
        if self._board is not None:
            self._board.close()

    def _append(self, name: str, records: Sequence[Mapping[str, Any]]) -> None:
        # JSON has no NaN and no infinity.
        plain = [{key: None if _is_odd(value) else value for key, value in record.items()} for record in records]
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(record, allow_nan=False) + "\n" for record in plain))


def means(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """``step/norm`` and the like, and ``loss/<source>`` and the like: means of what is finite."""
    found: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for part, value in record.items():
            if isinstance(value, float) and math.isfinite(value):
                found[f"step/{part}" if part in _OF_STEP else f"{part}/{record['source']}"].append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}


def _is_odd(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _truncate(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = []
    for line in path.read_text("utf-8").splitlines(keepends=True):
        try:
            if line.endswith("\n") and json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            # Cut short by a crash.
            continue
    with atomic_path(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")


def _tensorboard(folder: Path, step: int) -> Any:
    """A writer, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.info("no TensorBoard here (pip install unireg[train]); the curves are in %s and %s", LOSSES, TUNE)
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
