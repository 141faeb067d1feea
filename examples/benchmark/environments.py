"""A virtual environment for each tool, made when it is first needed, outside the repository."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

from toolbox import ENVIRONMENTS


class EnvironmentMissing(Exception):
    """A tool's packages could not be installed; says why in one line."""


def python_of(environment: str, work: Path) -> Path:
    """The interpreter that runs a tool; its packages are installed if they are not there.

    Raises:
        EnvironmentMissing: an install that failed. It is tried again the next time.
    """
    if environment == "here":
        return Path(sys.executable)
    folder = work / "environments" / environment
    packages = [_pinned(name) for name in ENVIRONMENTS[environment]]
    finished = folder / "packages.txt"
    python = folder / "bin" / "python"
    if finished.is_file() and finished.read_text("utf-8").split() == packages:
        return python
    finished.unlink(missing_ok=True)
    print(f"making the environment {environment}: {' '.join(packages)}", file=sys.stderr, flush=True)
    base = getattr(sys, "_base_executable", sys.executable)
    # torch by itself first: together with others an older version of it could be chosen.
    batches = [batch for batch in ([name for name in packages if name.startswith("torch==")], packages) if batch]
    install = [str(python), "-m", "pip", "install", "--quiet"]
    commands = [[base, "-m", "venv", "--clear", str(folder)], *([*install, *batch] for batch in batches)]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
            raise EnvironmentMissing(f"{' '.join(command[1:])} failed: {said[-1]}")
    finished.write_text("\n".join(packages) + "\n", "utf-8")
    return python


def _pinned(package: str) -> str:
    return f"torch=={importlib.metadata.version('torch').split('+')[0]}" if package == "torch" else package
