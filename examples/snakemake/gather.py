"""One table of all pairs of a stage from the summaries of its chunks.

python gather.py CHUNK.json... > summary.csv
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_QUALITY = ("similarity_before", "similarity_after", "folding_percent", "sdlogj")


def rows(summaries: list[Path]) -> Iterator[dict[str, Any]]:
    """A row for each pair."""
    for path in summaries:
        for entry in json.loads(path.read_text(encoding="utf-8"))["pairs"]:
            quality = entry["result"]["quality"]
            found = quality | (quality["regularity"] or {})
            yield {
                **{name: entry[name] for name in ("fixed", "moving", "output")},
                **{name: found.get(name, "") for name in _QUALITY},
                "seconds": entry["result"]["timing"]["total_seconds"],
            }


if __name__ == "__main__":
    writer = csv.DictWriter(sys.stdout, ("fixed", "moving", "output", *_QUALITY, "seconds"), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows([Path(word) for word in sys.argv[1:]]))
