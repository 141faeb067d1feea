"""Labelled data sets: persons, the tune split, compact labels, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from trainer.config import Source
from trainer.datasets import NOT_ASKABLE, DataSet, Scan, read_dataset, split
from trainer.pool import load_pool
from trainer.sampling import Gallery
from unireg_cli.errors import InputError
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.registration.network_grid import body_box
from unireg_cli.spatial import Grid
from unireg_cli.types import Mode

KNOWN = vocabulary()
NAMES = {"0": "background", "2": "liver", "5": "spleen", "7": "kidney_left"}
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a data set of random images whose label maps hold ``values``; ``changes`` replace keys of the JSON."""

    def make(
        count: int = 3, *, values: Sequence[int] = (0, 2, 5, 7), images: bool = True, folders: bool = False, **changes: Any
    ) -> Path:
        random, listed = np.random.default_rng(0), []
        for k in range(count):
            folder = tmp_path / f"person{k}" if folders else tmp_path
            folder.mkdir(exist_ok=True)
            stem = "" if folders else f"{k}-"
            voxels = {f"{stem}scan.nii.gz": random.uniform(0, 100, (5, 6, 7)).astype(np.float32)} if images else {}
            voxels[f"{stem}seg.nii.gz"] = np.resize(np.asarray(values, np.int16), (5, 6, 7))
            for name, array in voxels.items():
                sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / name))
            place = f"./person{k}/" if folders else "./"
            listed.append({"label": f"{place}{stem}seg.nii.gz"} | ({"image": f"{place}{stem}scan.nii.gz"} if images else {}))
        content = {"name": "set", "labels": {"0": NAMES}, "training": listed} | changes
        path = tmp_path / "dataset.json"
        path.write_text(json.dumps(content))
        return path

    return make


def made(persons: Sequence[int], paired: Sequence[tuple[int, int]] = ()) -> DataSet:
    """A data set of tiny label maps of these persons."""
    labels = torch.ones(2, 2, 2, dtype=torch.uint8)
    grid = Grid.from_arrays((2, 2, 2), (1.0,) * 3, (0.0,) * 3, np.eye(3))
    scans = tuple(Scan(f"s{k}", grid, None, labels, body_box(labels > 0), person) for k, person in enumerate(persons))
    return DataSet("made", Mode.INTER, scans, (NOT_ASKABLE, 5), tuple(paired))


def test_labels_are_compact_and_named(write: Write) -> None:
    data = read_dataset(write(2))
    assert [KNOWN.name_of(id) for id in data.structures[1:]] == ["liver", "spleen", "kidney_left"]
    assert data.structures[0] == NOT_ASKABLE and data.askable == [1, 2, 3] and data.label_count == 4
    assert data.scans[0].labels.dtype == torch.uint8
    assert data.scans[0].labels.reshape(-1)[:6].tolist() == [0, 1, 2, 3, 0, 1]
    values = data.scans[0].values
    assert values is not None and values.dtype == torch.float16 and values.shape == (5, 6, 7)
    assert float(values.min()) == 0.0 and float(values.max()) == 1.0
    assert not data.painted and data.mode is Mode.INTER


def test_labels_of_one_structure_become_one(write: Write) -> None:
    names = {"0": "background", "2": "liver", "5": "spleen", "7": "hepar"}
    if KNOWN.structure_id("hepar") is None:
        names["7"] = next(s for row in KNOWN.table.structures if row.name == "liver" for s in row.synonyms)
    data = read_dataset(write(1, labels={"0": names}))
    assert data.scans[0].labels.reshape(-1)[:4].tolist() == [0, 1, 2, 1]
    assert len(data.structures) == 3


def test_unused_labels_are_scored_and_cannot_be_asked_for(write: Write) -> None:
    data = read_dataset(write(1, labels={"0": NAMES | {"5": "left sofa"}}), unused=["left sofa"])
    assert data.structures[2] == NOT_ASKABLE and data.askable == [1, 3]
    assert set(data.scans[0].labels.unique().tolist()) == {0, 1, 2, 3}


def test_values_without_a_name_are_background_beside_an_image(write: Write) -> None:
    assert read_dataset(write(1, values=(0, 2, 3))).scans[0].labels.reshape(-1)[:3].tolist() == [0, 1, 0]


def test_values_without_a_name_are_painted_alike_in_all_scans(write: Write) -> None:
    path = write(2, images=False)
    for k, values in enumerate(((2, 300, 301), (2, 301, 301))):
        sitk.WriteImage(sitk.GetImageFromArray(np.resize(np.asarray(values, np.int16), (5, 6, 7))), str(path.parent / f"{k}-seg.nii.gz"))
    data = read_dataset(path)
    assert data.painted and data.label_count == 6 and len(data.structures) == 4
    # 300 and 301 get the numbers above the three named ones, the same in both.
    assert [scan.labels.reshape(-1)[:3].tolist() for scan in data.scans] == [[1, 4, 5], [1, 5, 5]]


def test_listed_pairs_are_one_person(write: Write) -> None:
    pairs = [{"0": "3-scan.nii.gz", "1": "./1-scan.nii.gz"}, {"0": "./1-scan.nii.gz", "1": "4-scan.nii.gz"}]
    data = read_dataset(write(5, training_paired_images=pairs, mode="intra"))
    assert data.paired == ((3, 1), (1, 4)) and data.mode is Mode.INTRA
    assert [scan.person for scan in data.scans] == [0, 1, 2, 1, 1]
    assert read_dataset(write(5, training_paired_images=pairs), limit=4).paired == ((3, 1),)


def test_scans_of_one_file_name_are_told_apart(write: Write) -> None:
    data = read_dataset(write(2, folders=True))
    assert [Path(scan.name).as_posix() for scan in data.scans] == ["person0/scan.nii.gz", "person1/scan.nii.gz"]
    assert [scan.name for scan in read_dataset(write(2)).scans] == ["0-scan.nii.gz", "1-scan.nii.gz"]


@pytest.mark.parametrize(("count", "held"), [(3, 2), (10, 2), (20, 2), (40, 4)])
def test_the_last_tenth_of_the_persons_is_kept_for_choosing(count: int, held: int) -> None:
    learn, tune = split(made(range(count)))
    assert [scan.name for scan in tune.scans] == [f"s{k}" for k in range(count - held, count)]
    assert len(learn.scans) == count - held


def test_no_person_is_in_both_parts() -> None:
    persons = [0, 1, 2, 3, 1, 0, 6, 7, 3, 9]
    learn, tune = split(made(persons, [(0, 5), (1, 4), (3, 8)]))
    assert not {scan.person for scan in learn.scans} & {scan.person for scan in tune.scans}
    assert {scan.person for scan in tune.scans} == {7, 9}
    assert len(learn.scans) + len(tune.scans) == 10
    # Positions of the pairs follow their scans.
    assert [(learn.scans[a].name, learn.scans[b].name) for a, b in learn.paired] == [("s0", "s5"), ("s1", "s4"), ("s3", "s8")]


def test_a_pair_that_loses_a_scan_is_dropped() -> None:
    part = made(range(4), [(0, 1), (1, 3)]).subset([1, 3])
    assert part.paired == ((0, 1),)


class TestRefused:
    @pytest.mark.parametrize(
        "changes",
        [
            {"training": [{"image": "a.nii.gz"}]},
            {"training": ["a.nii.gz"]},
            {"labels": {}},
            {"labels": {"0": ["liver"]}},
            {"mode": "both"},
            {"training_paired_images": [{"fixed": "a", "moving": "b"}]},
        ],
    )
    def test_another_layout(self, write: Write, changes: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=r"dataset.json: not a data set in the Learn2Reg layout"):
            read_dataset(write(1, **changes))

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none\.json"):
            read_dataset(tmp_path / "none.json")

    def test_labels_that_name_no_structure(self, write: Write) -> None:
        with pytest.raises(InputError, match=r"dataset\.json.*5 'left sofa'"):
            read_dataset(write(1, labels={"0": NAMES | {"5": "left sofa"}}))

    def test_images_for_some_only(self, write: Write) -> None:
        path = write(2)
        content = json.loads(path.read_text())
        del content["training"][1]["image"]
        path.write_text(json.dumps(content))
        with pytest.raises(InputError, match="some entries"):
            read_dataset(path)

    def test_another_grid(self, write: Write) -> None:
        path = write(1)
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 6, 8), np.int16)), str(path.parent / "0-seg.nii.gz"))
        with pytest.raises(InputError, match=r"0-seg.nii.gz: the labels are not on the grid of 0-scan.nii.gz"):
            read_dataset(path)

    @pytest.mark.parametrize("values", [[0.0, 1.5], [0.0, -1.0]])
    def test_what_is_no_label_map(self, write: Write, values: list[float]) -> None:
        path = write(1)
        sitk.WriteImage(sitk.GetImageFromArray(np.resize(np.asarray(values, np.float32), (5, 6, 7))), str(path.parent / "0-seg.nii.gz"))
        with pytest.raises(InputError, match=r"0-seg.nii.gz: not a label map"):
            read_dataset(path)

    def test_too_few_people_for_a_pair(self, write: Write, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="set: too few people; 2 scans"):
            load_pool(Source(path=str(write(3))), Path(), tmp_path / "cache", 0)


def test_a_label_map_of_background_alone_is_read(write: Write) -> None:
    data = read_dataset(write(1, values=(0,), labels={"0": {"0": "background"}}))
    assert data.structures == (NOT_ASKABLE,) and data.askable == []


def test_a_scan_that_is_gone_is_not_mistaken_for_another() -> None:
    gallery, grid = Gallery(), made([0]).scans[0].grid
    for k in range(1, 20):
        # A new scan is likely to lie in memory where the one before it was.
        labels = torch.full((2, 2, 2), k, dtype=torch.uint8)
        gone = Scan("s", grid, None, labels, body_box(labels > 0), 0)
        assert gallery.present(gone, 20).nonzero().tolist() == [[k]]
        del gone


def test_no_phantom_is_kept_back(tmp_path: Path) -> None:
    pool = load_pool(Source(phantoms=("arm", "leg"), phantom_scans=2, phantom_spacing=12.0, partners=1), tmp_path, tmp_path / "cache", 0)
    assert len(pool.learn.scans) == 4
    assert not pool.tune.scans
    # A pair is two people of one kind.
    assert set(pool.learn_affines) == {(0, 1), (1, 0), (2, 3), (3, 2)}
