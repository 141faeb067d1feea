"""Teaching the segmenter: which labels mean what, what a view shows, what a loss asks for, and a run that learns."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from people import IDS, people
from torch import Tensor, nn
from tuning import small_views

from trainer.augmentation import Augmentation
from trainer.config import Segmenting
from trainer.config_file import read_config
from trainer.lattices import lattice_of, padded
from trainer.pool import load_pool
from trainer.run import run
from trainer.sampling import Gallery, nearest
from trainer.segmenting import Sight, classes_of, draw_sight, segmentable, segmentation_dice, segmentation_loss, trust
from trainer.start import begin, settled
from unireg_cli.errors import UsageError
from unireg_cli.io.weights import read_weights
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.network import build_network
from unireg_cli.spatial.drawing import map_lattice
from unireg_cli.spatial.sampling import index_lattice

KNOWN = vocabulary()
HEART, KIDNEY = (id for id in map(KNOWN.structure_id, ("heart_myocardium", "kidney_left")) if id is not None)
TAUGHT = (*sorted((*IDS, KIDNEY)), HEART)
PLAIN = Augmentation(intensity_probability=0)
STILL = Segmenting(voxels=(20_000, 20_000), box=20_000, angle=0, scale=0, shift=0, bent=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Told(nn.Module):
    """Gives logits that it is told, whatever it is shown: (structures of the segmenter's list, D, H, W)."""

    def __init__(self, told: Tensor) -> None:
        super().__init__()
        self.told = told

    def forward(self, images: Tensor, _known: Tensor) -> Tensor:
        return self.told[None]

    def logits(self, features: Tensor, structures: Tensor) -> Tensor:
        return torch.cat((torch.zeros_like(features[:, :1]), features[:, structures]), dim=1)


def told(sight: Sight, classes: Tensor, sure: float = 20.0) -> Told:
    """Sure of the label of the first voxel of every block; ``classes``: place in the segmenter's list of each label, -1 for none."""
    first = classes[sight.labels[::2, ::2, ::2].long()]
    return Told(torch.stack([(first == k).float() * 2 * sure - sure for k in range(len(TAUGHT))]))


def places() -> Tensor:
    return torch.tensor([-1, *(TAUGHT.index(id) for id in IDS)])


def test_labels_are_classes_in_the_order_of_their_ids() -> None:
    classes = classes_of(people(2), TAUGHT, KNOWN)
    own = sorted(IDS)
    assert [TAUGHT[int(k)] for k in classes.taught] == own
    # The kidney lies in the region of these images, that have no label for it; the heart does not.
    assert [TAUGHT[int(k)] for k in classes.hidden] == [KIDNEY]
    assert [TAUGHT[int(k)] for k in classes.strangers] == [HEART]
    assert classes.label_class.tolist() == [0, *(1 + own.index(id) for id in IDS)]
    assert segmentable([people(2), people(2, painted=True)]) == tuple(own)
    assert segmentable([people(2, painted=True)]) == ()


def test_a_view_shows_image_and_labels_at_the_same_place() -> None:
    sight = draw_sight(people(1), STILL, PLAIN, Gallery(), 8, generator())
    d, h, w = sight.labels.shape
    assert sight.image.shape == (1, 1, d, h, w) and sight.known.shape == (1, 1, d // 2, h // 2, w // 2)
    inside = [float(sight.image[0, 0][sight.labels == k].mean()) for k in range(6)]
    assert inside[1:] == sorted(inside[1:]) and inside[0] < inside[1]
    assert set(sight.labels.unique().tolist()) == {0, 1, 2, 3, 4, 5}
    same = draw_sight(people(1), STILL, PLAIN, Gallery(), 8, generator())
    assert torch.equal(same.image, sight.image)


def test_the_truth_costs_nothing_and_silence_costs_all_of_the_overlap() -> None:
    sight = draw_sight(people(1), STILL, PLAIN, Gallery(), 8, generator())
    # Every block of one label, so that the truth can be said exactly.
    whole = sight.labels[::2, ::2, ::2].repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2)
    sight = replace(sight, labels=whole)
    classes = classes_of(people(1), TAUGHT, KNOWN)
    right = segmentation_loss(told(sight, places()), sight, classes, 5, generator())  # type: ignore[arg-type]
    assert float(right["crossed"]) < 1e-4 and float(right["lost"]) < 0.01
    silent = segmentation_loss(told(sight, torch.full((6,), -1)), sight, classes, 5, generator())  # type: ignore[arg-type]
    assert float(silent["lost"]) > 0.8 and float(silent["crossed"]) > 0.5


def test_a_structure_without_labels_may_be_seen_in_the_background_and_a_stranger_may_not() -> None:
    sight = draw_sight(people(1), STILL, PLAIN, Gallery(), 8, generator())
    classes = classes_of(people(1), TAUGHT, KNOWN)
    nothing = replace(sight, labels=torch.zeros_like(sight.labels))
    for seen, least, most in ((KIDNEY, 0.0, 1e-3), (HEART, 5.0, 50.0)):
        everywhere = told(nothing, torch.full((6,), TAUGHT.index(seen)))
        loss = float(segmentation_loss(everywhere, nothing, classes, 5, generator())["crossed"])  # type: ignore[arg-type]
        assert least <= loss <= most


def test_dice_of_the_truth_is_that_of_its_blocks() -> None:
    data = people(1)
    classes, gallery = classes_of(data, TAUGHT, KNOWN), Gallery()
    scan = data.scans[0]
    grid = padded(lattice_of(scan, scan, 20_000).upright(), 8)
    labels = nearest(scan.labels, map_lattice(index_lattice(grid.shape), scan.grid.index_from_lps @ grid.lps_from_index))
    sight = Sight(torch.zeros(1), torch.zeros(1), labels)
    found = segmentation_dice(told(sight, places()), data, classes, gallery, 20_000, 8)  # type: ignore[arg-type]
    blocks = labels[::2, ::2, ::2].repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2)
    both = [(labels == k, blocks == k) for k in range(1, 6)]
    expected = [2 * float((one & other).sum()) / float(one.sum() + other.sum()) for one, other in both]
    assert found == pytest.approx({TAUGHT.index(id): dice for id, dice in zip(IDS, expected, strict=True)}, abs=1e-6)
    assert min(expected) > 0.5 and max(expected) < 1
    silent = segmentation_dice(told(sight, torch.full((6,), -1)), data, classes, gallery, 20_000, 8)  # type: ignore[arg-type]
    assert set(silent.values()) == {0.0}


def test_trust_grows_from_a_dice_that_says_nothing_to_one_that_is_sure() -> None:
    assert [trust(dice) for dice in (0.0, 0.5, 0.9, 1.0)] == [0, 0, 1, 1] and trust(0.7) == pytest.approx(0.5)
    assert trust(0.5, 0.3, 0.8) == pytest.approx(0.4)


Recipe = Callable[..., Path]
def test_a_run_of_segmentation_alone_learns_and_leaves_the_registration_as_it_was(recipe: Recipe, tmp_path: Path) -> None:
    run(read_config(recipe("first", steps=2, tune_every=2)))
    given = tmp_path / "first" / "unireg-own.safetensors"
    learns = ("segmentation",)
    config = small_views(recipe("more", steps=160, tune_every=80, init=str(given)), learns=learns)
    outcome = run(replace(config, optimiser=replace(config.optimiser, rate=5e-3, average=0.8)))
    file, before = read_weights(tmp_path / "more" / "unireg-own-last.safetensors"), read_weights(given)
    assert all(torch.equal(file.tensors[name], tensor) for name, tensor in before.tensors.items())
    names = {KNOWN.name_of(id) for id in file.config["network"]["segmented"]}
    assert names == {"liver", "spleen", "kidney_left"}
    looks = [json.loads(line) for line in (tmp_path / "more" / "tune.jsonl").read_text().splitlines()]
    assert looks[-1]["segmented"] > looks[0]["segmented"] + 0.1 and looks[-1]["dice"] is None
    assert outcome.best == max(look["segmented"] for look in looks)
    network = build_network(file.config["network"], file.tensors)
    assert network.segmenter is not None
    mean = looks[-1]["segmented"]
    assert float(network.segmenter.trust.mean()) == pytest.approx(trust(mean), abs=0.3) and float(network.segmenter.trust.amin()) < 1
    assert float(network.segmenter.trust.amax()) > 0
    # Whoever begins with weights that can segment goes on with their structures.
    again = small_views(recipe("again", steps=1, init=str(tmp_path / "more" / "unireg-own.safetensors")), learns=learns)
    run(again)
    assert read_weights(tmp_path / "again" / "unireg-own-last.safetensors").config["network"] == file.config["network"]


def test_a_segmenter_learns_more_structures_and_keeps_those_it_knows(recipe: Recipe, tmp_path: Path) -> None:
    liver, spleen = (KNOWN.structure_id(name) for name in ("liver", "spleen"))
    assert liver is not None and spleen is not None
    network = replace(read_config(recipe()).network, segmented=(spleen, liver))
    run(replace(small_views(recipe("few", steps=3, tune_every=3), learns=("segmentation",)), network=network))
    few = read_weights(tmp_path / "few" / "unireg-own.safetensors")
    init = str(tmp_path / "few" / "unireg-own.safetensors")
    more = small_views(recipe("more", steps=1, tune_every=100, init=init), learns=("segmentation",))
    pools = [load_pool(source, Path(), Path(more.cache), more.seed, pairs=False) for source in more.sources]
    grown = settled(more, pools, {"segmented": [spleen, liver]})
    third = KNOWN.structure_id("kidney_left")
    assert grown.network.segmented == (spleen, liver, third)
    # A run that goes on keeps the list it began with.
    assert settled(more, pools, {"segmented": [spleen, liver]}, resumed=True).network.segmented == (spleen, liver)
    found = begin(grown, torch.device("cpu")).average
    for name in ("queries", "bias", "trust"):
        assert torch.equal(found[f"segmenter.{name}"][:2], few.tensors[f"segmenter.{name}"])
    assert float(found["segmenter.trust"][2]) == 0 and float(found["segmenter.bias"][2]) == -3


def test_both_parts_learn_from_an_example_each(recipe: Recipe, tmp_path: Path) -> None:
    run(small_views(recipe("both", steps=4), learns=("registration", "segmentation")))
    row = json.loads((tmp_path / "both" / "losses.jsonl").read_text().splitlines()[0])
    assert {"overlap", "crossed", "lost"} <= set(row) and row["loss"] > row["crossed"] + row["lost"]
    look = json.loads((tmp_path / "both" / "tune.jsonl").read_text().splitlines()[-1])
    assert 0 < look["dice"] < 1 and 0 <= look["segmented"] < 1


def test_a_run_that_cannot_learn_what_it_is_told_is_refused(recipe: Recipe) -> None:
    untaught = read_config(recipe())
    source = replace(untaught.sources[0], segmented=False)
    with pytest.raises(UsageError, match="no source has labels on real images that segmentation could be learned from"):
        run(replace(untaught, learns=("segmentation",), sources=(source,)))
    with pytest.raises(UsageError, match="learns must be of registration, segmentation"):
        replace(read_config(recipe()), learns=("affine",))
