"""The result's JSON: what was asked, decided, measured and written, and by what."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from unireg_cli.errors import InputError
from unireg_cli.io.atomic import atomic_path
from unireg_cli.registration.result import Registration, Stage
from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid

SCHEMA_VERSION = "1.0"
_PACKAGES = {"unireg": "unireg", "torch": "torch", "numpy": "numpy", "SimpleITK": "SimpleITK", "nibabel": "nibabel", "scipy": "scipy"}


@dataclass(frozen=True, slots=True)
class Clock:
    """When a run began, how long its steps took and how much memory it used: the only part of a record that varies."""

    started: datetime
    stages: tuple[Stage, ...]
    total_seconds: float
    peak_memory_mb: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run was given by its surroundings, as far as results can depend on it."""

    device: str
    threads: int
    threads_source: str


def versions() -> dict[str, str]:
    """Versions of this package, of Python, and of the packages that numbers depend on."""
    found = {name: _version(package) for name, package in _PACKAGES.items()}
    return {"python": platform.python_version(), **found}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def register_record(
    *,
    options: object,
    condition: Mapping[str, Any] | None,
    weights: Mapping[str, Any] | None,
    grids: Mapping[str, Grid],
    registration: Registration,
    surroundings: Surroundings,
    warnings: Sequence[str],
    outputs: Mapping[str, Path],
    apply: object,
    clock: Clock,
) -> dict[str, Any]:
    """The record of one registration, ready for JSON; without ``timing`` it is the same for the same run.

    ``condition`` is what the network was asked for, ``weights`` what it consists of; None where nothing was bent, or not by a network.
    """
    settings = getattr(options, "settings", None)
    return {
        "schema_version": SCHEMA_VERSION,
        "command": "register",
        "options": plain(options),
        "condition": plain(condition),
        "weights": plain(weights),
        "versions": versions(),
        "platform": {"system": platform.system(), "machine": platform.machine(), "implementation": platform.python_implementation()},
        "surroundings": plain(surroundings),
        "seed": getattr(settings, "seed", None),
        "grids": {name: plain(grid) for name, grid in grids.items()},
        "decisions": dict(registration.decisions),
        "affine": plain(registration.affine),
        "transform": [step.describe() for step in registration.forward.steps],
        "quality": plain(registration.quality),
        "steering": plain(registration.steering),
        "warnings": list(warnings),
        "outputs": plain(dict(outputs)),
        "apply": plain(apply),
        "timing": {
            "started": clock.started.astimezone(UTC).isoformat(timespec="seconds"),
            "stages": plain(clock.stages),
            "total_seconds": round(clock.total_seconds, 3),
            "peak_memory_mb": clock.peak_memory_mb,
        },
    }


def plain(value: Any) -> Any:
    """Dataclasses, enums, paths and arrays as what JSON knows; a number that JSON lacks (NaN, infinity) becomes null.

    Raises:
        TypeError: a value of a kind that a record must not hold.
    """
    if isinstance(value, DisplacementField | Chain):
        return value.describe()
    if isinstance(value, Affine):
        return value.matrix.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bool | str | int | None):
        return value
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    raise TypeError(f"a record cannot hold {type(value).__name__}")


def as_json(record: Any) -> str:
    """A record as text, one line a key, in the order it was built."""
    return json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record; atomic."""
    with atomic_path(path) as temporary:
        temporary.write_text(as_json(record), encoding="utf-8")


def read_record(path: Path) -> dict[str, Any]:
    """A record written by :func:`write_record`.

    Raises:
        InputError: missing, not JSON, or not a record.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable result record ({error})") from error
    if not isinstance(record, dict) or "schema_version" not in record:
        raise InputError(f"{path}: not a result record of unireg, it has no schema_version")
    return record
