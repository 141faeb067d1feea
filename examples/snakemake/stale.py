"""Forget pairs that are finished but older than an image of theirs, so that --resume registers them again.

python stale.py PAIRS.csv
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path


def forget(table: Path) -> list[Path]:
    """Delete the records of such pairs, without which they do not count as finished; returns them."""
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    forgotten = []
    for row in rows:
        record = Path(row["output"] + ".json")
        if record.exists() and record.stat().st_mtime < max(Path(row[name]).stat().st_mtime for name in ("fixed", "moving")):
            record.unlink()
            forgotten.append(record)
    return forgotten


if __name__ == "__main__":
    for path in forget(Path(sys.argv[1])):
        print(f"older than its images, to be done again: {path}", file=sys.stderr)
