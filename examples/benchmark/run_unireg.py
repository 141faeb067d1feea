"""Register the pairs of Learn2Reg data sets by the command line and score the written transforms by an outside program.

usage: run_unireg.py OUT.csv --scorer SCORE.py DATASET.json [...] [--limit N] [--key registration_val] [-- OPTIONS OF unireg register]

Each pair is one process, as a user starts it; ``seconds`` is that whole process, images read and files written included.
SCORE.py is called as ``SCORE.py FIXED_LABELS MOVING_LABELS TRANSFORM`` and prints a JSON object with dice, fold_pct,
sdlogj_in and so on. Rows that OUT.csv already has are skipped; a table of set means is printed at the end.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCORES = ("dice", "labels", "fold_pct", "sdlogj", "fold_pct_in", "sdlogj_in")
RECORD = ("seconds", "peak_memory_mb", "consistency_mean_voxels", "consistency_p99_voxels", "least_determinant", "files_mb")
COLUMNS = ("set", "method", "fixed", "moving", *SCORES, *RECORD)


def main() -> int:
    """Run what is missing, then print the means."""
    words = sys.argv[1:]
    options = words[words.index("--") + 1 :] if "--" in words else []
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("datasets", type=Path, nargs="+")
    parser.add_argument("--scorer", type=Path, required=True)
    parser.add_argument("--key", default="registration_val")
    parser.add_argument("--limit", type=int)
    chosen = parser.parse_args(words[: words.index("--")] if "--" in words else words)
    method = " ".join(["unireg", *options])
    done = read_rows(chosen.out)
    with chosen.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not done:
            writer.writeheader()
        for dataset in chosen.datasets:
            facts = json.loads(dataset.read_text())
            # A data set says whether its pairs are of one person; a --mode after the dashes comes later and wins.
            told = ["--mode", facts.get("mode", "inter"), *options]
            for pair in facts[chosen.key][: chosen.limit]:
                fixed, moving = ((dataset.parent / pair[side]).resolve() for side in ("fixed", "moving"))
                row = {"set": dataset.parent.name, "method": method, "fixed": stem(fixed), "moving": stem(moving)}
                if any(all(old[name] == value for name, value in row.items()) for old in done):
                    continue
                row |= run_pair(fixed, moving, told, chosen.scorer)
                writer.writerow(row)
                file.flush()
    print_means(read_rows(chosen.out))
    return 0


def run_pair(fixed: Path, moving: Path, options: list[str], scorer: Path) -> dict[str, object]:
    """One registration as a process of its own, and the scores of the composite it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        prefix = f"{folder}/r_"
        begin = time.perf_counter()
        command = [str(Path(sys.executable).parent / "unireg"), "register", str(fixed), str(moving), "-o", prefix, "-q", *options]
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - begin
        labels = [str(path).replace("/images/", "/labels/") for path in (fixed, moving)]
        said = subprocess.run(
            [sys.executable, str(scorer), *labels, f"{prefix}Composite.h5"], check=True, capture_output=True, text=True
        ).stdout
        record = json.loads(Path(f"{prefix}.json").read_text())
        quality = record["quality"]
        consistency = quality["inverse_consistency"] or {}
        return {name: json.loads(said).get(name) for name in SCORES} | {
            "seconds": round(seconds, 2),
            "peak_memory_mb": round(record["timing"]["peak_memory_mb"]),
            "consistency_mean_voxels": consistency.get("mean_voxels"),
            "consistency_p99_voxels": consistency.get("p99_voxels"),
            "least_determinant": (quality["regularity"] or {}).get("minimum"),
            "files_mb": round(sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6, 1),
        }


def stem(path: Path) -> str:
    """The file name without its suffixes."""
    return path.name.split(".")[0]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of the CSV so far; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def print_means(rows: list[dict[str, str]]) -> None:
    """Mean over pairs of each set and method; the least determinant is the least over all pairs."""
    heads = f"{'pairs':>6}{'dice':>8}{'sdlogj_in':>11}{'fold %':>8}{'least det':>10}{'p99 inv':>9}{'seconds':>9}{'peak MB':>9}"
    print(f"{'set':16}{'method':28}{heads}")
    for key in sorted({(row["set"], row["method"]) for row in rows}):
        group = [row for row in rows if (row["set"], row["method"]) == key]

        def mean(name: str, group: list[dict[str, str]] = group) -> float:
            values = [float(row[name]) for row in group if row[name]]
            return sum(values) / len(values) if values else float("nan")

        least = min((float(row["least_determinant"]) for row in group if row["least_determinant"]), default=float("nan"))
        print(
            f"{key[0]:16}{key[1]:28}{len(group):6d}{mean('dice'):8.4f}{mean('sdlogj_in'):11.3f}{mean('fold_pct'):8.4f}{least:10.3f}"
            f"{mean('consistency_p99_voxels'):9.3f}{mean('seconds'):9.1f}{max(float(row['peak_memory_mb']) for row in group):9.0f}"
        )


if __name__ == "__main__":
    sys.exit(main())
