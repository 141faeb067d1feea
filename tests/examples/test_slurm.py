"""The sbatch scripts with a real training under torchrun, and stand-ins for the two programs of SLURM that they call."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pipelines import EXAMPLES, environment

SCRIPTS = EXAMPLES / "slurm"
NAMES = ("one_node.sbatch", "several_nodes.sbatch")

# As srun does it: one task a node, options of its own first, and TERM for every task.
SRUN = """#!{python}
import os, signal, subprocess, sys
words = sys.argv[1:]
while words[0].startswith("--"):
    words.pop(0)
tasks = [subprocess.Popen(words, env=os.environ | {{"SLURM_NODEID": str(node)}}) for node in range(int(os.environ["SLURM_NNODES"]))]
signal.signal(signal.SIGTERM, lambda number, frame: [task.send_signal(number) for task in tasks])
sys.exit(max(abs(task.wait()) for task in tasks))
"""
SCONTROL = """#!{python}
import sys
if sys.argv[1:3] == ["show", "hostnames"]:
    print("127.0.0.1\\n127.0.0.2")
else:
    open("requeued", "a").write(" ".join(sys.argv[1:]) + "\\n")
"""
TOML = """
output = "run"
cache = "cache"
steps = 100000
tune_every = 100000
save_every = 100000
log_every = 1
points = 20
[[sources]]
phantoms = ["arm"]
phantom_scans = 2
phantom_spacing = 10.0
voxels = [4000, 8000]
[network]
encoder = [8, 8]
match = [4, 4]
decoder = [8, 8]
reach = [1, 2]
neighbours = [7, 7]
condition = 8
embedding = 4
hidden = 4
"""


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """The surroundings of a job: SLURM's variables and stand-ins for its programs, beside a small config in the current folder."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (programs / name).write_text(text.format(python=sys.executable))
        (programs / name).chmod(0o755)
    (tmp_path / "my.toml").write_text(TOML)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        # The scripts use 20000 + number % 20000.
        number = 20000 * 7 + found.getsockname()[1] % 20000
    return environment(
        before=str(programs),
        SLURM_JOB_ID=str(number),
        SLURM_JOB_NODELIST="node[1-2]",
        SLURM_SUBMIT_DIR=str(EXAMPLES.parent),
        SLURM_CPUS_PER_TASK="2",
        GLOO_SOCKET_IFNAME="lo",
    )


def submit(script: str, folder: Path, cluster: dict[str, str], *words: str) -> subprocess.Popen[str]:
    """What sbatch does with a script: run a copy of it in the folder of the submission."""
    copy = folder / "slurm_script"
    shutil.copy(SCRIPTS / script, copy)
    command = ["bash", str(copy), "my.toml", *words]
    return subprocess.Popen(command, cwd=folder, env=cluster, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def steps(folder: Path) -> list[tuple[int, int]]:
    """Step and example of each line that the training wrote."""
    rows = [json.loads(line) for line in (folder / "run" / "losses.jsonl").read_text().splitlines()]
    return [(row["step"], row["example"]) for row in rows]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names the loopback device of Linux")
@pytest.mark.parametrize(("script", "nodes", "processes"), [(NAMES[0], 1, 2), (NAMES[1], 2, 1)])
def test_time_limit_is_a_checkpoint_a_requeue_and_no_lost_step(
    tmp_path: Path, cluster: dict[str, str], script: str, nodes: int, processes: int
) -> None:
    cluster |= {"SLURM_NNODES": str(nodes), "UNIREG_PROCESSES": str(processes)}
    job = submit(script, tmp_path, cluster)
    end = time.monotonic() + 150
    curve = tmp_path / "run" / "losses.jsonl"
    while not (curve.exists() and curve.read_text().count("\n") >= 4) and job.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    said = job.communicate(timeout=120)[0]
    assert job.returncode == 0, said
    assert (tmp_path / "requeued").read_text() == f"requeue {cluster['SLURM_JOB_ID']}\n", said
    # No checkpoint was due: this one is the signal's.
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"]
    assert saved >= 2 and f"stopped after step {saved}; go on with --resume" in said
    again = submit(script, tmp_path, cluster, "--steps", str(saved + 2))
    said = again.communicate(timeout=150)[0]
    assert again.returncode == 0 and f"going on after step {saved}" in said, said
    assert steps(tmp_path) == [(step, example) for step in range(1, saved + 3) for example in range(2)]
    # Done is done: not back into the queue.
    assert (tmp_path / "requeued").read_text().count("\n") == 1


def sourced(folder: Path, cluster: dict[str, str], lines: str) -> subprocess.Popen[str]:
    text = f"set -euo pipefail\nsource {SCRIPTS}/requeue.sh\n{lines}\n"
    return subprocess.Popen(["bash", "-c", text], cwd=folder, env=cluster, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_failure_without_a_signal_is_a_failure(tmp_path: Path, cluster: dict[str, str]) -> None:
    for words, code in (("bash -c 'exit 7'", 7), ("true", 0)):
        job = sourced(tmp_path, cluster, f"run_requeued {words}")
        assert job.communicate(timeout=10)[0] == "" and job.returncode == code
    assert not (tmp_path / "requeued").exists()


@pytest.mark.parametrize(("answer", "requeued"), [("exit 143", True), ("exit 0", False)])
def test_signal_is_passed_on_once_and_waited_for(tmp_path: Path, cluster: dict[str, str], answer: str, requeued: bool) -> None:
    """The step takes its time after the first signal; a second one changes nothing."""
    step = f"trap 'echo heard; sleep 0.5; {answer}' TERM; touch ready; while :; do sleep 0.05; done"
    job = sourced(tmp_path, cluster, f'run_requeued bash -c "{step}"; echo over')
    while not (tmp_path / "ready").exists() and job.poll() is None:
        time.sleep(0.02)
    for _ in range(2):
        job.send_signal(signal.SIGUSR1)
        time.sleep(0.2)
    said = job.communicate(timeout=10)[0]
    assert job.returncode == 0 and said.count("heard") == 1 and said.rstrip().endswith("over")
    assert (tmp_path / "requeued").exists() == requeued


def test_signal_before_the_step_has_a_number_is_not_lost(tmp_path: Path, cluster: dict[str, str]) -> None:
    at_once = 'trap() { builtin trap "$@"; [ "$1" = - ] || kill -USR1 $$; }'
    job = sourced(tmp_path, cluster, f"{at_once}\nrun_requeued sleep 8; echo over")
    said = job.communicate(timeout=10)[0]
    assert job.returncode == 0 and said.rstrip().endswith("over") and "back into the queue" in said
    assert (tmp_path / "requeued").exists()


@pytest.mark.parametrize(("cpus", "processes", "threads"), [("32", "4", "8"), ("3", "2", "1"), ("1", "2", "1"), ("", "", "1")])
def test_cores_are_shared_out(tmp_path: Path, cluster: dict[str, str], cpus: str, processes: str, threads: str) -> None:
    cluster |= {"SLURM_CPUS_PER_TASK": cpus, "UNIREG_PROCESSES": processes}
    job = sourced(tmp_path, cluster, 'echo "$processes $threads"')
    assert job.communicate(timeout=10)[0].split() == [processes or "1", threads]


@pytest.mark.parametrize("name", [*NAMES, "requeue.sh"])
def test_scripts_are_bash_and_shellcheck_agrees(name: str) -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPTS / name)]).returncode == 0
    if shutil.which("shellcheck"):
        done = subprocess.run(["shellcheck", "-x", name], cwd=SCRIPTS, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_what_slurm_is_asked_for_fits_together(name: str) -> None:
    lines = (SCRIPTS / name).read_text().splitlines()
    asked = dict(re.fullmatch(r"#SBATCH --([a-z-]+)(?:=(.+))?", line).groups() for line in lines if line.startswith("#SBATCH"))  # type: ignore[union-attr]
    # SLURM reads these only above the first command.
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first:])
    assert "requeue" in asked and asked["open-mode"] == "append" and asked["ntasks-per-node"] == "1"
    to, number, seconds = re.fullmatch(r"(\w):(\w+)@(\d+)", asked["signal"]).groups()  # type: ignore[union-attr]
    assert (to, number) == ("B", "USR1")
    shutdown = re.search(r"SHUTDOWN_TIMEOUT:-(\d+)", (SCRIPTS / "requeue.sh").read_text())
    assert shutdown and int(shutdown[1]) < int(seconds)
