"""The sources of a run in memory, and random examples from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from trainer.augmentation import Views, uniform
from trainer.config import Passes, Source, TrainConfig
from trainer.datasets import NOT_ASKABLE, DataSet, Scan, read_dataset, split
from trainer.lattices import Lattices
from trainer.phantoms import LABEL_VALUES, phantom_scan
from trainer.prealign import Key, choose_pairs, prealign
from trainer.sampling import Example, Gallery, make_example
from trainer.synthesis import Contrast
from trainer.tissues import tied
from unireg_cli.errors import InputError
from unireg_cli.registration.network_grid import body_box
from unireg_cli.spatial import Affine
from unireg_cli.types import Mode

_UNMOVED = Affine.identity()


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """One source in memory: its learning and tune parts with their aligned pairs."""

    source: Source
    learn: DataSet
    tune: DataSet
    learn_affines: dict[Key, Affine]
    tune_affines: dict[Key, Affine]

    def pairs(self, same_person: bool) -> list[Key]:
        """Aligned learning pairs of one person, or of two."""
        scans = self.learn.scans
        return [key for key in self.learn_affines if (scans[key[0]].person == scans[key[1]].person) is same_person]

    def tune_pairs(self) -> list[tuple[Key, Mode]]:
        """All aligned tune pairs of the data set's own kind, with their type."""
        scans = self.tune.scans
        kinds = [(key, Mode.INTRA if scans[key[0]].person == scans[key[1]].person else Mode.INTER) for key in self.tune_affines]
        return [(key, mode) for key, mode in kinds if mode is self.tune.mode]


def load_pool(source: Source, base: Path, cache: Path, seed: int, *, pairs: bool = True) -> Pool:
    """Read a source and, unless it is needed scan by scan only, align its ``pairs`` (from ``cache`` where they are there).

    Raises:
        InputError: a data set that cannot be read, or with too few people to make a pair.
    """
    if source.phantoms:
        data = phantom_dataset(source.phantoms, source.phantom_scans, source.phantom_spacing, seed)
    else:
        data = read_dataset(base / source.path, unused=source.unused, limit=source.limit)
    # Nothing is chosen on label maps, so none of them has to be kept back.
    learn, tune = (data, data.subset([])) if data.painted else split(data)
    if not pairs:
        return Pool(source, learn, tune, {}, {})
    chosen = choose_pairs(learn, source.partners, seed)
    if not chosen:
        raise InputError(
            f"{data.name}: too few people; {len(tune.scans)} scans are kept for choosing and the {len(learn.scans)} left to learn "
            "from make no pair; list more scans, or pairs of one person as training_paired_images"
        )
    tune_affines = prealign(tune, choose_pairs(tune, 1, seed), cache)
    return Pool(source, learn, tune, prealign(learn, chosen, cache), tune_affines)


def phantom_dataset(kinds: Sequence[str], count: int, spacing: float, seed: int) -> DataSet:
    """``count`` made-up people of each kind as label maps; pairs are formed within a kind."""
    scans: list[Scan] = []
    structures = [NOT_ASKABLE] * LABEL_VALUES
    for kind in kinds:
        for number in range(count):
            image, ids = phantom_scan(kind, seed * 10_000 + number, spacing)
            for value, id in ids.items():
                structures[value] = id
            labels = torch.from_numpy(image.voxels.astype(np.int16))
            name = f"{kind}-{seed * 10_000 + number}-{spacing:g}"
            scans.append(Scan(name, image.grid, None, labels, body_box(labels > 0, share=0.0), len(scans), kind))
    return DataSet("phantom_" + "_".join(kinds), Mode.INTER, tuple(scans), tuple(structures), ())


def draw_example(pool: Pool, config: TrainConfig, gallery: Gallery, divisor: int, generator: torch.Generator) -> Example:
    """A random example of one source."""
    source, scans = pool.source, pool.learn.scans
    lattices = draw_lattices(source, config.passes, generator)
    known_motion = uniform(generator) < source.synthetic_intra
    if known_motion:
        one = int(uniform(generator) * len(scans))
        key, affine = (one, one), _UNMOVED
    else:
        same = uniform(generator) < source.intra
        keys = pool.pairs(same) or pool.pairs(not same)
        key = keys[int(uniform(generator) * len(keys))]
        affine = pool.learn_affines[key]
    painted = pool.learn.painted or uniform(generator) < source.synthetic_contrast
    return make_example(
        scans[key[0]],
        scans[key[1]],
        pool.learn.structures,
        affine.matrix,
        Mode.INTRA if scans[key[0]].person == scans[key[1]].person else Mode.INTER,
        Views(config.augmentation, known_motion=known_motion),
        gallery,
        lattices=lattices,
        divisor=divisor,
        most_structures=config.most_structures,
        each=config.points,
        generator=generator,
        contrasts=draw_contrasts(pool.learn, generator) if painted else None,
    )


def draw_lattices(source: Source, passes: Passes, generator: torch.Generator) -> Lattices:
    """The lattices of one example, sizes evenly spread on a logarithmic scale."""
    voxels = log_uniform(source.voxels, generator)
    if uniform(generator) < source.fine:
        before = (log_uniform(passes.coarse_voxels, generator), log_uniform(passes.middle_voxels, generator))
        return Lattices(log_uniform(source.fine_voxels, generator), before, voxels)
    if uniform(generator) < passes.coarse:
        return Lattices(voxels, (min(log_uniform(passes.coarse_voxels, generator), voxels),))
    return Lattices(voxels)


def log_uniform(bounds: tuple[int, int], generator: torch.Generator) -> int:
    """A count between two others."""
    return round(math.exp(uniform(generator, math.log(bounds[0]), math.log(bounds[1]))))


def draw_contrasts(data: DataSet, generator: torch.Generator) -> tuple[Contrast, Contrast]:
    """One contrast for both images, or two; half of them give tissues of one kind one look, as scanners do."""
    contrasts = [Contrast.random(data.label_count, generator) for _ in range(1 if uniform(generator) < 0.5 else 2)]
    if uniform(generator) < 0.5:
        named = {label: id for label, id in enumerate(data.structures) if id != NOT_ASKABLE}
        contrasts = [tied(contrast, named) for contrast in contrasts]
    return contrasts[0], contrasts[-1]
