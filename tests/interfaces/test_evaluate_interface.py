"""Words that the interface of evaluate makes of its inputs."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import ModuleType


def test_two_tables_to_compare_are_two_words(interfaces: ModuleType, tmp_path: Path) -> None:
    dataset, first, second = (tmp_path / name for name in ("dataset.json", "a b.csv", "c.csv"))
    for path in (dataset, first, second):
        path.touch()
    words = shlex.split(interfaces.Evaluate(dataset=str(dataset), compare=(str(first), str(second)), fast=True).cmdline)
    place = words.index("--compare")
    assert words[place + 1 : place + 3] == [str(first), str(second)] and "--fast" in words
