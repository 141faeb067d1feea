"""What Snakemake costs: 20 phantom pairs in chunks, against the same pairs in one ``unireg register --pairs`` process.

usage: overhead.py [--people 20] [--chunk 20] [--rounds 3] [--threads 2] [-- FLAGS OF unireg register]

Both in turn, on a machine where nothing else runs; prints the seconds of every round and the median of their ratios. Images and
results lie in a temporary folder. Both do the registrations and nothing more: no labels are warped.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    given = list(sys.argv[1:] if words is None else words)
    flags = given[given.index("--") + 1 :] if "--" in given else []
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("people", 20), ("chunk", 20), ("rounds", 3), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    chosen = parser.parse_args(given[: given.index("--")] if "--" in given else given)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make = [sys.executable, str(HERE.parent / "phantom_cohort.py"), "phantoms", "--people", str(chosen.people)]
        subprocess.run(make, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        ratios = []
        for number in range(1, chosen.rounds + 1):
            alone = timed(one_process(folder, chosen.threads, flags), folder)
            chunked = timed(workflow(chosen.chunk, chosen.threads, flags), folder)
            ratios.append(chunked / alone)
            print(f"round {number}: one process {alone:.1f} s, Snakemake {chunked:.1f} s, ratio {ratios[-1]:.3f}", flush=True)
            for name in ("alone", "results", ".snakemake"):
                shutil.rmtree(folder / name)
    print(f"{chosen.people} pairs, chunks of {chosen.chunk}: median ratio {statistics.median(ratios):.3f}")
    return 0


def one_process(folder: Path, threads: int, flags: Sequence[str]) -> list[str]:
    """The command for all pairs in one process; writes its table."""
    with (folder / "phantoms" / "participants.csv").open(newline="", encoding="utf-8") as stream:
        people = list(csv.DictReader(stream))
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = [("phantoms/template.nii.gz", f"phantoms/{person['image']}", f"alone/{person['subject']}_") for person in people]
        csv.writer(stream).writerows([("fixed", "moving", "output"), *rows])
    (folder / "alone").mkdir(exist_ok=True)
    return ["unireg", "register", "--pairs", "pairs.csv", "--threads", str(threads), *flags]


def workflow(chunk: int, threads: int, flags: Sequence[str]) -> list[str]:
    """The same registrations as the stage ``template`` of the workflow."""
    settings = ["stages=[template]", f"chunk={chunk}", f"threads={threads}"]
    if flags:
        # An empty value would be read as None.
        settings.append(f"register={' '.join(flags)}")
    command = ["snakemake", "--snakefile", str(HERE / "Snakefile"), "--cores", str(threads), "--config", *settings]
    return [*command, "--", "results/template/summary.csv"]


def timed(command: Sequence[str], folder: Path) -> float:
    """Seconds that a command takes in ``folder``; its words go to a log.

    Raises:
        CalledProcessError: it failed; the end of its log is on stderr.
    """
    log = folder / "log"
    begin = time.perf_counter()
    with log.open("wb") as stream:
        code = subprocess.run(command, cwd=folder, stdout=stream, stderr=subprocess.STDOUT, check=False).returncode
    if code:
        sys.stderr.write(log.read_text("utf-8", "replace")[-2000:])
        raise subprocess.CalledProcessError(code, command)
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
