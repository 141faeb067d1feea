"""Dice of the network's own structure maps on the tune split: images of persons that no weights have learned from, one at a time.

usage: segmenting.py [--sets SET ...] [--weights W] [--voxels N]

Every voxel of a lattice of about N voxels is what it most likely is. The trust of a structure, what it weighs in a registration, was set
from such numbers when the weights were trained.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import bench
import tables
import torch

from trainer.config_file import read_config
from trainer.pool import load_pool
from trainer.sampling import Gallery
from trainer.segmenting import classes_of, segmentation_dice
from unireg_cli.model.anatomy import vocabulary

RECIPE = tables.HERE.parents[1] / "weights" / "recipe.toml"


def main(words: Sequence[str] | None = None) -> int:
    """Look and print."""
    parser = tables.common_arguments(__doc__, "segmenting")
    parser.add_argument("--weights", help="a .safetensors file (default: the shipped weights)")
    parser.add_argument("--voxels", type=int, help="of the lattice, about (default: as registrations have it)")
    chosen = parser.parse_args(words)
    bench.use_threads(chosen.threads)
    judge = bench.load_judge(chosen.weights)
    segmenter, settings = judge.network.segmenter, judge.network.settings
    if segmenter is None:
        print("these weights have no segmenter", file=sys.stderr)
        return 1
    sources = {Path(source.path).parent.name: source for source in read_config(RECIPE).sources if source.path}
    rows, means = [], []
    for name in chosen.sets:
        source = replace(sources[name], path=str(chosen.data.absolute() / name / "dataset.json"))
        data = load_pool(source, Path(), chosen.cache, 0, pairs=False).tune
        classes = classes_of(data, settings.segmented, vocabulary())
        with torch.inference_mode():
            voxels = chosen.voxels or settings.sight_voxels
            found = segmentation_dice(segmenter, data, classes, Gallery(), voxels, settings.divisor)
        for place, dice in found.items():
            rows.append((name, vocabulary().name_of(settings.segmented[place]), len(data.scans), dice, float(segmenter.trust[place])))
        means.append((name, len(data.scans), len(found), tables.mean(list(found.values()))))
    tables.print_table(("set", "structure", "scans", "Dice", "trust"), rows)
    tables.print_table(("set", "scans", "structures", "mean Dice"), means)
    return 0


if __name__ == "__main__":
    sys.exit(main())
