"""The commands and their flags as plain facts, read from the functions that Typer reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, ParameterInfo

# What a value is called where the flag does not say.
_VALUES: dict[type, str] = {int: "N", float: "X", str: "TEXT", Path: "FILE"}
# Title of the flags that name none.
OTHERWISE = "Options"


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag or a word of a command; ``names`` are ``--fixed`` and ``-f``, or nothing for a word; ``value`` is empty for a switch."""

    names: tuple[str, ...]
    value: str
    help: str
    required: bool


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its summary, further paragraphs, words, and flags under the titles of its help."""

    name: str
    summary: str
    paragraphs: tuple[str, ...]
    words: tuple[Flag, ...]
    panels: dict[str, tuple[Flag, ...]]

    @property
    def usage(self) -> str:
        """The line after "Usage:", with the flags that must be there."""
        needed = [f"{flag.names[0]} {flag.value}" for flags in self.panels.values() for flag in flags if flag.required]
        words = [word.value if word.required else f"[{word.value}]" for word in self.words]
        return " ".join(["unireg", self.name, *needed, "[OPTIONS]", *words])


def commands() -> tuple[Command, ...]:
    """Every command of the app, in the order of its help."""
    from unireg_cli.app import app

    return tuple(_command(one.callback) for one in app.registered_commands if one.callback is not None and not one.hidden)


def _command(function: Callable[..., Any]) -> Command:
    """Raises ValueError for a function without a docstring: its help would be empty."""
    paragraphs = [" ".join(part.split()) for part in (inspect.getdoc(function) or "").split("\n\n")]
    if not paragraphs[0]:
        raise ValueError(f"{function.__name__}: no docstring to make its help from")
    hints = get_type_hints(function, include_extras=True)
    words: list[Flag] = []
    panels: dict[str, list[Flag]] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = get_args(hints[name])
        if info.hidden:
            continue
        flag = _flag(name, kind, info, parameter.default)
        if isinstance(info, ArgumentInfo):
            words.append(flag)
        else:
            title = info.rich_help_panel
            panels.setdefault(title if isinstance(title, str) else OTHERWISE, []).append(flag)
    # Flags that are in no panel come first in the help, wherever the function has them.
    ordered = sorted(panels.items(), key=lambda item: item[0] != OTHERWISE)
    summary, *further = map(_plain, paragraphs)
    return Command(function.__name__, summary, tuple(further), tuple(words), {title: tuple(flags) for title, flags in ordered})


def _flag(name: str, kind: Any, info: ParameterInfo, default: Any) -> Flag:
    needed = default is inspect.Parameter.empty
    value = info.metavar or ("" if _bare(kind) is bool else _value_of(kind))
    names = () if isinstance(info, ArgumentInfo) else _names(name, info)
    sentences = [_plain(info.help or ""), _range(info), _default(info, None if needed else default)]
    return Flag(names, value, " ".join(sentence for sentence in sentences if sentence), needed)


def _names(name: str, info: ParameterInfo) -> tuple[str, ...]:
    """In Annotated, Typer takes the first name for what is a default elsewhere."""
    first = (info.default,) if isinstance(info.default, str) else ()
    return (*first, *(info.param_decls or ())) or (f"--{name.replace('_', '-')}",)


def _bare(kind: Any) -> Any:
    """The type without ``| None`` and without its list."""
    inside = [part for part in get_args(kind) if part is not type(None)]
    if get_origin(kind) is Literal or not inside:
        return kind
    return _bare(inside[0])


def _value_of(kind: Any) -> str:
    bare = _bare(kind)
    return "|".join(get_args(bare)) if get_origin(bare) is Literal else _VALUES[bare]


def _range(info: ParameterInfo) -> str:
    if info.min is not None and info.max is not None:
        return f"From {info.min:g} to {info.max:g}."
    return f"At least {info.min:g}." if info.min is not None else ""


def _default(info: ParameterInfo, default: Any) -> str:
    """In words of the flag's own if it has some; the help of some flags says it already."""
    if isinstance(info.show_default, str):
        return f"Default: {info.show_default}."
    return "" if default is None or isinstance(default, bool) else f"Default: {default}."


def _plain(text: str) -> str:
    """Without the backslashes that keep brackets from being read as markup of the terminal."""
    return text.replace("\\[", "[")
