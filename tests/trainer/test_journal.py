"""Curves: lines that are cut back, and what TensorBoard is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from trainer.journal import LOSSES, TUNE, Journal, means
from trainer.tune import TuneResult

NAN = float("nan")
RECORDS = [
    {"step": 3, "example": 0, "source": "a", "rate": 0.5, "loss": 1.0, "norm": 2.0, "skipped": 0.0},
    {"step": 3, "example": 1, "source": "b", "rate": 0.5, "loss": NAN, "norm": 2.0, "skipped": 0.0},
    {"step": 4, "example": 0, "source": "a", "rate": 0.25, "loss": 4.0, "norm": float("inf"), "skipped": 1.0},
]


class Writer:
    """Stands for TensorBoard's: remembers what it is told."""

    made: ClassVar[list[Writer]] = []

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step, self.closed = folder, purge_step, False
        self.scalars: dict[str, tuple[float, int]] = {}
        self.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars[name] = (value, step)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    module: Any = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    Writer.made.clear()
    return Writer.made


def test_means_are_of_what_is_finite_by_source_and_step() -> None:
    # Rates 0.5, 0.5, 0.25; one length is infinite; of source b nothing is finite but what belongs to the step.
    expected = {"step/rate": 1.25 / 3, "step/norm": 2.0, "step/skipped": 1 / 3, "loss/a": 2.5}
    assert means(RECORDS) == pytest.approx(expected)


def test_lines_hold_json_and_tensorboard_hears_the_means(tmp_path: Path, board: list[Writer]) -> None:
    journal = Journal(tmp_path)
    journal.start(2)
    journal.losses(RECORDS)
    journal.tuned(4, {"a": TuneResult(0.5, 0.7, 0.0, 0.1, NAN)}, 0.7)
    journal.close()
    lines = [json.loads(line) for line in (tmp_path / LOSSES).read_text().splitlines()]
    assert [line["loss"] for line in lines] == [1.0, None, 4.0] and lines[2]["norm"] is None
    (look,) = [json.loads(line) for line in (tmp_path / TUNE).read_text().splitlines()]
    assert (look["step"], look["set"], look["dice"], look["asked_gain"]) == (4, "a", 0.7, None)
    (writer,) = board
    assert (writer.folder, writer.purge_step, writer.closed) == (str(tmp_path / "tensorboard"), 3, True)
    assert writer.scalars["loss/a"] == (2.5, 4) and writer.scalars["tune/score"] == (0.7, 4)
    assert writer.scalars["tune_dice/a"] == (0.7, 4)


def test_lines_after_the_checkpoint_and_broken_ones_are_cut(tmp_path: Path, board: list[Writer]) -> None:
    (tmp_path / LOSSES).write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    (tmp_path / TUNE).write_text('{"step": 2}\nno json\n{"step": 4}\n{"step": 1}')
    Journal(tmp_path).start(2)
    assert (tmp_path / LOSSES).read_text() == '{"step": 1}\n{"step": 2}\n'
    assert (tmp_path / TUNE).read_text() == '{"step": 2}\n'


def test_without_tensorboard_the_lines_are_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    journal = Journal(tmp_path)
    journal.start(0)
    journal.losses(RECORDS)
    journal.close()
    assert len((tmp_path / LOSSES).read_text().splitlines()) == 3 and not (tmp_path / "tensorboard").exists()
