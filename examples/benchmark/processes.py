"""One process at a time: how long it took, how much memory it had, and why it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

METER = Path(__file__).resolve().parent / "child_meter.py"


@dataclass(frozen=True, slots=True)
class Ended:
    """A finished process. ``peak_rss_mb`` is the largest of it and the processes that it waited for; ``reason`` is empty if all is well."""

    seconds: float
    peak_rss_mb: float
    reason: str


def run_process(words: Sequence[str], log: Path, environment: Mapping[str, str], timeout: float) -> Ended:
    """Start, wait, measure; what it says goes to ``log``. A process that takes too long is ended with its children."""
    report = log.with_suffix(".meter")
    command = [sys.executable, "-I", "-S", str(METER), str(report), *words]
    try:
        with log.open("w", encoding="utf-8") as said:
            told = {**os.environ, **environment}
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env=told, start_new_session=True
            )
            try:
                process.wait(timeout)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                return Ended(timeout, float("nan"), f"longer than {timeout:g} s")
        if process.returncode:
            return Ended(float("nan"), float("nan"), f"it was not measured: {_last_line(log)}")
        found = json.loads(report.read_text("utf-8"))
    finally:
        report.unlink(missing_ok=True)
    reason = f"{_ending(found['exit'])}: {_last_line(log)}" if found["exit"] else ""
    return Ended(found["seconds"], found["peak_rss_mb"], reason)


def _ending(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"
