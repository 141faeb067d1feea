"""What went wrong, in one line and one exit code; the same for a whole run and for one row of many."""

from __future__ import annotations

import re
from dataclasses import dataclass

from unireg_cli.errors import OutOfMemoryError, UniregError

_MEMORY_WORDS = re.compile(r"can't allocate memory|out of memory|bad[ _]alloc|failed to allocate", re.IGNORECASE)
_MEMORY_ADVICE = "not enough memory: crop or downsample the images, close other programs, or try --device cpu or --transform affine"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as the user sees it; ``unforeseen`` means that a traceback helps."""

    exit_code: int
    line: str
    unforeseen: bool = False


def describe_failure(error: BaseException) -> Failure:
    """The exit code and the one line of any error."""
    if isinstance(error, UniregError):
        return Failure(error.exit_code, _one_line(str(error)))
    if _is_memory_error(error):
        return Failure(OutOfMemoryError.exit_code, _MEMORY_ADVICE, unforeseen=True)
    if isinstance(error, OSError) and error.strerror:
        return Failure(1, _one_line(f"{error.filename or 'a file'}: {error.strerror}"), unforeseen=True)
    if hasattr(error, "format_message"):
        # Typer's complaint about the words of the command line; it has no text where the help was shown instead.
        text = _one_line(error.format_message())
        return Failure(int(getattr(error, "exit_code", 2)), text and f"{text} (see unireg --help)")
    words = _one_line(f"{type(error).__name__}: {error}")
    return Failure(1, f"{words} (unforeseen; -v shows the traceback)", unforeseen=True)


def _is_memory_error(error: BaseException) -> bool:
    """True for Python's, torch's and ITK's ways of saying that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and _MEMORY_WORDS.search(str(error)) is not None


def _one_line(text: str) -> str:
    return " ".join(text.split())
