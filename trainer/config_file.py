"""TOML files and the dataclasses of a run: one key for each field, no more and no less."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from trainer.config import RELATIVE, TrainConfig
from unireg_cli.errors import InputError, UniregError, UsageError
from unireg_cli.io.atomic import atomic_path
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.settings import NetworkSettings

# What no file states because it follows from the package.
_FOLLOWS: dict[type, dict[str, Callable[[], object]]] = {NetworkSettings: {"vocabulary": lambda: vocabulary().size}}
_KINDS: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_LONGEST_LINE = 120


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: the file and its key, for errors."""

    file: Path
    key: str = ""

    def inner(self, key: str) -> _Place:
        return _Place(self.file, f"{self.key}.{key}" if self.key else key)

    def error(self, text: str) -> UsageError:
        return UsageError(f"{self.file}: {self.key + ': ' if self.key else ''}{text}")


def read_config(path: Path) -> TrainConfig:
    """The run that a TOML file describes; its relative paths are made absolute.

    Raises:
        InputError: a file that is missing or not TOML.
        UsageError: a key that is unknown or missing, a value of another type or out of its range.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; name the TOML of a training run") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not a TOML file ({error})") from None
    config: TrainConfig = _dataclass(TrainConfig, table, _Place(path))
    return config


def as_toml(config: object) -> str:
    """All settings, the defaults too: what :func:`read_config` reads back is equal."""
    return "\n".join(_lines(config, "")) + "\n"


def write_config(config: TrainConfig, path: Path) -> None:
    """Write the TOML of a run; atomic."""
    with atomic_path(path) as temporary:
        temporary.write_text(as_toml(config), encoding="utf-8")


def changed_keys(old: str, new: str) -> list[str]:
    """``key: old -> new`` for all that differs between two TOML texts; lists are compared as a whole."""
    before, after = dict(_flat(tomllib.loads(old), "")), dict(_flat(tomllib.loads(new), ""))
    keys = [key for key in (before | after) if before.get(key) != after.get(key)]
    return [f"{key}: {_short(before.get(key))} -> {_short(after.get(key))}" for key in keys]


def _flat(table: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for number, entry in enumerate(value, 1):
                yield from _flat(entry, f"{prefix}{key}[{number}].")
        else:
            yield f"{prefix}{key}", value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _dataclass(kind: type, table: object, place: _Place) -> Any:
    """An object of a dataclass from a table of the file."""
    if not isinstance(table, dict):
        raise place.error(f"must be a table, found {table!r}")
    follows = _FOLLOWS.get(kind, {})
    entries = [entry for entry in fields(kind) if entry.init and entry.name not in follows]
    names = [entry.name for entry in entries]
    unknown = [key for key in table if key not in names]
    if unknown:
        near = difflib.get_close_matches(unknown[0], names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"the keys here are {', '.join(names)}"
        raise place.error(f"unknown key {unknown[0]!r}; {hint}")
    missing = [entry.name for entry in entries if entry.name not in table and _default(entry) is MISSING]
    if missing:
        raise place.error(f"the key {missing[0]!r} is missing")
    kinds = get_type_hints(kind, include_extras=True)
    # A path that is not given begins at the file's folder too.
    given = {entry.name: entry.default for entry in entries if _is_path(kinds[entry.name])} | table
    values = {name: _value(kinds[name], value, place.inner(name)) for name, value in given.items()}
    try:
        return kind(**values, **{name: value() for name, value in follows.items()})
    except UniregError as error:
        raise place.error(str(error)) from None


def _is_path(kind: Any) -> bool:
    return get_origin(kind) is Annotated and RELATIVE in get_args(kind)


def _default(entry: Any) -> object:
    return entry.default if entry.default_factory is MISSING else entry.default_factory


def _value(kind: Any, value: object, place: _Place) -> Any:
    """A value of the file as the type of its field."""
    if get_origin(kind) is Annotated:
        text = _value(get_args(kind)[0], value, place)
        # An empty path stays empty: there is no file.
        return os.path.normpath(place.file.absolute().parent / text) if _is_path(kind) and text else text
    if get_origin(kind) in (Union, UnionType):
        # TOML has no null: a key that is there has a value of the other type.
        (inner,) = (choice for choice in get_args(kind) if choice is not type(None))
        return _value(inner, value, place)
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind), value, place)
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, place)
    if isinstance(kind, type) and issubclass(kind, Enum):
        words = [str(member.value) for member in kind]
        if value not in words:
            raise place.error(f"must be {' or '.join(words)}, found {value!r}")
        return kind(value)
    fits = type(value) in (int, float) if kind is float else type(value) is kind
    if not fits:
        raise place.error(f"must be {_KINDS[kind]}, found {value!r}")
    return float(value) if kind is float and isinstance(value, int) else value


def _tuple(kinds: tuple[Any, ...], value: object, place: _Place) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise place.error(f"must be a list, found {value!r}")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(value) != len(kinds):
        raise place.error(f"must be a list of {len(kinds)}, found {value!r}")
    places = (_Place(place.file, f"{place.key}[{number}]") for number in range(1, len(value) + 1))
    return tuple(_value(*each) for each in zip(kinds, value, places, strict=True))


def _lines(settings: Any, prefix: str) -> Iterator[str]:
    """Plain keys first, for a table of TOML ends where the next one begins."""
    follows = _FOLLOWS.get(type(settings), {})
    entries = [(entry.name, getattr(settings, entry.name)) for entry in fields(settings) if entry.name not in follows]
    for name, value in entries:
        if value is not None and not is_dataclass(value) and not _are_tables(value):
            yield _line(name, value)
    for name, value in entries:
        if is_dataclass(value):
            yield from ("", f"[{prefix}{name}]")
            yield from _lines(value, f"{prefix}{name}.")
        elif _are_tables(value):
            for entry in value:
                yield from ("", f"[[{prefix}{name}]]")
                yield from _lines(entry, f"{prefix}{name}.")


def _are_tables(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and is_dataclass(value[0])


def _line(name: str, value: object) -> str:
    line = f"{name} = {_written(value)}"
    if isinstance(value, tuple) and len(line) > _LONGEST_LINE:
        return f"{name} = [\n" + "".join(f"  {_written(entry)},\n" for entry in value) + "]"
    return line


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return _written(value.value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        # JSON's texts are TOML's, but for one control character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    raise TypeError(f"a TOML file cannot hold {type(value).__name__}")
