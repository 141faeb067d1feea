"""All pairs of an evaluation: which are done already, which process does the others, and the tables that grow meanwhile."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unireg_cli.commands.evaluate_pair import PairResult, Task, evaluate_pair
from unireg_cli.commands.resources import Threads, apply_threads
from unireg_cli.commands.session import Progress, start_logging
from unireg_cli.errors import UsageError
from unireg_cli.evaluation.tables import PAIR_COLUMNS, STRUCTURE_COLUMNS, key
from unireg_cli.io.learn2reg import PairList
from unireg_cli.io.points import PointSpace
from unireg_cli.io.provenance import as_json, plain, versions
from unireg_cli.io.tables import read_table, write_table
from unireg_cli.loading import FoundWeights, Model, complete, load_network, weights_of
from unireg_cli.options import RegisterOptions

logger = logging.getLogger("unireg")

# Options that do not change a pair's scores.
_NO_MATTER = ("fixed", "moving", "output", "threads", "max_memory_gb", "weights", "smoothness", "picture", "report")
_model: Model | None = None


def make_tasks(
    listed: PairList, words: Mapping[str, Any], found: FoundWeights | None, transforms: Path | None, space: PointSpace, *, picture: bool
) -> list[Task]:
    """A task for every pair of the list, under the flags ``words`` of ``unireg register``."""
    tasks = []
    for pair in listed.pairs:
        own = {**words, "fixed": pair.fixed.image, "moving": pair.moving.image, "output": "unused_"}
        options = complete(RegisterOptions.from_words(own), found)
        run = _hash(options, found, transforms, space)
        tasks.append(Task(pair, options, listed.labels, run, transforms, space, picture))
    return tasks


def _hash(options: RegisterOptions, found: FoundWeights | None, transforms: Path | None, space: PointSpace) -> str:
    told = {name: value for name, value in plain(options).items() if name not in _NO_MATTER}
    weights = weights_of(options, None if found is None else found.config)
    folder = None if transforms is None else transforms.resolve()
    content = {"options": told, "weights": weights, "transforms": folder, "space": space, "unireg": versions()["unireg"]}
    return hashlib.sha256(as_json(plain(content)).encode()).hexdigest()[:12]


def finished_rows(paths: Mapping[str, Path], tasks: Sequence[Task]) -> list[PairResult]:
    """Rows of an earlier run that need not be done again; failed ones are tried once more.

    Raises:
        UsageError: the tables are of a run with other options.
    """
    if not paths["pairs"].is_file() or not paths["structures"].is_file():
        return []
    rows = read_table(paths["pairs"], PAIR_COLUMNS)
    parts: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for part in read_table(paths["structures"], STRUCTURE_COLUMNS):
        parts.setdefault(key(part), []).append(part | {"label": int(part["label"]), "lost": int(part["lost"])})
    wanted = {task.pair.names: task.run for task in tasks}
    done = [row for row in rows if row["status"] == "done" and key(row) in wanted]
    if any(row["run"] != wanted[key(row)] for row in done):
        raise UsageError(f"{paths['pairs']}: finished with other options; choose another --output, or allow --overwrite without --resume")
    return [PairResult(row, parts.get(key(row), [])) for row in done]


def run_tasks(
    tasks: Sequence[Task],
    earlier: Sequence[PairResult],
    paths: Mapping[str, Path],
    threads: Threads,
    progress: Progress,
    found: FoundWeights | None,
    jobs: int,
) -> list[PairResult]:
    """Every pair's result in the order of the tasks; the tables are written anew after each pair."""
    results = {key(result.row): result for result in earlier}
    if earlier:
        logger.info("%d of %d pairs are finished already", len(earlier), len(tasks))
    left = [task for task in tasks if task.pair.names not in results]
    order = [task.pair.names for task in tasks]
    for result in _each(left, threads, found, jobs):
        results[key(result.row)] = result
        so_far = [results[names] for names in order if names in results]
        write_results(paths, so_far)
        _tell(result, len(so_far), len(tasks))
        progress("pairs", len(so_far), len(tasks))
    final = [results[names] for names in order]
    write_results(paths, final)
    return final


def redraw(tasks: Sequence[Task], threads: Threads, found: FoundWeights | None) -> dict[tuple[str, str], bytes]:
    """Pictures of pairs whose scores were taken from an earlier run."""
    drawn = {key(result.row): result.picture for result in _each([replace(task, picture=True) for task in tasks], threads, found, 1)}
    return {names: picture for names, picture in drawn.items() if picture is not None}


def write_results(paths: Mapping[str, Path], results: Sequence[PairResult]) -> None:
    """Both tables."""
    write_table(paths["structures"], STRUCTURE_COLUMNS, [part for result in results for part in result.structures])
    write_table(paths["pairs"], PAIR_COLUMNS, [result.row for result in results])


def _each(tasks: Sequence[Task], threads: Threads, found: FoundWeights | None, jobs: int) -> Iterator[PairResult]:
    if not tasks:
        return
    registers = tasks[0].transforms is None
    if min(jobs, len(tasks)) == 1:
        apply_threads(threads)
        model = load_network(found) if registers else None
        for task in tasks:
            yield evaluate_pair(task, model)
        return
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    share = Threads(max(1, threads.count // jobs), f"{threads.source}, shared by {jobs} processes")
    started = (share, found if registers else None)
    with ProcessPoolExecutor(min(jobs, len(tasks)), get_context("spawn"), _start_worker, started) as pool:
        for future in as_completed([pool.submit(_in_worker, task) for task in tasks]):
            yield future.result()


def _start_worker(threads: Threads, found: FoundWeights | None) -> None:
    """Once a process: threads held, network loaded."""
    global _model
    start_logging(quiet=True)
    apply_threads(threads)
    _model = load_network(found)


def _in_worker(task: Task) -> PairResult:
    return evaluate_pair(task, _model)


def _tell(result: PairResult, count: int, total: int) -> None:
    row = result.row
    name = f"{row['moving']} to {row['fixed']}"
    if row["status"] != "done":
        logger.error("%s: %s", name, row["error"])
        return
    shown = {"dice": "Dice", "hd95": "HD95", "tre": "TRE"}
    numbers = [f"{label} {row[cell]:.4g}" for cell, label in shown.items() if row.get(cell) is not None]
    logger.info("pair %d of %d: %s: %s", count, total, name, ", ".join([*numbers, f"folding {row['folding']:.3g} %"]))
