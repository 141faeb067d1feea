"""What the tests of the pipelines share: a made-up cohort, and programs run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def environment(**more: str) -> dict[str, str]:
    """That of a shell with the tests' virtual environment, one thread for each process, and no word to anybody's home."""
    own = {name: value for name, value in os.environ.items() if name != "UNIREG_WEIGHTS"}
    path = os.pathsep.join([*more.pop("before", "").split(os.pathsep), str(Path(sys.executable).parent), own.get("PATH", "")])
    return own | {"PATH": path.lstrip(os.pathsep), "OMP_NUM_THREADS": "1", "NIPYPE_NO_ET": "1"} | more


def run(*words: object, folder: Path, code: int = 0, timeout: float = 300) -> str:
    """Run a program to its end and return what it said, on both streams."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def make_phantoms(folder: Path, people: int) -> Path:
    """The table of a cohort of coarse phantoms."""
    said = run("python", EXAMPLES / "phantom_cohort.py", folder, "--people", people, "--coarsen", "4", folder=folder.parent)
    return Path(said.strip())
