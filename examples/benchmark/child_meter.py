"""Run one command and write down its seconds, its exit and its peak memory: ``child_meter.py REPORT.json COMMAND...``.

A process of its own, because Linux counts into a child's peak memory what its parent had at the fork: measured from a large Python process,
every small program would seem as large. This one has loaded next to nothing.
"""

import json
import os
import sys
import time


def main() -> None:
    """Run, wait, write."""
    report, *words = sys.argv[1:]
    begin = time.perf_counter()
    child = os.spawnvp(os.P_NOWAIT, words[0], words)
    _, status, usage = os.wait4(child, 0)
    said = {"seconds": time.perf_counter() - begin, "exit": os.waitstatus_to_exitcode(status), "peak_rss_mb": usage.ru_maxrss / 1024}
    with open(report, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would be the largest thing in this process
        json.dump(said, file)


if __name__ == "__main__":
    main()
