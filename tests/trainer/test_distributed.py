"""Two processes with one example a step against one process with two."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trainer.config_file import read_config
from trainer.distributed import joined
from trainer.run import run

Recipe = Callable[..., Path]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def numbers(path: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if not isinstance(value, str)} for row in rows]


def start(*words: object, size: int = 2) -> list[subprocess.Popen[bytes]]:
    """``unireg train`` as torchrun starts it, without torchrun's own process."""
    # Gloo takes the address of the machine's name, which need not lead anywhere where tests run.
    common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", "unireg_cli", "train", *map(str, words), "--threads", "1"]
    ranks = [os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]
    return [subprocess.Popen(command, env=rank, stderr=subprocess.PIPE) for rank in ranks]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names the loopback device of Linux")
def test_two_processes_learn_what_one_learns_from_both_their_examples(recipe: Recipe, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    run(read_config(recipe("one", batch=2)))
    processes = start(recipe("two", batch=1))
    said = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    # Only the first one speaks.
    assert "step 6 of 6" in said[0] and said[1] == ""
    for name, count in (("losses.jsonl", 12), ("tune.jsonl", 2)):
        one, two = (numbers(tmp_path / folder / name) for folder in ("one", "two"))
        assert len(one) == count
        # What was not looked at is None in both.
        seen = [[{key: value for key, value in row.items() if value is not None} for row in rows] for rows in (one, two)]
        assert seen[0] == [pytest.approx(row, rel=1e-4, abs=1e-6) for row in seen[1]]
    # Both examples of a step are different ones.
    first, second = numbers(tmp_path / "one" / "losses.jsonl")[:2]
    assert first["step"] == second["step"] and first["loss"] != second["loss"]
    weights = [torch.load(tmp_path / name / "last.pt", weights_only=True)["average"] for name in ("one", "two")]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names the loopback device of Linux")
def test_a_signal_to_one_process_stops_both_with_a_checkpoint(recipe: Recipe, tmp_path: Path) -> None:
    processes = start(recipe("two", steps=100_000, tune_every=100_000, save_every=1))
    folder = tmp_path / "two"
    for _ in range(600):
        if (folder / "last.pt").exists():
            break
        time.sleep(0.1)
    processes[1].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=60)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [143, 143], said
    step = torch.load(folder / "last.pt", weights_only=True)["step"]
    assert step > 0 and f"stopped after step {step}; go on with --resume" in said[0]


def test_a_process_that_nobody_started_beside_others_is_a_team_of_one() -> None:
    with joined() as team:
        assert (team.rank, team.size, team.first) == (0, 1, True)
        assert team.any(True) and not team.any(False)
        assert team.gathered([1, 2]) == [1, 2]
