"""What a command says and where: log on stderr and in a file, progress on a terminal only."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from unireg_cli.errors import UsageError

logger = logging.getLogger("unireg")

Progress = Callable[[str, int, int], None]


class _Stderr(logging.Handler):
    """Writes to whatever ``sys.stderr`` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        print(self.format(record), file=sys.stderr, flush=True)


class _Collector(logging.Handler):
    """Keeps the text of warnings for the result's JSON."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning once; errors are reported elsewhere."""
        text = record.getMessage()
        if record.levelno == logging.WARNING and text not in self.texts:
            self.texts.append(text)


class _Words(logging.Formatter):
    """``unireg: error: ...`` and ``unireg: warning: ...``; plain text below."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The first line of a record."""
        if record.levelno < logging.WARNING:
            return record.getMessage()
        return f"unireg: {record.levelname.lower()}: {record.getMessage()}"


def start_logging(*, quiet: bool = False, verbose: bool = False, log: Path | None = None) -> None:
    """Send the log to stderr (errors only with ``quiet``, everything with ``verbose``) and everything to a file.

    Raises:
        UsageError: ``quiet`` and ``verbose`` together, or a log file that cannot be opened.
    """
    if quiet and verbose:
        raise UsageError("--quiet and --verbose contradict each other; give one")
    stop_logging()
    screen = _Stderr(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    screen.setFormatter(_Words())
    logger.addHandler(screen)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    if log is not None:
        try:
            file = logging.FileHandler(log, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--log {log}: cannot be written ({error.strerror}); name a file in a folder that exists") from error
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(file)
    # Warnings of other packages are for programmers: seen in the log file and under -v.
    logging.captureWarnings(True)
    for handler in logger.handlers:
        if verbose or isinstance(handler, logging.FileHandler):
            logging.getLogger("py.warnings").addHandler(handler)


def stop_logging() -> None:
    """Close the log file and forget the handlers of :func:`start_logging`."""
    logging.captureWarnings(False)
    for name in ("py.warnings", "unireg"):
        owner = logging.getLogger(name)
        for handler in list(owner.handlers):
            if isinstance(handler, _Stderr | logging.FileHandler):
                owner.removeHandler(handler)
                handler.close()
    logger.propagate = True


@contextmanager
def collected_warnings(texts: list[str] | None = None) -> Iterator[list[str]]:
    """The texts of the warnings logged inside, each once, in order; ``texts`` goes on with an earlier list."""
    texts = [] if texts is None else texts
    collector = _Collector(texts)
    logger.addHandler(collector)
    try:
        yield texts
    finally:
        logger.removeHandler(collector)


@contextmanager
def progress_bar(*, quiet: bool = False, left: bool = False) -> Iterator[Progress]:
    """A progress callback (stage, done, total): a bar where stderr is a terminal, silence in a log; ``left``: with the time left."""
    if quiet or not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
    if left:
        columns += [TextColumn("left"), TimeRemainingColumn()]
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield advance


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""
