"""The two tables of an evaluation: a row a pair, and a row a pair and structure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Row = dict[str, Any]

PAIR_COLUMNS = (
    *("fixed", "moving", "persons", "status", "error", "exit_code", "dice", "dice_before", "dice_all", "hd95", "assd", "tre", "tre_before"),
    *("folding", "sdlogj", "folding_inside", "sdlogj_inside", "structures", "lost", "unscored", "landmarks", "seconds", "stages"),
    *("peak_memory_mb", "run"),
)
STRUCTURE_COLUMNS = ("fixed", "moving", "persons", "label", "name", "dice", "dice_before", "hd95", "assd", "lost")
METRICS = {
    "dice": "Dice",
    "hd95": "95 % Hausdorff distance (mm)",
    "assd": "average surface distance (mm)",
    "tre": "target registration error (mm)",
    "folding": "folding, whole grid (%)",
    "sdlogj": "SDlogJ, whole grid",
    "folding_inside": "folding in the foreground (%)",
    "sdlogj_inside": "SDlogJ in the foreground",
    "seconds": "seconds",
}
"""Columns of pairs that are averaged, and what they are called."""
HIGHER_IS_BETTER = ("dice",)

def key(row: Mapping[str, Any]) -> tuple[str, str]:
    """What tells pairs apart."""
    return row["fixed"], row["moving"]


def finite(value: Any) -> bool:
    """Whether a cell holds a number that can be averaged."""
    return value is not None and math.isfinite(float(value))
