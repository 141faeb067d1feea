"""Training steps per second with 1 and 2 processes (torchrun, gloo), on made-up torsos: no data needed.

usage: training_speed.py [--processes 1 2] [--steps 30] [--threads 2] [-o OUT.csv]

The threads are shared by the processes. A step takes one example in each process, so that two processes learn from twice as many. The first
third of the steps is not counted: painting and aligning the torsos, and warming up, belong to it.
"""

from __future__ import annotations

import re
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import costs
from processes import run_process

RECIPE = """
name = "speed"
steps = {steps}
tune_every = {never}
save_every = {never}
log_every = {part}
cache = "cache"
output = "run"

[[sources]]
phantoms = ["torso"]
phantom_scans = {scans}
partners = 1
voxels = [{voxels}, {voxels}]
"""
LINE = re.compile(r"step (\d+) of \d+, ([\d.]+) s each")


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = costs.arguments(__doc__, "training_speed")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--voxels", type=int, default=200_000, help="of the network's lattice")
    chosen = parser.parse_args(words)
    if chosen.steps < 3:
        parser.error("--steps: at least 3, of which the first third is not counted")
    rows: list[dict[str, object]] = []
    for processes in chosen.processes:
        with tempfile.TemporaryDirectory() as folder:
            seconds = measure(Path(folder), processes, chosen.steps, chosen.voxels, max(1, chosen.threads // processes))
        cells = {"processes": processes, "voxels": chosen.voxels, "seconds_per_step": seconds, "steps_per_second": 1 / seconds}
        rows.append({**cells, "examples_per_second": processes / seconds})
        costs.write_rows(chosen.output, rows, chosen.threads)
        print(rows[-1], file=sys.stderr, flush=True)
    print(told(costs.read_rows(chosen.output)))
    return 0


def measure(folder: Path, processes: int, steps: int, voxels: int, threads: int) -> float:
    """Seconds of a step.

    Raises:
        SystemExit: the training failed, or said nothing of its pace.
    """
    part = steps // 3
    recipe = folder / "speed.toml"
    # Tuning and saving are asked for after the last step only.
    recipe.write_text(RECIPE.format(steps=3 * part, never=3 * part, part=part, voxels=voxels, scans=4), "utf-8")
    train = ["-m", "unireg_cli", "train", str(recipe), "--threads", str(threads)]
    # torchrun with its own meeting point, and no address of this machine's name, which need not lead anywhere.
    meeting = ["--nproc-per-node", str(processes), "--master-addr", "127.0.0.1", "--master-port", str(_free_port())]
    command = [sys.executable, "-m", "torch.distributed.run", *meeting, *train]
    log = folder / "log"
    environment = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": str(threads)} if sys.platform.startswith("linux") else {}
    ended = run_process(command, log, environment, timeout=36000.0)
    paces = [(int(step), float(pace)) for step, pace in LINE.findall(log.read_text("utf-8"))]
    counted = [pace for step, pace in paces if step > part]
    if ended.reason or not counted:
        raise SystemExit(f"{' '.join(command)}: {ended.reason or 'it said nothing of its pace'}")
    return sum(counted) / len(counted)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def told(rows: Sequence[dict[str, str]]) -> str:
    """The rows as a table."""
    heads = ("processes", "lattice, voxels", "s per step", "steps per s", "examples per s")
    numbers = ("seconds_per_step", "steps_per_second", "examples_per_second")
    return costs.markdown(heads, [(row["processes"], row["voxels"], *(f"{float(row[name]):.3g}" for name in numbers)) for row in rows])


if __name__ == "__main__":
    sys.exit(main())
