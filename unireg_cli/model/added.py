"""Names that weights bring along: anatomies of a user's own, beside those of the table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unireg_cli.errors import UsageError, WeightsError
from unireg_cli.model.anatomy import AnatomyRequest, Vocabulary, meaning_as_region, vocabulary
from unireg_cli.model.anatomy_table import Flip, Structure

_NAME = re.compile(r"[^\W\d_][\w-]*")
_KEYS = {"name": str, "region": str, "sought": bool}


@dataclass(frozen=True, slots=True)
class Added:
    """One name: ``sought`` if it is one structure that the network looks for in an image, else it stands for the image as a region does."""

    name: str
    region: str
    sought: bool


def added_of(config: Mapping[str, Any] | None, where: object = "weights") -> tuple[Added, ...]:
    """The names that weights with this JSON bring along; none for most.

    Raises:
        WeightsError: an entry that is not one.
    """
    entries = (config or {}).get("added", [])
    found = []
    for entry in entries if isinstance(entries, list) else [entries]:
        fits = isinstance(entry, dict) and set(entry) == set(_KEYS) and all(isinstance(entry[key], kind) for key, kind in _KEYS.items())
        if not fits or _NAME.fullmatch(entry["name"]) is None:
            raise WeightsError(f'{where}: "added" must be a list of names with region and sought, found {entry!r}; copy both files anew')
        found.append(Added(**entry))
    return tuple(found)


def extended(known: Vocabulary, added: Sequence[Added], where: object = "weights") -> Vocabulary:
    """A vocabulary with these names behind its last id.

    Raises:
        WeightsError: a name that the vocabulary has already, or a region that it has not.
    """
    for one in added:
        if known.has(one.name):
            raise WeightsError(f"{where}: its own anatomy {one.name!r} is a name of this unireg's table by now; adapt the weights anew")
        rows = (*known.table.structures, Structure(known.size, one.name, (one.region,), (), Flip.NONE, ()))
        try:
            known = Vocabulary.from_table(replace(known.table, structures=rows))
        except ValueError as error:
            raise WeightsError(f"{where}: {error}; adapt the weights anew") from None
    # A later name builds the whole index anew, so this comes last.
    for one in added:
        if not one.sought:
            known = meaning_as_region(known, one.name)
    return known


def vocabulary_of(config: Mapping[str, Any] | None, where: object = "weights") -> Vocabulary:
    """All names that can be asked for where weights with this JSON are used.

    Raises:
        WeightsError: names of the weights' own that make no sense.
    """
    return extended(vocabulary(), added_of(config, where), where)


def require_new_name(name: str, known: Vocabulary) -> None:
    """Hold a name that is to be added against what a name may be.

    Raises:
        UsageError: it may not.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"--anatomy {name!r}: a new name begins with a letter and goes on with letters, digits, _ and -")
    if known.has(name):
        raise UsageError(f"--anatomy {name}: this name is taken")


def is_asked(anatomy: str, request: AnatomyRequest) -> bool:
    """Whether what was adapted for one word (as the vocabulary spells it) is asked for: by this very word, alone or among others."""
    return anatomy in request.words
