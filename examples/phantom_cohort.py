"""A cohort of made-up people to try the pipelines on: CT-like torsos with labels, and the table that the examples read.

python examples/phantom_cohort.py phantoms --people 4 --coarsen 3
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from unireg_cli.io.images import write_image
from unireg_cli.phantom.anatomy import Anatomy
from unireg_cli.phantom.ct import scan
from unireg_cli.phantom.pair import demo_grids
from unireg_cli.phantom.torso import Torso
from unireg_cli.spatial import Image


def make_cohort(folder: Path, people: int, coarsen: float) -> Path:
    """Write the scans and label maps of ``people`` and of a template; returns the table with columns subject,image,labels.

    Every other person lies on an oblique grid, as in life. Paths in the table are relative to its folder; the template is not in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    grids, rows = demo_grids(coarsen), []
    for number in range(people + 1):
        name = f"p{number}" if number else "template"
        grid = grids[number % 2]
        brightness, labels = scan(Torso(Anatomy.random(number)), grid, seed=number)
        files = folder / f"{name}.nii.gz", folder / f"{name}_labels.nii.gz"
        for path, voxels in zip(files, (brightness, labels), strict=True):
            write_image(path, Image(voxels, grid, path.name))
        rows += [(name, *(path.name for path in files))] if number else []
    table = folder / "participants.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("subject", "image", "labels"), *rows])
    return table


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--coarsen", type=float, default=3.0, help="voxels larger by this factor: quicker, less exact")
    words = parser.parse_args()
    print(make_cohort(words.folder, words.people, words.coarsen))


if __name__ == "__main__":
    main()
