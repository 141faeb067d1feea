"""Processor cores and memory that this process may use."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from unireg_cli.errors import UsageError

# Looked at in this order; the first that holds a positive number wins.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")
# Parameter numbers of glibc's mallopt.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
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
    return Threads(usable_cores(), "cores this process may use")


def usable_cores() -> int:
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
    if "torch" not in sys.modules:
        _wait_asleep()
    _keep_freed_memory()
    import SimpleITK as sitk
    import torch

    torch.set_num_threads(threads.count)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads.count)  # type: ignore[no-untyped-call]


def _wait_asleep() -> None:
    """Let threads that have nothing to do sleep, but not at once; what the user's variables say stays."""
    # Threads that wait by spinning slow each other down many times on a machine that others use too.
    policy = os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if policy.lower() == "passive":
        # Falling asleep between the many small operations of the network costs a third of its time. GNU's library takes this number
        # of turns, some microseconds, over the none that the policy alone means to it; other libraries do not know it.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def _keep_freed_memory() -> None:
    """Let glibc reuse large freed blocks instead of returning them to the system at once.

    The optimiser makes and frees arrays of the image's size all the time; faulting their pages in again each time
    costs about half of its run time. Elsewhere than on Linux with glibc nothing is changed.
    """
    import ctypes

    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, 2**30)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
