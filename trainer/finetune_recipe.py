"""How weights were trained, as far as their JSON tells: what adapts them is to ask for the same."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from trainer.augmentation import Augmentation
from trainer.config import Losses, Passes, Segmenting
from unireg_cli.io.weights import WeightsFile

Part = TypeVar("Part", Augmentation, Losses, Passes, Segmenting)


def part_of(base: WeightsFile, name: str, kind: type[Part]) -> Part:
    """One part of the settings; what the JSON lacks, or has in another kind, is as in any training."""
    recipe = base.config.get("recipe", {})
    told = recipe.get(name, {}) if isinstance(recipe, dict) else {}
    found: dict[str, Any] = {}
    for entry in fields(kind):
        value = told.get(entry.name)
        if isinstance(entry.default, tuple) and isinstance(value, list):
            found[entry.name] = tuple(value)
        elif not isinstance(entry.default, tuple) and isinstance(value, int | float):
            found[entry.name] = value
    return kind(**found)
