"""Time and memory of each stage."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from unireg_cli.registration.result import Stage


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far in MB; 0 where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, KiB elsewhere.
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


class Stopwatch:
    """Collects one :class:`Stage` per ``with stopwatch.stage(name)`` block."""

    def __init__(self, earlier: tuple[Stage, ...] = ()) -> None:
        self._stages = list(earlier)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as the stage ``name``."""
        begin = time.perf_counter()
        yield
        self._stages.append(Stage(name, time.perf_counter() - begin, peak_memory_mb()))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The finished stages in order."""
        return tuple(self._stages)
