"""What the numbers of a result's JSON say, in words and as traffic lights; every limit is written down here and on the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

# Suspicion from which a number is yellow, and red.
_FAIR, _BAD = 0.5, 1.0
_MOST = 3.0
# Each a pair: a number without suspicion, and one that is red. In between suspicion grows evenly.
_SHARE_GAINED = (0.30, 0.0)
_FOLDING_PERCENT = (0.0, 0.1)
_SDLOGJ = {"inter": (0.5, 1.0), "intra": (0.3, 0.6)}
# Share of the missing similarity that bending gained, per SDlogJ; what hardly bends need not gain.
_GAIN_PER_SDLOGJ, _LEAST_SDLOGJ = (0.3, 0.0), 0.05
_REACH_SHARE = (0.10, 0.30)
_INVERSE_VOXELS = (0.5, 1.5)
_ROTATION_DEGREES = (30.0, 90.0)
_LOG_VOLUME = (math.log(1.5), math.log(3.0))
_PER_WARNING = 0.5
# Similarity hardly depends on the voxels drawn: less than this is no loss.
_NO_LOSS = 0.005


class Light(StrEnum):
    """What to make of a number."""

    GOOD = "good"
    FAIR = "fair"
    BAD = "bad"
    NONE = "none"
    """Told, not judged."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One number of a result: ``text`` to read, ``value`` as the JSON holds it, ``suspicion`` 0 (fine), 1 (red), 3 at most."""

    key: str
    name: str
    text: str
    value: float | None
    suspicion: float
    meaning: str
    judged: bool = True

    @property
    def light(self) -> Light:
        """The colour of the suspicion."""
        if not self.judged:
            return Light.NONE
        return Light.GOOD if self.suspicion < _FAIR else Light.FAIR if self.suspicion < _BAD else Light.BAD


def suspicion_between(value: float, limits: tuple[float, float]) -> float:
    """0 at the first limit and on its far side, 1 at the second, growing evenly to 3 beyond."""
    fine, bad = limits
    return min(_MOST, max(0.0, (value - fine) / (bad - fine)))


def total_suspicion(findings: tuple[Finding, ...]) -> float:
    """The sum over all numbers that are judged."""
    return sum(finding.suspicion for finding in findings if finding.judged)


def judge(record: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Findings of one result, from its JSON.

    Raises:
        KeyError, TypeError, ValueError: not the JSON of a registration; :func:`unireg_cli.report.gather.read_run` catches them.
    """
    quality = record["quality"]
    findings = [_similarity(quality)]
    if quality["regularity"] is not None:
        mode = (record.get("condition") or {}).get("mode", "inter")
        findings += [_folding(quality["regularity"]), _spread(quality, mode), _worth(quality), _extremes(quality["regularity"])]
    if quality["displacement_percentiles_mm"] is not None:
        findings.append(_reach(quality["displacement_percentiles_mm"], record["grids"]["fixed"]))
    if quality["inverse_consistency"] is not None:
        findings.append(_inverse(quality["inverse_consistency"]))
    return (*findings, _affine(record["affine"]), _warnings(record["warnings"]))


def gained_share(quality: Mapping[str, Any]) -> float:
    """Which part of the similarity that was missing was gained; NaN where a similarity is not a number."""
    before, after = quality["similarity_before"], quality["similarity_after"]
    if before is None or after is None:
        return math.nan
    return float((after - before) / max(1.0 - before, 0.05))


def _finding(key: str, name: str, text: str, value: float | None, limits: tuple[float, float], meaning: str) -> Finding:
    """A judged number; one that is not a number (null in the JSON) is as bad as can be."""
    if value is None or math.isnan(value):
        return Finding(key, name, "not a number", None, _MOST, meaning)
    return Finding(key, name, text, value, suspicion_between(value, limits), meaning)


def _number(value: float | None, form: str = ".3f") -> str:
    return "not a number" if value is None else format(value, form)


def _similarity(quality: Mapping[str, Any]) -> Finding:
    steps = [quality[key] for key in ("similarity_before", "similarity_affine", "similarity_after")]
    text = " → ".join(_number(step) for step in steps)
    share = gained_share(quality)
    meaning = (
        f"{quality['similarity_name']}: how alike the images are where both show something, 1 at best; as given, after the affine step, "
        "at the end."
    )
    found = _finding("similarity", "similarity", text, share, _SHARE_GAINED, meaning)
    if found.value is None:
        return found
    said = f" {100 * share:.0f} % of what was missing was gained; below 15 % is yellow, a loss is red."
    suspicion = found.suspicion
    if steps[1] is not None and steps[2] < steps[1] - _NO_LOSS:
        suspicion = max(suspicion, _BAD)
        said += " The affine step alone was better: red."
    return Finding(found.key, found.name, text, steps[2], suspicion, meaning + said)


def _folding(regularity: Mapping[str, Any]) -> Finding:
    value = regularity["folding_percent"]
    meaning = "Share of the field in which tissue is turned inside out (Jacobian determinant of 0 or less). Should be 0; from 0.1 % red."
    return _finding("folding", "folding", f"{_number(value, '.3g')} %", value, _FOLDING_PERCENT, meaning)


def _spread(quality: Mapping[str, Any], mode: str) -> Finding:
    value, limits = _sdlogj(quality), _SDLOGJ[mode]
    who = "one person twice" if mode == "intra" else "two people"
    meaning = (
        "Spread of the log-Jacobian inside the body: how unevenly tissue grows and shrinks. "
        f"For {who} up to {limits[0]:g} is usual, from {sum(limits) / 2:g} yellow, from {limits[1]:g} red."
    )
    return _finding("sdlogj", "SDlogJ", _number(value), value, limits, meaning)


def _worth(quality: Mapping[str, Any]) -> Finding:
    affine, after, spread = quality["similarity_affine"], quality["similarity_after"], _sdlogj(quality)
    meaning = "What bending gained of the similarity that the affine step left missing, against how unevenly it bends (SDlogJ): "
    meaning += "much for little is yellow, for nothing red."
    if affine is None or after is None or spread is None:
        return Finding("worth", "bending", "not a number", None, _MOST, meaning)
    # A loss is red already, as similarity.
    share = max(0.0, after - affine) / max(1.0 - affine, 0.05)
    ratio = share / max(spread, _LEAST_SDLOGJ)
    text = f"{100 * share:.0f} % gained"
    suspicion = suspicion_between(ratio, _GAIN_PER_SDLOGJ) if spread > _LEAST_SDLOGJ else 0.0
    return Finding("worth", "bending", text, share, suspicion, meaning)


def _sdlogj(quality: Mapping[str, Any]) -> float | None:
    value: float | None = (quality["regularity_foreground"] or quality["regularity"])["sdlogj"]
    return value


def _extremes(regularity: Mapping[str, Any]) -> Finding:
    low, high = regularity["minimum"], regularity["maximum"]
    text = f"{_number(low, '.3g')} to {_number(high, '.3g')}"
    meaning = "Smallest and largest local change of volume, fixed to moving, without the affine part; 1 is none, 0 or less a fold."
    return Finding("jacobian", "volume change", text, low, 0.0, meaning, judged=False)


def _reach(percentiles: Mapping[str, Any], grid: Mapping[str, Any]) -> Finding:
    value = percentiles["p99"]
    extent = float(np.prod(np.asarray(grid["size"], float) * np.asarray(grid["spacing"], float)) ** (1 / 3))
    text = ", ".join(_number(percentiles[key], ".1f") for key in ("p50", "p95", "p99", "max")) + " mm"
    meaning = (
        "How far the displacement field, without the affine part, moves the body: median, 95th and 99th percentile, most. "
        f"The 99th percentile is judged against the field of view ({extent:.0f} mm): from 20 % yellow, from 30 % red."
    )
    found = _finding("displacement", "displacement", text, None if value is None else value / extent, _REACH_SHARE, meaning)
    return Finding(found.key, found.name, found.text, value, found.suspicion, meaning)


def _inverse(error: Mapping[str, Any]) -> Finding:
    value = error["p99_voxels"]
    text = f"{_number(error['mean_mm'])} mm"
    meaning = (
        f"Where a point lands after going there and back: mean; 99th percentile {_number(error['p99_mm'])} mm or {_number(value, '.2f')} "
        "voxels of the field. From 1 voxel yellow, from 1.5 red."
    )
    found = _finding("inverse", "inverse error", text, value, _INVERSE_VOXELS, meaning)
    return Finding(found.key, found.name, found.text, error["mean_mm"], found.suspicion, meaning)


def _affine(matrix: Any) -> Finding:
    linear = np.asarray(matrix, float)[:3, :3]
    if not np.isfinite(linear).all():
        return Finding("affine", "affine part", "not a number", None, _MOST, "")
    volume = float(np.linalg.det(linear))
    left, _, right = np.linalg.svd(linear)
    turn = left @ right
    degrees = math.degrees(math.acos(min(1.0, max(-1.0, (np.trace(turn) - 1) / 2))))
    meaning = "Change of volume and rotation of the affine part. Below 1/1.5 or above 1.5, or beyond 30 degrees, rare; mirrored is red."
    if volume <= 0:
        return Finding("affine", "affine part", f"mirrored (determinant {volume:.3g})", volume, _MOST, meaning)
    suspicion = max(suspicion_between(abs(math.log(volume)), _LOG_VOLUME), suspicion_between(degrees, _ROTATION_DEGREES))
    return Finding("affine", "affine part", f"volume × {volume:.2f}, {degrees:.0f}°", volume, suspicion, meaning)


def _warnings(warnings: Any) -> Finding:
    count = len(warnings)
    meaning = "What the run itself said; each adds half a light."
    return Finding("warnings", "warnings", str(count), float(count), min(_MOST, _PER_WARNING * count), meaning)
