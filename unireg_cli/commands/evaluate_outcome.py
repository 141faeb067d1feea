"""From the flags of ``unireg evaluate`` to its files: what is planned, run, summarised, compared and reported."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unireg_cli.commands.evaluate_pair import PairResult, Task
from unireg_cli.commands.evaluate_runs import finished_rows, make_tasks, redraw, run_tasks
from unireg_cli.commands.outputs import check_inputs, check_outputs
from unireg_cli.commands.resources import Threads, resolve_threads
from unireg_cli.commands.session import Progress
from unireg_cli.errors import InputError
from unireg_cli.evaluation.scoring import RULE
from unireg_cli.evaluation.summary import compare, summarise
from unireg_cli.evaluation.tables import METRICS, PAIR_COLUMNS, key
from unireg_cli.io.atomic import atomic_path
from unireg_cli.io.learn2reg import read_pair_list
from unireg_cli.io.points import PointSpace
from unireg_cli.io.provenance import SCHEMA_VERSION, plain, versions, write_record
from unireg_cli.io.tables import read_table
from unireg_cli.loading import FoundWeights, choose_weights, weights_of
from unireg_cli.options import RegisterOptions

logger = logging.getLogger("unireg")


def evaluate_dataset(
    words: Mapping[str, Any], flags: dict[str, Any], tables: tuple[Path, Path] | None, progress: Progress
) -> dict[str, Any]:
    """Run everything and return the record that PREFIXsummary.json holds."""
    listed = read_pair_list(words["dataset"], words["split"])
    registers = words["transforms"] is None
    paths = plan(words["output"], words["report"])
    inputs = [words["dataset"], *(tables or ())] + ([] if registers else [words["transforms"]])
    check_inputs(inputs)
    check_outputs(paths.values(), inputs, overwrite=words["overwrite"] or words["resume"])
    steered = registers and flags["transform"] == "deformable" and flags["weights"] != "none"
    if steered and flags["mode"] is None and listed.mode is not None:
        flags["mode"] = str(listed.mode)
        logger.info("--mode %s, as %s says", listed.mode, listed.path.name)
    probe = {**flags, "fixed": listed.pairs[0].fixed.image, "moving": listed.pairs[0].moving.image}
    found = choose_weights([RegisterOptions.from_words(probe)]) if registers else None
    threads, space = resolve_threads(words["threads"]), PointSpace(words["points_space"])
    tasks = make_tasks(listed, flags, found, words["transforms"], space, picture=words["report"] is not None)
    earlier = finished_rows(paths, tasks) if words["resume"] else []
    logger.info("%d pairs (%s). %s", len(tasks), listed.split, RULE)
    results = run_tasks(tasks, earlier, paths, threads, progress, found, words["jobs"])
    rows = [result.row for result in results]
    structures = [part for result in results for part in result.structures]
    record = _record("evaluate", paths, threads) | {
        "dataset": listed.name,
        "split": listed.split,
        "options": plain({name: value for name, value in flags.items() if name not in ("quiet", "verbose", "log", "json")}),
        "transforms": plain(words["transforms"]),
        "jobs": words["jobs"],
        "weights": plain(weights_of(tasks[0].options, None if found is None else found.config)),
        "rule": RULE,
        "summary": plain(summarise(rows, structures, seed=words["seed"])),
        "exit_codes": sorted({int(row["exit_code"]) for row in rows if row["status"] != "done"}),
        "comparison": None if tables is None else plain(compare_tables(tables, words["seed"])),
    }
    if words["report"] is not None:
        _write_report(words["report"], record, rows, structures, _pictures(tasks, results, threads, found), tables)
    write_record(paths["summary"], record)
    return record


def compare_only(tables: tuple[Path, Path], output: str, report: Path | None, seed: int, *, overwrite: bool) -> dict[str, Any]:
    """Compare two tables and write PREFIXcomparison.json."""
    paths = {"comparison": Path(f"{output}comparison.json")} | ({} if report is None else {"report": report})
    check_inputs(tables)
    check_outputs(paths.values(), tables, overwrite=overwrite)
    record = _record("evaluate --compare", paths, None) | {"rule": RULE, "comparison": plain(compare_tables(tables, seed))}
    if report is not None:
        _write_report(report, record, [], [], {}, tables)
    write_record(paths["comparison"], record)
    return record


def plan(prefix: str, report: Path | None) -> dict[str, Path]:
    """Every file that will be written."""
    names = {"pairs": "pairs.csv", "structures": "structures.csv", "summary": "summary.json"}
    return {name: Path(f"{prefix}{ending}") for name, ending in names.items()} | ({} if report is None else {"report": report})


def compare_tables(tables: tuple[Path, Path], seed: int) -> dict[str, Any]:
    """Differences of two PREFIXpairs.csv."""
    first, second = (read_table(path, ("fixed", "moving", "persons", "status")) for path in tables)
    return compare(first, second, names=(str(tables[0]), str(tables[1])), seed=seed)


def _record(command: str, paths: Mapping[str, Path], threads: Threads | None) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "command_line": shlex.join(["unireg", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "threads": plain(threads),
        "outputs": plain(dict(paths)),
    }


def _pictures(
    tasks: Sequence[Task], results: Sequence[PairResult], threads: Threads, found: FoundWeights | None
) -> dict[str, tuple[tuple[str, str], bytes]]:
    """Best, median and worst pair by Dice (without labels by TRE, then by SDlogJ), each with its PNG."""
    done = [result for result in results if result.row["status"] == "done"]
    metric = next((name for name in ("dice", "tre", "sdlogj") if done and all(r.row.get(name) is not None for r in done)), None)
    if metric is None:
        return {}
    ordered = sorted(done, key=lambda result: float(result.row[metric]), reverse=metric == "dice")
    chosen = {"best": ordered[0], "median": ordered[len(ordered) // 2], "worst": ordered[-1]}
    pictures = {key(result.row): result.picture for result in chosen.values() if result.picture is not None}
    missing = [task for task in tasks if task.pair.names in {key(result.row) for result in chosen.values()} - set(pictures)]
    if missing:
        logger.info("%d finished pairs are done once more for their pictures", len(missing))
        pictures |= redraw(missing, threads, found)
    return {word: (key(result.row), pictures[key(result.row)]) for word, result in chosen.items() if key(result.row) in pictures}


def _write_report(
    path: Path,
    record: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    structures: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, tuple[tuple[str, str], bytes]],
    tables: tuple[Path, Path] | None,
) -> None:
    from unireg_cli.report.evaluation_page import evaluation_page

    compared = None if tables is None else {str(table): read_table(table, PAIR_COLUMNS[:4]) for table in tables}
    parts = None if tables is None else {str(table): _structures_beside(table) for table in tables}
    text = evaluation_page(record, rows, structures, pictures, compared, parts)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _structures_beside(table: Path) -> list[dict[str, Any]]:
    """PREFIXstructures.csv of a PREFIXpairs.csv, if it is there."""
    beside = table.with_name(table.name.removesuffix("pairs.csv") + "structures.csv")
    try:
        return read_table(beside, ("name", "dice")) if table.name.endswith("pairs.csv") and beside.is_file() else []
    except InputError:
        return []


def in_words(record: Mapping[str, Any]) -> str:
    """The means, and the differences, as lines of text."""
    lines = []
    summary, compared = record.get("summary"), record.get("comparison")
    if summary is not None:
        lines.append(f"{summary['done']} of {summary['pairs']} pairs, {summary['persons']} persons; 95 % intervals over persons")
        for name, entry in summary["metrics"].items():
            lines.append(f"  {METRICS[name]}: {_interval(entry)}")
    if compared is not None:
        lines.append(f"{compared['second']} - {compared['first']}, {compared['pairs']} pairs in both:")
        for name, entry in compared["metrics"].items():
            wilcoxon = "" if entry["p_wilcoxon"] is None else f", Wilcoxon p {entry['p_wilcoxon']:.3g}"
            holm = "" if entry["p_holm"] is None else f", p {entry['p_holm']:.3g} (Holm)"
            lines.append(f"  {METRICS[name]}: {_interval(entry)}{holm}{wilcoxon}")
    return "\n".join(lines)


def _interval(entry: Mapping[str, Any]) -> str:
    shown = "too few persons for an interval" if entry["low"] is None else f"{entry['low']:.4g} to {entry['high']:.4g}"
    return f"{entry['mean']:.4g} ({shown})"
