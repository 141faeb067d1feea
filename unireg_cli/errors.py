"""Errors that a user can cause, each with the exit code the command line returns for it.

Library code raises; only ``unireg_cli.app`` turns an error into one line on stderr and a process exit code.
"""

from __future__ import annotations


class UniregError(Exception):
    """Base of all errors with a message meant for the user: what, which file, expected, found, what to do."""

    exit_code = 1


class UsageError(UniregError):
    """Options that contradict each other or an output that already exists."""

    exit_code = 2


class InputError(UniregError):
    """A file that is missing, unreadable, or not the kind of data asked for."""

    exit_code = 3


class GeometryError(InputError):
    """A header or a pair of grids that does not describe a usable 3-D space."""


class TransformFileError(InputError):
    """A transform file that is damaged, of an unknown kind, or not invertible."""


class WeightsError(UniregError):
    """Network weights that are missing, damaged, or do not fit the code."""

    exit_code = 4


class OutOfMemoryError(UniregError):
    """The run needs more memory than it was given or than the machine has."""

    exit_code = 5


class QualityGateError(UniregError):
    """The result fails a limit that the user set, such as ``--fail-on-folding``."""

    exit_code = 6
