"""Compare unireg with ANTs, greedy, elastix, ConvexAdam and FireANTs on labelled pairs, each at its authors' settings.

usage: benchmark.py --scorer SCORE.py [--data FOLDER] [--sets A B] [--tools A B] [--starts own affine rigid] [--pairs [TOOL=]N] [-o OUT]

Pair by pair, all tools after each other, one process each; every tool writes its total transform (fixed -> moving, LPS mm) to a file that
ITK reads, and SCORE.py scores the file. Starts: own (each tool's own affine), affine (one affine for all, by greedy: the tools bend from
there), rigid (the same with a rigid one; pairs of one person only). Rows go to OUT/SET.csv; rows that are there are not made again, so
a stopped run goes on where it was. The tools' environments and the starts are kept in --work, outside the repository.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from environments import EnvironmentMissing, python_of
from judging import NotScored, scores
from processes import run_process
from records import append_row, key_of, read_rows
from toolbox import STARTS, TOOLS, USUAL, Tool

from unireg_cli.io.learn2reg import ListedPair, PairList, read_pair_list

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SETS = ("hippocampus_mr", "cardiac_mr", "abdomen_ct", "abdomen_mr", "brain_mr")


class NoStart(Exception):
    """The transform that all tools start from could not be made."""


@dataclass(frozen=True, slots=True)
class Task:
    """One row to be made. ``persons`` have the data set's name before them: two sets never share one."""

    set: str
    start: str
    tool: Tool
    pair: ListedPair
    mode: str

    def row(self) -> dict[str, object]:
        """What is known before anything has run."""
        persons = ";".join(f"{self.set}/{person}" for person in self.pair.persons)
        fixed, moving = (side.image.name.split(".")[0] for side in (self.pair.fixed, self.pair.moving))
        return {"set": self.set, "start": self.start, "tool": self.tool.name, "fixed": fixed, "moving": moving, "persons": persons}


def main(words: Sequence[str] | None = None) -> int:
    """Make the rows that are missing; 1 if some of them failed."""
    chosen = parse(words)
    failed = 0
    for name in chosen.sets:
        listed = read_pair_list(chosen.data / name / "dataset.json", chosen.split)
        path = chosen.output / f"{name}.csv"
        done = {key_of(row) for row in read_rows(path) if row["status"] != "failed" or not chosen.retry}
        for task in tasks(listed, name, chosen):
            if key_of(task.row()) not in done:
                row = task.row() | make(task, chosen) | {"threads": chosen.threads, "date": datetime.date.today().isoformat()}
                append_row(path, row)
                failed += row["status"] == "failed"
                print(told(row), file=sys.stderr, flush=True)
    return 1 if failed else 0


def tasks(listed: PairList, name: str, chosen: argparse.Namespace) -> Iterator[Task]:
    """All rows of a set: pair by pair, start by start, the tools after each other."""
    mode = str(listed.mode or "inter")
    limits = pair_limits(chosen.pairs)
    for number, pair in enumerate(listed.pairs):
        for start in chosen.starts:
            if start == "rigid" and mode != "intra":
                continue
            for tool in chosen.tools:
                if number < min(limits.get(tool, sys.maxsize), limits.get("", sys.maxsize)):
                    yield Task(name, start, TOOLS[tool], pair, mode)


def make(task: Task, chosen: argparse.Namespace) -> dict[str, object]:
    """Run one tool on one pair and score it; a failure is a row with its reason."""
    if task.start not in task.tool.starts:
        return {"status": "absent", "reason": task.tool.missing}
    with tempfile.TemporaryDirectory(dir=chosen.work) as folder:
        try:
            start = "own" if task.start == "own" else str(start_of(task, chosen))
            python = python_of(task.tool.environment, chosen.work)
        except (EnvironmentMissing, NoStart) as error:
            return {"status": "failed", "reason": str(error)}
        return run_tool(task, task.tool.words, start, python, Path(folder), chosen)


def run_tool(task: Task, words: Sequence[str], start: str, python: Path, folder: Path, chosen: argparse.Namespace) -> dict[str, object]:
    """One process, then the scores of the transform that it left in ``folder``."""
    images = [str(side.image) for side in (task.pair.fixed, task.pair.moving)]
    command = [str(python), str(HERE / "runners" / task.tool.runner), *words, *images, start, str(folder), str(chosen.threads), task.mode]
    log = folder.with_suffix(".log")
    try:
        ended = run_process(command, log, threads_told(chosen), chosen.timeout)
    finally:
        log.unlink(missing_ok=True)
    costs: dict[str, object] = {"process_seconds": ended.seconds, "peak_rss_mb": ended.peak_rss_mb}
    note = folder / "result.json"
    if ended.reason or not note.is_file():
        return {"status": "failed", "reason": ended.reason or "it left no result", **costs}
    said = json.loads(note.read_text("utf-8"))
    costs |= {"registration_seconds": said["seconds"], "version": said["version"], "note": said["note"]}
    labels = [side.label for side in (task.pair.fixed, task.pair.moving)]
    if None in labels:
        return {"status": "failed", "reason": "the pair has no label maps to score by", **costs}
    try:
        found = scores(chosen.scorer, *labels, folder / said["transform"], distances=not chosen.without_hd95)
    except NotScored as error:
        return {"status": "failed", "reason": str(error), **costs}
    return {"status": "done", **found, **costs}


def start_of(task: Task, chosen: argparse.Namespace) -> Path:
    """The affine or rigid transform that all tools start from; made by greedy once a pair and kept.

    Raises:
        NoStart: greedy could not run.
    """
    row = task.row()
    path = chosen.work / "starts" / task.start / str(row["set"]) / f"{row['moving']}_to_{row['fixed']}.tfm"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        python = python_of("greedy", chosen.work)
    except EnvironmentMissing as error:
        raise NoStart(f"the shared start needs greedy: {error}") from error
    with tempfile.TemporaryDirectory(dir=chosen.work) as folder:
        words = [str(python), str(HERE / "runners" / TOOLS["greedy"].runner), task.start]
        words += [str(task.pair.fixed.image), str(task.pair.moving.image), "own", folder, str(chosen.threads), task.mode]
        ended = run_process(words, Path(folder) / "log", threads_told(chosen), chosen.timeout)
        if ended.reason:
            raise NoStart(f"greedy could not make the shared start: {ended.reason}")
        shutil.move(Path(folder) / "total.tfm", path)
    return path


def threads_told(chosen: argparse.Namespace) -> dict[str, str]:
    """The environment variables by which libraries are told their number of threads."""
    names = ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    weights = {} if chosen.weights is None else {"UNIREG_WEIGHTS": str(chosen.weights)}
    return dict.fromkeys(names, str(chosen.threads)) | weights


def pair_limits(words: Sequence[str]) -> dict[str, int]:
    """``N`` for all tools (under the empty name), ``TOOL=N`` for one."""
    limits = {}
    for word in words:
        tool, _, number = word.rpartition("=")
        if (tool and tool not in TOOLS) or not number.isdigit() or not int(number):
            raise SystemExit(f"--pairs takes N or TOOL=N with a tool of {', '.join(TOOLS)}; found {word!r}")
        limits[tool] = int(number)
    return limits


def told(row: dict[str, object]) -> str:
    """A row in one line."""
    name = f"{row['set']} {row['start']} {row['tool']} {row['moving']} -> {row['fixed']}"
    if row["status"] != "done":
        return f"{name}: {row['status']}: {row['reason']}"
    numbers = f"Dice {row['dice']:.4f}, SDlogJ {row.get('sdlogj_in', float('nan')):.3f}, folding {row['fold_pct']:.3f} %"
    return f"{name}: {numbers}, {row['registration_seconds']:.1f} s of {row['process_seconds']:.1f} s, {row['peak_rss_mb']:.0f} MB"


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line; the work folder is made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder with SET/dataset.json")
    parser.add_argument("--scorer", type=Path, required=True, help="program that scores a transform by label maps and prints JSON")
    parser.add_argument("--sets", nargs="+", default=list(SETS), help="folders of --data")
    parser.add_argument("--tools", nargs="+", default=list(USUAL), choices=list(TOOLS))
    parser.add_argument("--starts", nargs="+", default=list(STARTS), choices=STARTS)
    parser.add_argument("--split", default="registration_val")
    parser.add_argument("--pairs", nargs="+", default=[], metavar="[TOOL=]N", help="the first N pairs of a set, for all tools or for one")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results")
    parser.add_argument("--work", type=Path, default=ROOT.parent / "unireg-benchmark", help="environments, starts and temporary files")
    parser.add_argument("--weights", help="weights of unireg other than the shipped ones")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=7200.0, metavar="SECONDS")
    parser.add_argument("--retry", action="store_true", help="try failed rows again")
    parser.add_argument("--without-hd95", action="store_true")
    chosen = parser.parse_args(words)
    chosen.work = chosen.work.resolve()
    chosen.work.mkdir(parents=True, exist_ok=True)
    # Children start in this folder: what is given relative to it stays true.
    chosen.scorer, chosen.data = chosen.scorer.resolve(), chosen.data.resolve()
    if not chosen.scorer.is_file():
        parser.error(f"--scorer: {chosen.scorer} is no file")
    os.environ.setdefault("PYTHONNOUSERSITE", "1")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
