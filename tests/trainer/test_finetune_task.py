"""What is meant by the name to adapt for, and what of a network moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from people import NAMES, people
from tuning import SMALL, base_weights

from trainer.compute import Compute
from trainer.config import Source, TrainConfig
from trainer.datasets import NOT_ASKABLE
from trainer.finetune_data import Pairs
from trainer.finetune_look import Look
from trainer.finetune_step import Lesson, learn
from trainer.finetune_task import Task, What, begin, make_task
from trainer.pool import Pool
from trainer.sampling import Gallery
from unireg_cli.errors import InputError, UsageError
from unireg_cli.io.weights import WeightsFile
from unireg_cli.model.adapter import EMBEDDING, TABLES, adaptable
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.spatial import Affine
from unireg_cli.types import Modality

CPU = torch.device("cpu")
OWN = vocabulary().size


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> WeightsFile:
    return base_weights(tmp_path_factory.mktemp("base") / "base.safetensors")


def pairs(*labels: str, region: str | None = "abdomen", labelled: bool = True) -> Pairs:
    return Pairs(people(3), ((0, 1), (1, 2)), dict(enumerate(labels, 1)), (labelled,) * 3, region, Modality.MR)


def id_of(name: str) -> int:
    found = vocabulary().structure_id(name)
    assert found is not None
    return found


def test_without_a_name_it_is_all(base: WeightsFile) -> None:
    task = make_task(base, None, What.CONTROLLER, pairs("liver", "odd thing"))
    assert (task.word, task.added, task.known.size) == ("all", None, OWN)
    assert task.request.everything and task.own_labels(pairs("liver", "odd thing")) == {1, 2}
    assert task.called(pairs("liver", "odd thing")).data.structures == (NOT_ASKABLE, id_of("liver"), NOT_ASKABLE)
    assert task.rows == {EMBEDDING: sorted(vocabulary().everything().regions)} | {name: [] for name in TABLES[1:]}


def test_known_name_takes_the_labels_that_are_part_of_it(base: WeightsFile) -> None:
    task = make_task(base, "Kidneys", What.CONTROLLER, pairs("liver", "Left Kidney", "kidney_right"))
    assert task.word == "kidneys" and task.own_labels(pairs("liver", "Left Kidney", "kidney_right")) == {2, 3}
    assert task.rows["finder.bias"] == sorted([id_of("kidney_left"), id_of("kidney_right")])
    with pytest.raises(UsageError, match=r"--anatomy kidneys: none of the labels is part of it \(liver, spleen\)"):
        make_task(base, "kidneys", What.CONTROLLER, pairs("liver", "spleen"))
    with pytest.raises(UsageError, match="one name at a time"):
        make_task(base, "liver,spleen", What.CONTROLLER, pairs("liver"))


@pytest.mark.parametrize(
    ("labels", "labelled", "sought", "own", "structures"),
    [
        (("my_structure",), True, True, {1}, (NOT_ASKABLE, OWN)),
        (("liver", "My Structure"), True, True, {2}, (NOT_ASKABLE, id_of("liver"), OWN)),
        # The only label, whatever it is called.
        (("tumour",), True, True, {1}, (NOT_ASKABLE, OWN)),
        # The union of all labels, which keep their own names.
        (("liver", "tumour"), True, False, {1, 2}, (NOT_ASKABLE, id_of("liver"), NOT_ASKABLE)),
        ((), False, False, set(), (NOT_ASKABLE,)),
    ],
)
def test_new_name_is_a_label_or_all_of_them_or_none(
    base: WeightsFile, labels: tuple[str, ...], labelled: bool, sought: bool, own: set[int], structures: tuple[int, ...]
) -> None:
    data = pairs(*labels, labelled=labelled)
    task = make_task(base, "my_structure", What.CONTROLLER, data)
    assert task.added is not None and (task.added.region, task.added.sought) == ("abdomen", sought)
    assert task.own_labels(data) == own and task.called(data).data.structures == structures
    region = next(row.id for row in vocabulary().table.regions if row.name == "abdomen")
    assert task.known.size == OWN + 1 and task.rows[EMBEDDING] == [region, OWN]
    assert task.rows["finder.fine"] == ([OWN] if sought else [])
    # Initialised from its region; the rest is the base's to the bit.
    assert torch.equal(task.tensors[EMBEDDING][OWN], base.tensors[EMBEDDING][region])
    assert torch.equal(task.tensors[EMBEDDING][:OWN], base.tensors[EMBEDDING])
    assert task.reference.everything


def test_new_name_that_looks_like_another_is_questioned_and_bad_ones_refused(base: WeightsFile, caplog: pytest.LogCaptureFixture) -> None:
    make_task(base, "livr", What.CONTROLLER, pairs("liver"))
    assert "--anatomy livr: a new name; if you meant liver" in caplog.text
    with pytest.raises(UsageError, match="a new name begins with a letter"):
        make_task(base, "7th part", What.CONTROLLER, pairs("liver"))
    with pytest.raises(InputError, match="\"region\" 'torsoid' is none; choose brain"):
        make_task(base, "zygote", What.CONTROLLER, pairs("liver", region="torsoid"))
    whole = make_task(base, "zygote", What.CONTROLLER, pairs("liver", region=None))
    assert whole.added is not None and whole.added.region == "all"


def lesson(task: Task, data: Pairs) -> Lesson:
    data = task.called(data)
    affines = {key: Affine.identity() for a, b in data.pairs for key in ((a, b), (b, a))}
    source = Source(path="x", voxels=(4000, 6000))
    config = replace(TrainConfig((source,)), network=replace(SMALL, vocabulary=task.known.size), points=20)
    config = replace(config, optimiser=replace(config.optimiser, rate=1e-2, weight_decay=0.0, warmup=0, schedule="constant", average=0.5))
    return Lesson(data, len(data.pairs), Pool(source, data.data, data.data.subset([]), affines, {}), task.own_labels(data), config)


@pytest.mark.parametrize(("what", "word"), [(What.CONTROLLER, "mine"), (What.CONTROLLER, "liver"), (What.ALL, "mine")])
def test_only_what_is_adapted_moves(base: WeightsFile, what: What, word: str) -> None:
    data = pairs("mine" if word == "mine" else "liver", *NAMES[1:])
    task = make_task(base, word, what, data)
    state, gallery, given = begin(task, CPU), Gallery(), lesson(task, data)
    for _ in range(3):
        learn(state, given, task, gallery, Compute(CPU))
    moved = {name for name, tensor in state.average.items() if not torch.equal(tensor, task.tensors[name])}
    backbone = {name for name in moved if not adaptable(name) and name not in TABLES}
    assert any("controller" in name for name in moved) and any("modulation" in name for name in moved) and EMBEDDING in moved
    assert bool(backbone) is (what is What.ALL)
    if what is What.CONTROLLER:
        for name in TABLES:
            changed = (state.average[name] != task.tensors[name]).reshape(len(task.tensors[name]), -1).any(dim=1)
            assert set(changed.nonzero()[:, 0].tolist()) == set(task.rows[name]), name


def test_unlabelled_pairs_are_learned_from_by_their_images(base: WeightsFile) -> None:
    data = pairs(labelled=False)
    scans = tuple(replace(scan, labels=torch.zeros_like(scan.labels)) for scan in data.data.scans)
    data = replace(data, data=replace(data.data, scans=scans))
    task = make_task(base, "mine", What.CONTROLLER, data)
    state = begin(task, CPU)
    assert 0 < learn(state, lesson(task, data), task, Gallery(), Compute(CPU)) < 3
    assert not torch.equal(state.average[EMBEDDING][OWN], task.tensors[EMBEDDING][OWN])


def test_a_look_wins_by_score_and_only_where_quality_is_not_below_the_start() -> None:
    before = Look(0, 0.70, 0.10, 0.0)
    best = Look(2, 0.72, 0.10, 0.0)
    assert Look(4, 0.73, 0.10, 0.0).beats(best, before)
    # 0.73 - 0.2 * 0.16 = 0.698 is less than 0.72 - 0.02 = 0.70: bought with roughness.
    assert not Look(4, 0.73, 0.16, 0.0).beats(best, before)
    # A better score by smoothness alone, at less overlap than before.
    assert Look(4, 0.6999, 0.0, 0.0).score > before.score and not Look(4, 0.6999, 0.0, 0.0).beats(before, before)
    assert not Look(4, float("nan"), 0.1, 0.0).beats(best, before) and not best.beats(best, before)
