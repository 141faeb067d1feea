"""When two spellings of an anatomical name are the same name."""

from __future__ import annotations

import re

Key = tuple[str, str]
"""Letters and digits of a name without its side, and the side: ``left``, ``right`` or empty."""

_SIDES = {"left": "left", "l": "left", "lh": "left", "right": "right", "r": "right", "rh": "right"}


def key_of(name: str) -> Key:
    """What is left of a name without case, separators and the place of its side.

    ``Left-Inf-Lat-Vent``, ``inf_lat_vent_left`` and ``LEFT InfLatVent`` are one. A name that has two sides keeps both.
    """
    tokens = re.findall(r"[^\W_]+", name.casefold())
    sides = [token for token in tokens if token in _SIDES]
    if len(sides) != 1 or len(tokens) == 1:
        return "".join(tokens), ""
    return "".join(token for token in tokens if token not in _SIDES), _SIDES[sides[0]]


def without_side(name: str) -> str:
    """A name of the table without ``left`` or ``right``."""
    return "_".join(token for token in name.split("_") if token not in ("left", "right"))


def other_side(name: str) -> str:
    """A name of the table with ``left`` and ``right`` exchanged."""
    swapped = {"left": "right", "right": "left"}
    return "_".join(swapped.get(token, token) for token in name.split("_"))
