"""Many pairs in one process: a table in, a row of news for each, and an honest exit code at the end."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unireg_cli.commands.failure import Failure, describe_failure
from unireg_cli.commands.outputs import check_plan, is_taken, plan_outputs
from unireg_cli.commands.pair_files import check_folding, register_files
from unireg_cli.commands.resources import Threads
from unireg_cli.commands.session import Progress
from unireg_cli.errors import InputError, UniregError, UsageError
from unireg_cli.io.provenance import SCHEMA_VERSION, plain, read_record
from unireg_cli.loading import FoundWeights, Model, choose_weights, complete, weights_of
from unireg_cli.options import RegisterOptions

logger = logging.getLogger("unireg")


def _truth(text: str) -> bool:
    try:
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither yes nor no") from None


# Columns that a table may have, named like the flags, and how a cell becomes what the flag would give.
_COLUMNS: dict[str, Callable[[str], Any]] = {
    "fixed": str,
    "moving": str,
    "output": str,
    "dicom_out": str,
    "fixed_mask": str,
    "moving_mask": str,
    "fixed_seg": str,
    "moving_seg": str,
    "seg_labels": lambda text: [text],
    "fixed_points": str,
    "moving_points": str,
    "space": str,
    "init": lambda text: [text],
    "transform": str,
    "modality": str,
    "fixed_modality": str,
    "moving_modality": str,
    "anatomy": lambda text: [text],
    "mode": str,
    "similarity": str,
    "smoothness": float,
    "iterations": int,
    "fast": _truth,
    "best": _truth,
    "field_spacing": str,
    "interpolation": str,
    "default_value": float,
    "seed": int,
    "fail_on_folding": float,
}


# Options that do not change the result of a finished pair, or that the settings and the weights' SHA-256 tell better.
# A picture, a report and a DICOM series are outputs: a pair that lacks one is not finished.
_NO_MATTER = ("threads", "max_memory_gb", "smoothness", "weights", "picture", "report", "dicom_out")


@dataclass(frozen=True, slots=True)
class Row:
    """One pair of the table; ``problem`` says why its options make no sense."""

    number: int
    """Line of the file, the header being line 1."""
    fixed: str
    moving: str
    options: RegisterOptions | None
    problem: Failure | None = None


class BatchError(UniregError):
    """Some pairs failed; the exit code is theirs if they agree."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def read_pairs(path: Path, words: Mapping[str, Any]) -> list[Row]:
    """The table's rows, each a registration; flags given beside --pairs hold for every row whose own cell is empty.

    Paths are relative to the current folder, as on the command line. A row with a bad value is kept as a problem.

    Raises:
        InputError: no such file, not a table, no rows.
        UsageError: a column that is missing or unknown.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file of pairs; check the path")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = [(number, cells) for number, cells in enumerate(csv.reader(stream), 1) if any(cell.strip() for cell in cells)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV text file ({error})") from error
    names = [cell.strip().lower().replace("-", "_") for cell in lines[0][1]] if lines else []
    unknown = [name for name in names if name not in _COLUMNS]
    if unknown or not {"fixed", "moving"} <= set(names) or len(set(names)) < len(names):
        known = ", ".join(_COLUMNS)
        raise UsageError(f"{path}: the first line must name columns of {known}, fixed and moving among them; found {','.join(names)}")
    if len(lines) < 2:
        raise InputError(f"{path}: a header line without any pairs")
    return [_row(number, names, cells, words) for number, cells in lines[1:]]


def _row(number: int, names: list[str], cells: list[str], words: Mapping[str, Any]) -> Row:
    texts = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}
    fixed, moving = texts.get("fixed", ""), texts.get("moving", "")
    try:
        if len(cells) != len(names):
            raise UsageError(f"{len(cells)} columns, the header has {len(names)}")
        own = {}
        for name, text in texts.items():
            try:
                own[name] = _COLUMNS[name](text)
            except ValueError:
                raise UsageError(f"column {name}: {text!r} is not a value of --{name.replace('_', '-')}") from None
        return Row(number, fixed, moving, RegisterOptions.from_words({**words, **own}))
    except UniregError as error:
        return Row(number, fixed, moving, None, describe_failure(error))


def check_rows(rows: list[Row], *, overwrite: bool, resume: bool) -> None:
    """Find clashes before any work: outputs that exist, or that two rows would write.

    Raises:
        UsageError: names the first clash.
    """
    owners: dict[Path, int] = {}
    for row in rows:
        if row.options is None:
            continue
        plan = plan_outputs(row.options)
        for path in plan.values():
            other = owners.setdefault(path.resolve(), row.number)
            if other != row.number:
                raise UsageError(f"lines {other} and {row.number} would both write {path}; give each its own name in the column output")
        existing = [path for path in plan.values() if is_taken(path)]
        if existing and not overwrite and not resume:
            raise UsageError(f"line {row.number}: {existing[0]} exists; skip finished pairs with --resume or allow it with --overwrite")


def choose_model(rows: list[Row]) -> tuple[FoundWeights | None, list[Row]]:
    """The weights that all rows share, and the rows with what those weights decide."""
    found = choose_weights(row.options for row in rows if row.options is not None)
    return found, [row if row.options is None else replace(row, options=complete(row.options, found)) for row in rows]


def run_rows(
    rows: list[Row], threads: Threads, progress: Progress, model: Model | None = None, *, overwrite: bool, resume: bool
) -> dict[str, Any]:
    """Register every row and return the summary; a row that fails is reported and the rest go on."""
    news = []
    for count, row in enumerate(rows, 1):
        begin = time.perf_counter()
        entry: dict[str, Any] = {"line": row.number, "fixed": row.fixed, "moving": row.moving}
        entry |= {"status": "done", "exit_code": 0, "error": None}
        try:
            entry |= _run_row(row, threads, progress, model, overwrite=overwrite, resume=resume)
            if "result" in entry:
                check_folding(entry["result"])
        except Exception as error:
            failure = describe_failure(error)
            entry |= {"status": "failed", "exit_code": failure.exit_code, "error": failure.line}
            logger.error("line %d: %s", row.number, failure.line)
            if failure.unforeseen:
                logger.debug("traceback", exc_info=error)
        entry["seconds"] = round(time.perf_counter() - begin, 3)
        logger.info("pair %d of %d (line %d): %s, %.1f s", count, len(rows), row.number, entry["status"], entry["seconds"])
        news.append(entry)
    counts = {status: sum(entry["status"] == status for entry in news) for status in ("done", "skipped", "failed")}
    logger.info("%d pairs: %d done, %d skipped, %d failed", len(rows), counts["done"], counts["skipped"], counts["failed"])
    return {"schema_version": SCHEMA_VERSION, "command": "register --pairs", **counts, "pairs": news}


def _run_row(row: Row, threads: Threads, progress: Progress, model: Model | None, *, overwrite: bool, resume: bool) -> dict[str, Any]:
    if row.options is None:
        failure = row.problem or Failure(1, "no options")
        raise BatchError(failure.line, failure.exit_code)
    plan = plan_outputs(row.options)
    words = {"output": row.options.output.as_posix()}
    weights = weights_of(row.options, None if model is None else model.weights.config)
    if resume and is_finished(row.options, plan, weights, overwrite=overwrite):
        # The limit on folding holds for what is skipped, too.
        return {**words, "status": "skipped", "result": read_record(plan["record"])}
    # What an interrupted run has left of a pair is taken up by --resume.
    check_plan(row.options, plan.values(), overwrite=overwrite or resume)
    return {**words, "result": register_files(row.options, plan, threads, progress, model)}


def is_finished(options: RegisterOptions, plan: Mapping[str, Path], weights: Mapping[str, Any] | None, *, overwrite: bool) -> bool:
    """True if every output is there; the JSON is renamed last, so it stands for the whole set.

    Raises:
        UsageError: finished, but with other options or ``weights`` than now asked for, and not to be overwritten.
    """
    if not all(is_taken(path) for path in plan.values()):
        return False
    record = read_record(plan["record"])
    before, now = record.get("options"), plain(options)
    if isinstance(before, dict):
        other = [name for name in now if name not in _NO_MATTER and before.get(name) != now[name]]
        # A name or a file may be the same and the tensors others.
        if record.get("weights") != plain(weights):
            other.append("network")
        if not other or overwrite:
            return not other
        raise UsageError(f"{plan['record']}: finished with another {', '.join(other)}; choose another output, or delete the old one")
    return False


def check_summary(summary: Mapping[str, Any]) -> None:
    """Raise BatchError if any pair failed."""
    failed = [entry for entry in summary["pairs"] if entry["status"] == "failed"]
    if failed:
        codes = {entry["exit_code"] for entry in failed}
        lines = ", ".join(str(entry["line"]) for entry in failed[:10]) + (", ..." if len(failed) > 10 else "")
        raise BatchError(f"{len(failed)} of {len(summary['pairs'])} pairs failed (lines {lines})", codes.pop() if len(codes) == 1 else 1)
