"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unireg_cli.errors import InputError


def full_suffix(path: Path) -> str:
    """The part of the name that decides the format, lower case: ``.nii.gz`` is one suffix, dots before it are the name's."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """A temporary path beside ``final`` with its suffix, renamed to ``final`` on success and removed on any failure.

    Raises:
        InputError: the folder is missing or not writable, ``final`` is a folder, or the system refuses the write.
    """
    folder = final.parent
    if not folder.is_dir():
        raise InputError(f"cannot write {final}: the folder {folder} does not exist; make it first")
    if final.is_dir():
        raise InputError(f"cannot write {final}: there is a folder of that name")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {final}: no permission to write in the folder {folder}")
    suffix = final.name[len(final.name) - len(full_suffix(final)) :]
    temporary = folder / f".{final.name.removesuffix(suffix)}.{secrets.token_hex(6)}{suffix}"
    try:
        yield temporary
        temporary.replace(final)
    except OSError as error:
        raise InputError(f"cannot write {final}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
