"""Single words of a command line as values: closed vocabularies, transform files, paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from unireg_cli.errors import UsageError
from unireg_cli.types import Interpolation

_Word = TypeVar("_Word", bound=StrEnum)
Words = Mapping[str, Any]

_ANTS_NAMES = {
    Interpolation.NEAREST: "NearestNeighbor",
    Interpolation.LINEAR: "Linear",
    Interpolation.BSPLINE: "BSpline",
    Interpolation.LABEL: "GenericLabel",
}
_FROM_ANTS = {name.lower(): ours for ours, name in _ANTS_NAMES.items()} | {"multilabel": Interpolation.LABEL}


@dataclass(frozen=True, slots=True)
class TransformSpec:
    """One transform file of a chain; ``invert`` asks for its inverse, as antsApplyTransforms' ``[file,1]`` does."""

    path: Path
    invert: bool = False

    @classmethod
    def parse(cls, text: str) -> TransformSpec:
        """From ``file`` or ``[file,0]`` or ``[file,1]``."""
        bracketed = re.fullmatch(r"\[(.+),\s*([01])\s*\]", text)
        return cls(Path(bracketed[1]), bracketed[2] == "1") if bracketed else cls(Path(text))


def interpolation(text: str) -> Interpolation:
    """Ours or antsApplyTransforms' name, in any case.

    Raises:
        UsageError: another name; lists ours.
    """
    return _FROM_ANTS.get(text.lower()) or choice(Interpolation, text, "--interpolation")


def ants_name(kind: Interpolation) -> str:
    """What antsApplyTransforms calls it."""
    return _ANTS_NAMES[kind]


def choice(kind: type[_Word], text: str, flag: str) -> _Word:
    """The member of a closed vocabulary, in any case.

    Raises:
        UsageError: another word; lists the vocabulary.
    """
    try:
        return kind(str(text).lower())
    except ValueError:
        raise UsageError(f"{flag} must be one of {', '.join(kind)}, found {text!r}") from None


def as_path(value: str | Path | None) -> Path | None:
    """A flag that may be absent, as a path."""
    return None if value is None else Path(value)
