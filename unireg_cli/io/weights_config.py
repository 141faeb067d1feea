"""The JSON beside a weights file: what the weights are, read and checked without touching a tensor."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unireg_cli.errors import WeightsError

if TYPE_CHECKING:
    from unireg_cli.types import Mode

FORMAT = "unireg-weights"
FORMAT_VERSION = 1


def config_path(weights: Path) -> Path:
    """The JSON that belongs to NAME.safetensors: NAME.json in the same folder."""
    return weights.with_suffix(".json")


def read_config(weights: Path) -> dict[str, Any]:
    """The checked JSON of the weights at this path.

    Raises:
        WeightsError: the JSON is missing, damaged, foreign, or of a newer format.
    """
    path = config_path(weights)
    try:
        config = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{weights}: the {path.name} that belongs beside it is missing; copy both files") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: damaged, it is not a JSON text ({error}); copy it anew") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise WeightsError(f"{path}: not the description of unireg weights (its \"format\" is not {FORMAT}); name the weights' own file")
    check_version(config.get("format_version"), path)
    check_config(config, path)
    if not _is_sha256(config.get("sha256")):
        raise WeightsError(f'{path}: "sha256" must be 64 hexadecimal digits, found {_shown(config, "sha256")}; copy both files anew')
    return config


def check_version(version: object, path: Path) -> None:
    """Hold the version of the format against what this code reads.

    Raises:
        WeightsError: a newer one, or none.
    """
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise WeightsError(f"{path}: format_version must be a number from 1, found {version!r}; copy both files anew")
    if version > FORMAT_VERSION:
        raise WeightsError(f"{path}: made for a newer unireg (format {version}, this one reads up to {FORMAT_VERSION}); update unireg")


def check_config(config: Mapping[str, Any], path: Path) -> None:
    """Hold the keys that say what the weights are against what they must be.

    Raises:
        WeightsError: names all that are missing or of another kind.
    """
    wrong = [f'"{key}" must be {kind}, found {_shown(config, key)}' for key, (kind, fits) in _KEYS.items() if not fits(config.get(key))]
    if wrong:
        raise WeightsError(f"{path}: {'; '.join(wrong)}")


def weights_summary(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a result's JSON says of the weights, and of those that they are laid over: enough to know them again."""
    summary = {key: config[key] for key in ("name", "sha256", "step")}
    if is_adapter(config):
        summary |= {"base": dict(config["adapter"]["base"]), "anatomy": config["adapter"]["anatomy"]}
    return summary


def is_adapter(config: Mapping[str, Any]) -> bool:
    """Whether the file holds only what differs from other weights, which it names under ``adapter``."""
    return config.get("adapter") is not None


def _shown(config: Mapping[str, Any], key: str) -> str:
    if key not in config:
        return "nothing"
    text = repr(config[key])
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_name(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\w.+-]+", value) is not None


def _is_step(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_smoothness(value: object) -> bool:
    if isinstance(value, dict):
        return set(value) == {"inter", "intra"} and all(map(_is_share, value.values()))
    return _is_share(value)


def own_smoothness(config: Mapping[str, Any], mode: Mode) -> float:
    """The smoothness of weights where the user asks for none: one number, or one for each type of registration."""
    stated = config["smoothness"]
    return float(stated[mode.value] if isinstance(stated, dict) else stated)


def _is_network(value: object) -> bool:
    return isinstance(value, dict) and bool(value)


def _is_training(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != {"real", "synthetic"}:
        return False
    return all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in value.values())


def _is_adapter(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or set(value) != {"base", "anatomy", "rows"} or not _is_text(value["anatomy"]):
        return False
    base, rows = value["base"], value["rows"]
    named = isinstance(base, dict) and set(base) == {"name", "sha256"} and _is_name(base["name"]) and _is_sha256(base["sha256"])
    listed = isinstance(rows, dict) and all(isinstance(ids, list) and all(map(_is_step, ids)) for ids in rows.values())
    return named and listed


# Key -> what it must be, in words and as a test.
_KEYS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "name": ("a name of letters, digits and .+-_", _is_name),
    "network": ("an object of hyper-parameters", _is_network),
    "trained": ('an object {"real": [names], "synthetic": [names]}', _is_training),
    "smoothness": ('a number from 0 to 1, or an object {"inter": number, "intra": number}', _is_smoothness),
    "step": ("a whole number from 0", _is_step),
    "licence": ("a text", _is_text),
    "adapter": ('an object {"base": {"name", "sha256"}, "anatomy", "rows"} or left out', _is_adapter),
}
