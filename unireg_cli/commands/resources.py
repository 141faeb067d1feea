"""Processor cores and memory: what this process may use, and what it has used."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from unireg_cli.errors import UsageError

# Looked at in this order; the first that holds a positive number wins.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class Threads:
    """How many threads a run uses, and who said so."""

    count: int
    source: str


def resolve_threads(asked: int | None) -> Threads:
    """``--threads``, else OMP_NUM_THREADS, else SLURM_CPUS_PER_TASK, else the cores this process may use.

    Raises:
        UsageError: ``asked`` is below 1.
    """
    if asked is not None:
        if asked < 1:
            raise UsageError(f"--threads must be at least 1, found {asked}")
        return Threads(asked, "--threads")
    for variable in _THREAD_VARIABLES:
        # OMP_NUM_THREADS may list one number for each level of nesting: the first is the outermost.
        text = os.environ.get(variable, "").split(",")[0].strip()
        if text.isdigit() and int(text) > 0:
            return Threads(int(text), variable)
    return Threads(_usable_cores(), "cores this process may use")


def _usable_cores() -> int:
    """Cores left by the process's affinity and by the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CGROUP_QUOTA.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        # No control group, or "max": no quota.
        return cores


def apply_threads(threads: Threads) -> None:
    """Hold torch, ITK and the linear algebra below numpy to this many threads."""
    if "numpy" not in sys.modules:
        # Read once, when the library is loaded.
        os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads.count)
    import SimpleITK as sitk
    import torch

    torch.set_num_threads(threads.count)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads.count)  # type: ignore[no-untyped-call]


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far, in MB; None where the system does not say (Windows)."""
    try:
        import resource
    except ModuleNotFoundError:
        return None
    # Kilobytes on Linux, bytes on macOS.
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.024 if unit == 1e3 else 1.0) / unit, 1)
