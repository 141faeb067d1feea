"""Many runs read from their JSON files and put in order: the most suspicious first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from unireg_cli.errors import InputError
from unireg_cli.io.provenance import read_record
from unireg_cli.report.judgement import Finding, Light, gained_share, judge, suspicion_between, total_suspicion

# Fewer runs than this do not tell what is usual among them.
_LEAST_RUNS = 8
# How many robust standard deviations from the median of all runs are nothing, and how many are red.
_UNUSUAL = (3.0, 6.0)
# A cohort's values may lie closer together than matters: below these, a difference is none.
_COMPARED: dict[str, tuple[str, int, float]] = {
    "similarity": ("similarity", -1, 0.01),
    "gain": ("similarity gained", -1, 0.01),
    "sdlogj": ("SDlogJ", 1, 0.01),
    "reach_mm": ("displacement", 1, 0.5),
    "inverse_mm": ("inverse error", 1, 0.05),
}
"""Number -> its name, the sign of its bad side, and the least spread that counts."""


@dataclass(frozen=True, slots=True)
class Run:
    """One registration as its JSON tells it, or why that cannot be read (``problem``)."""

    record: Path
    pair: str
    numbers: Mapping[str, float | None] = field(default_factory=dict)
    """before, similarity (after), gain, folding, sdlogj, reach_mm, inverse_mm, warnings, seconds; None where there is none."""
    findings: tuple[Finding, ...] = ()
    unusual: float = 0.0
    """Suspicion from the comparison with the other runs."""
    reasons: tuple[str, ...] = ()
    report: Path | None = None
    problem: str | None = None

    @property
    def suspicion(self) -> float:
        """Of its own numbers and of how unusual they are; infinite for a run that cannot be read or has failed."""
        return float("inf") if self.problem is not None else total_suspicion(self.findings) + self.unusual

    @property
    def light(self) -> Light:
        """The worst light of all its numbers."""
        worst = max([self.unusual, *(finding.suspicion for finding in self.findings if finding.judged)])
        return Finding("", "", "", None, 3.0 if self.problem is not None else worst, "").light


@dataclass(frozen=True, slots=True)
class Cohort:
    """All runs of a folder, worst first; ``others`` counts JSON files that are of something else."""

    runs: tuple[Run, ...]
    others: int


def gather(folder: Path) -> Cohort:
    """Every run below a folder, hidden folders left out.

    Raises:
        InputError: no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the one that holds the results")
    found = [list(read_runs(path)) for path in _json_files(folder)]
    runs = [run for several in found for run in several]
    if not runs:
        raise InputError(f"{folder}: no result of unireg register in it (no PREFIX.json); name the folder that holds them")
    compared = compare(runs)
    compared.sort(key=lambda run: (-run.suspicion, run.record.as_posix(), run.pair))
    return Cohort(tuple(compared), sum(not several for several in found))


def _json_files(folder: Path) -> list[Path]:
    names = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names += [Path(place) / name for name in sorted(files) if name.endswith(".json") and not name.startswith(".")]
    return names


def read_runs(path: Path) -> Iterator[Run]:
    """The run of a JSON, the failed pairs of a ``--pairs --json`` summary, or none if the file is of something else."""
    try:
        record = read_record(path)
    except InputError as error:
        if "schema_version" in str(error):
            return
        yield Run(path, path.name, problem=_short(str(error).removeprefix(f"{path}: ")))
        return
    if record.get("command") == "register --pairs":
        for entry in record.get("pairs", ()):
            if entry.get("status") == "failed":
                yield Run(path, f"{_name(entry['moving'])} to {_name(entry['fixed'])}", problem=f"failed: {_short(str(entry['error']))}")
    elif record.get("command") == "register":
        yield read_run(path, record)


def read_run(path: Path, record: Mapping[str, Any]) -> Run:
    """One run from its record; a record that lacks what it should hold is a problem, not an error."""
    try:
        findings, numbers = judge(record), _numbers(record)
        pair = f"{_name(record['options']['moving'])} to {_name(record['options']['fixed'])}"
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        return Run(path, path.name, problem=f"broken: lacks what a result holds ({type(error).__name__}: {error})")
    # With --bids the record alone knows what its page is called.
    called = (path.name.removesuffix(".json") + "report.html", _name(record.get("outputs", {}).get("report") or ""))
    page = next((place for name in called if name and (place := path.with_name(name)).is_file()), None)
    reasons = tuple(f"{finding.name} {finding.text}" for finding in findings if finding.light in (Light.FAIR, Light.BAD))
    return Run(path, pair, numbers, findings, reasons=reasons, report=page)


def compare(runs: Sequence[Run]) -> list[Run]:
    """The runs with what is unusual among them: far on the bad side of the median, in robust standard deviations."""
    seen = {
        key: np.array([np.nan if (value := run.numbers.get(key)) is None else value for run in runs], np.float64) for key in _COMPARED
    }
    unusual, reasons = np.zeros(len(runs)), [list(run.reasons) for run in runs]
    for key, (name, bad_side, least) in _COMPARED.items():
        values = seen[key]
        known = values[np.isfinite(values)]
        if len(known) < _LEAST_RUNS:
            continue
        median = float(np.median(known))
        spread = max(1.4826 * float(np.median(np.abs(known - median))), least)
        for n, value in enumerate(values):
            suspicion = suspicion_between(bad_side * (value - median) / spread, _UNUSUAL) if np.isfinite(value) else 0.0
            if suspicion >= 0.5:
                reasons[n].append(f"{name} {value:.3g}, median of all {median:.3g}")
            unusual[n] = max(unusual[n], suspicion)
    return [replace(run, unusual=float(u), reasons=tuple(r)) for run, u, r in zip(runs, unusual, reasons, strict=True)]


def _numbers(record: Mapping[str, Any]) -> dict[str, float | None]:
    quality = record["quality"]
    regularity, inside = quality["regularity"], quality["regularity_foreground"] or quality["regularity"]
    reach, inverse = quality["displacement_percentiles_mm"], quality["inverse_consistency"]
    gain = gained_share(quality)
    return {
        "before": quality["similarity_before"],
        "similarity": quality["similarity_after"],
        "gain": None if np.isnan(gain) else gain,
        "folding": None if regularity is None else regularity["folding_percent"],
        "sdlogj": None if inside is None else inside["sdlogj"],
        "reach_mm": None if reach is None else reach["p99"],
        "inverse_mm": None if inverse is None else inverse["mean_mm"],
        "warnings": float(len(record["warnings"])),
        "seconds": record["timing"]["total_seconds"],
    }


def _name(path: str) -> str:
    return Path(path).name


def _short(text: str, most: int = 240) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
