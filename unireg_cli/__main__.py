"""The process around the app: one line on stderr and an honest exit code for whatever goes wrong."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from unireg_cli.commands.failure import describe_failure
from unireg_cli.commands.session import logger, start_logging, stop_logging

# Imports make a million objects that stay: looked through less often for garbage, torch is there a quarter sooner.
_RARELY = (10_000, 50, 50)


class _Stopped(BaseException):
    """SIGINT or SIGTERM as an exception that nobody in between catches, so that temporary files are removed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``unireg`` with the given words (default: the process's own) and return the exit code."""
    start_logging()
    try:
        with _signals():
            code = _run(list(sys.argv[1:] if arguments is None else arguments))
            sys.stdout.flush()
            return code
    except (_Stopped, KeyboardInterrupt) as error:
        number = error.number if isinstance(error, _Stopped) else signal.SIGINT
        logger.error("%s; what was unfinished is removed", "terminated" if number == signal.SIGTERM else "interrupted")
        return 128 + number
    except BrokenPipeError:
        _silence_stdout()
        return 1
    except SystemExit as error:
        # Shell completion, and Typer where the reader of our stdout has left.
        return error.code if isinstance(error.code, int) else 1
    except Exception as error:
        return _report(error)
    finally:
        stop_logging()


def run_process() -> NoReturn:
    """``unireg`` as a process of its own: :func:`main`, and no time spent on garbage at its end, which the system takes back at once."""
    gc.set_threshold(*_RARELY)
    code = main()
    gc.freeze()
    sys.exit(code)


def _run(words: list[str]) -> int:
    from unireg_cli.app import app

    code = app(words, prog_name="unireg", standalone_mode=False)
    return code if isinstance(code, int) else 0


def _report(error: Exception) -> int:
    failure = describe_failure(error)
    if failure.line:
        logger.error(failure.line)
    if failure.unforeseen:
        logger.debug("traceback", exc_info=error)
    return failure.exit_code


def _silence_stdout() -> None:
    """Let what Python flushes at exit go nowhere, without a complaint."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        # Not a real file: nothing to flush.
        return


@contextmanager
def _signals() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into exceptions inside; signals belong to the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A signal that the caller has switched off (nohup, a background job) stays off.
    caught = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _stop) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise _Stopped(number)


if __name__ == "__main__":
    run_process()
