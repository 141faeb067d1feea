"""One step of adapting: one pair, and several scans for the segmenter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from people import NAMES, people
from tuning import SMALL, base_weights

from trainer.compute import Compute
from trainer.config import Segmenting, Source, TrainConfig
from trainer.finetune_data import Pairs
from trainer.finetune_step import Lesson, learn
from trainer.finetune_task import What, begin, make_task
from trainer.pool import Pool
from trainer.sampling import Gallery
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.spatial import Affine
from unireg_cli.types import Modality

CPU = torch.device("cpu")


def test_of_one_step_the_segmenter_moves_four_times_and_the_rest_once(tmp_path: Path) -> None:
    liver = vocabulary().structure_id("liver")
    assert liver is not None
    base = base_weights(tmp_path / "base.safetensors", replace(SMALL, segmented=(liver,)))
    pairs = Pairs(people(3), ((0, 1), (1, 2)), dict(enumerate(NAMES, 1)), (True,) * 3, "abdomen", Modality.MR)
    task = make_task(base, "mine", What.ALL, pairs)
    pairs = task.called(pairs)
    affines = dict.fromkeys(pairs.both_ways().pairs, Affine.identity())
    source = Source(path="x", voxels=(4_000, 4_000))
    views = Segmenting(voxels=(4_000, 4_000), box=4_000)
    config = TrainConfig((source,), network=task.network(task.tensors).settings, segmenting=views)
    pool = Pool(source, pairs.data, pairs.data.subset([]), affines, {})
    state = begin(task, CPU)
    learn(state, Lesson(pairs, len(pairs.pairs), pool, task.own_labels(pairs), config), task, Gallery(), Compute(CPU))
    counts = dict[bool, set[int]]()
    for name, parameter in state.network.named_parameters():
        if parameter in state.optimiser.state:
            counts.setdefault(name.startswith("segmenter."), set()).add(int(state.optimiser.state[parameter]["step"]))
    assert state.step == 1 and counts == {True: {4}, False: {1}}
    assert not torch.equal(state.average["segmenter.queries"], task.tensors["segmenter.queries"])
