"""Small adaptations of weights with a segmenter: what of it is taught, and what stays as the base has it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tuning import SMALL, base_weights, listed, options, scripted, told

from trainer.compute import Compute
from trainer.config import Segmenting, Source, TrainConfig
from trainer.finetune import finetune
from trainer.finetune_data import read_pairs
from trainer.finetune_options import Options
from trainer.finetune_task import What, make_task
from trainer.loop import segmentation
from trainer.sampling import Gallery
from unireg_cli.io.weights import WeightsFile
from unireg_cli.loading import load_model
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.network import Network

pytestmark = pytest.mark.usefixtures("aligned_people")


def with_segmenter(path: Path) -> WeightsFile:
    """Weights whose segmenter was taught the liver, to be adapted with little to look at."""
    liver = vocabulary().structure_id("liver")
    assert liver is not None
    recipe = {"segmenting": {"voxels": [8_000, 8_000], "box": 8_000}}
    return base_weights(path, replace(SMALL, segmented=(liver,)), recipe=recipe)


def test_all_teaches_the_segmenter_the_labels(organs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [0.5, 0.6, 0.7])
    base = with_segmenter(tmp_path / "base.safetensors")
    words = {"anatomy": "my_organs", "what": What.ALL, "rate": 1e-3, "steps": 20, "look_every": 10}
    run = options(listed(organs, "seen"), tmp_path, base, **words)
    assert finetune(run).improved
    ids = [vocabulary().structure_id(name) for name in ("liver", "spleen", "kidney_left")]
    network = load_model(run.output).network_for(("my_organs",))
    assert network.settings.segmented == tuple(ids) == tuple(told(run.output)["network"]["segmented"])
    begun = make_task(base, "my_organs", What.ALL, read_pairs(run.pairs))
    assert mistaken(network, run) < 0.9 * mistaken(begun.network(begun.tensors), run)


def test_a_controller_leaves_the_segmenter_to_its_base(organs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [0.5, 0.6, 0.7])
    base = with_segmenter(tmp_path / "base.safetensors")
    run = options(listed(organs, "plain"), tmp_path, base, anatomy="my_organs", rate=5e-2)
    assert finetune(run).improved
    assert not any("segmenter" in name for name in safetensors.torch.load_file(run.output))
    model = load_model(run.output)
    assert model.tuned is not None and model.tuned.settings.segmented == base_segmented(base)
    segmenters = (model.tuned.segmenter, model.network.segmenter)
    assert all(one is not None and torch.equal(one.queries, base.tensors["segmenter.queries"]) for one in segmenters)


def mistaken(network: Network, run: Options) -> float:
    """The segmenter's loss on scans under views that are the same for all networks."""
    pairs = read_pairs(run.pairs).called(dict(enumerate(map(vocabulary().structure_id, ("liver", "spleen", "kidney_left")), 1)))
    config = TrainConfig((Source(path="x"),), network=network.settings, segmenting=Segmenting(voxels=(8_000, 8_000), box=8_000))
    total = 0.0
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            loss, parts = segmentation(network, pairs.data, config, vocabulary(), Gallery(), Compute(torch.device("cpu")), generator)
        assert float(loss) == pytest.approx(config.segmenting.weight * sum(map(float, parts.values())))
        total += float(loss)
    return total


@pytest.mark.parametrize("what", list(What))
def test_segmenter_is_the_bases_where_nothing_is_better(
    organs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: What
) -> None:
    scripted(monkeypatch, [0.5, 0.4])
    base = with_segmenter(tmp_path / "base.safetensors")
    run = options(listed(organs, "unseen", (0, 1, 2)), tmp_path, base, anatomy="mine", what=what, rate=3e-2, steps=2)
    assert not finetune(run).improved
    model = load_model(run.output)
    network = model.network_for(("mine",))
    assert network.settings.segmented == base_segmented(base) and network.segmenter is not None
    assert torch.equal(network.segmenter.queries, base.tensors["segmenter.queries"])


def test_a_single_structure_teaches_itself_alone(organs: Path, tmp_path: Path) -> None:
    base = with_segmenter(tmp_path / "base.safetensors")
    task = make_task(base, "spleen", What.ALL, read_pairs(listed(organs, "one", (0, 1, 2))))
    spleen = vocabulary().structure_id("spleen")
    assert task.segmented == (*base_segmented(base), spleen) and task.taught == (spleen,)
    # Nobody has seen it yet.
    assert task.tensors["segmenter.trust"].tolist() == [1.0, 0.0]


def base_segmented(base: WeightsFile) -> tuple[int, ...]:
    return tuple(base.config["network"]["segmented"])
