"""Ending a run between two steps when the user or the system asks for it."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

logger = logging.getLogger("unireg")

# SIGUSR1 is what clusters send ahead of the time limit; not every system has it.
_ASKING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


@dataclass(slots=True)
class Stop:
    """``number`` is the signal that came, 0 before."""

    number: int = 0


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """The signals that ask for an end only set a flag inside; the second one does what it did before."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    # A signal that the caller has switched off (nohup, a background job) stays off.
    before = {number: signal.getsignal(number) for number in _ASKING}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.number = number
        logger.info("asked to stop: finishing this step, then a checkpoint (once more: at once)")
        for known, handler in before.items():
            signal.signal(known, handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
