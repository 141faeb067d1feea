"""Lists of pairs, and what is held back of them."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from people import people
from tuning import listed

from trainer.datasets import NOT_ASKABLE
from trainer.finetune_data import Pairs, crossed, hold_out, read_pairs, with_partners
from trainer.prealign import Key
from unireg_cli.errors import InputError, UsageError
from unireg_cli.types import Modality, Mode


def pairs_of(count: int, keys: list[Key]) -> Pairs:
    return Pairs(people(count), tuple(keys), {1: "liver"}, (True,) * count, None, Modality.MR)


def names(pairs: Pairs) -> list[tuple[str, str]]:
    scans = pairs.data.scans
    return [(scans[a].name.removeprefix("person"), scans[b].name.removeprefix("person")) for a, b in pairs.pairs]


def test_scans_alone_make_every_pair_and_listed_pairs_only_themselves(organs: Path) -> None:
    every = read_pairs(listed(organs, "every", (0, 1, 2)))
    assert every.pairs == ((0, 1), (0, 2), (1, 2)) and every.region == "abdomen" and every.labelled == (True,) * 3
    assert [scan.person for scan in every.data.scans] == [0, 1, 2] and every.data.mode is Mode.INTER
    two = [{"0": "./scan2.nii.gz", "1": "scan0.nii.gz"}, {"fixed": "scan4.nii.gz", "moving": "scan0.nii.gz"}]
    some = read_pairs(listed(organs, "some", (0, 1, 2), training_paired_images=two))
    # A scan that is only in a pair has no labels; one that is in none is not read.
    assert [scan.name for scan in some.data.scans] == ["scan2.nii.gz", "scan0.nii.gz", "scan4.nii.gz"]
    assert some.pairs == ((0, 1), (2, 1)) and some.labelled == (True, True, False)
    assert some.has_labels((0, 1)) and not some.has_labels((2, 1))


def test_labels_are_those_of_the_files_in_the_order_of_their_values(organs: Path) -> None:
    found = read_pairs(listed(organs, "values", (0, 1), labels={"0": {"0": "background", "3": "thing", "1": "liver"}}))
    raw = sitk.GetArrayFromImage(sitk.ReadImage(str(organs / "labels1.nii.gz")))
    expected = np.select([raw == 1, raw == 3], [1, 2], 0)
    assert found.names == {1: "liver", 2: "thing"} and np.array_equal(found.data.scans[1].labels.numpy(), expected)
    assert found.data.structures == (NOT_ASKABLE,) * 3 and found.called({2: 77}).data.structures == (NOT_ASKABLE, NOT_ASKABLE, 77)


def test_pairs_of_one_person_are_one(organs: Path) -> None:
    two = [{"0": "scan0.nii.gz", "1": "scan1.nii.gz"}, {"0": "scan2.nii.gz", "1": "scan3.nii.gz"}]
    found = read_pairs(listed(organs, "visits", (), labelled=False, mode="intra", training_paired_images=two, labels=None))
    assert [scan.person for scan in found.data.scans] == [0, 0, 2, 2] and found.labelled == (False,) * 4 and found.names == {}
    assert all(not torch.any(scan.labels) for scan in found.data.scans)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"scans": (0,)}, InputError, "no pair; list two scans"),
        ({"labels": None}, InputError, "label maps without names"),
        ({"mode": "intra"}, InputError, "no pairs of one person are listed"),
        ({"mode": "both"}, InputError, "not a list of pairs"),
        ({"training_paired_images": [{"0": "scan1.nii.gz", "1": "scan1.nii.gz"}]}, InputError, "scan1.nii.gz is paired with itself"),
        ({"training_paired_images": [{"0": "a.nii", "1": f"{k}.nii"} for k in range(51)]}, UsageError, "51 pairs; finetune takes 1 to 50"),
        ({"training_paired_images": [{"0": "scan0.nii.gz", "1": "none.nii"}]}, InputError, "none.nii"),
    ],
)
def test_lists_that_cannot_be_used_say_why(organs: Path, changes: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        read_pairs(listed(organs, "wrong", **changes))


def test_an_image_listed_with_two_label_maps_is_refused(organs: Path) -> None:
    path = listed(organs, "twice", (0, 1))
    content = json.loads(path.read_text())
    content["training"].append(content["training"][0] | {"label": "labels1.nii.gz"})
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"scan0\.nii\.gz is listed twice with other labels"):
        read_pairs(path)


def test_last_of_five_separate_pairs_is_held_back() -> None:
    learned, held, shared = hold_out(pairs_of(10, [(2 * k, 2 * k + 1) for k in range(5)]))
    assert held is not None and not shared
    assert names(held) == [("8", "9")] and names(learned) == [("0", "1"), ("2", "3"), ("4", "5"), ("6", "7")]


def test_nothing_is_learned_from_scans_held_back() -> None:
    learned, held, shared = hold_out(pairs_of(10, list(combinations(range(10), 2))))
    assert held is not None and not shared
    # Of ten scans four are held back: 6 pairs of them against 15 of the others; 3 against 21 would be too few.
    assert len(held.pairs) == 6 and len(learned.pairs) == 15
    assert {scan.name for scan in held.data.scans}.isdisjoint(scan.name for scan in learned.data.scans)


def test_scans_are_shared_where_too_little_would_be_left() -> None:
    star = [(0, k) for k in range(1, 11)]
    learned, held, shared = hold_out(pairs_of(11, star))
    assert held is not None and shared
    assert names(held) == [("0", "9"), ("0", "10")] and len(learned.pairs) == 8


def test_one_pair_leaves_nothing_to_hold_back() -> None:
    one = pairs_of(2, [(0, 1)])
    assert hold_out(one) == (one, None, False)


def test_both_ways_is_each_pair_and_its_reverse_once() -> None:
    assert pairs_of(4, [(0, 1), (2, 3), (3, 2)]).both_ways().pairs == ((0, 1), (1, 0), (2, 3), (3, 2))


def test_scans_held_back_meet_others_until_there_are_enough_pairs() -> None:
    learned, held, _ = hold_out(pairs_of(10, [(2 * k, 2 * k + 1) for k in range(5)]))
    assert held is not None
    both = held.both_ways()
    more = with_partners(both, learned, 6)
    # Nothing that is learned from is a fixed image, and every pair shows a scan that is held back.
    assert names(more) == [("8", "9"), ("9", "8"), ("8", "0"), ("9", "1"), ("8", "1"), ("9", "2")]
    assert len(more.labelled) == len(more.data.scans) == 5 and more.data.scans[:2] == both.data.scans
    assert with_partners(both, learned, 2) == both


def test_more_pairs_than_there_are_partners_are_not_made_twice() -> None:
    learned, held, _ = hold_out(pairs_of(4, [(0, 1), (2, 3)]))
    assert held is not None
    assert names(with_partners(held, learned, 99)) == [("2", "3"), ("2", "0"), ("3", "1"), ("2", "1"), ("3", "0")]


def test_partners_are_labelled_where_any_is_and_of_one_person_there_are_none() -> None:
    learned, held, _ = hold_out(pairs_of(10, [(2 * k, 2 * k + 1) for k in range(5)]))
    assert held is not None
    some = replace(learned, labelled=(False, True) + (False,) * 6)
    assert names(with_partners(held, some, 9)) == [("8", "9"), ("8", "1"), ("9", "1")]
    none = replace(learned, labelled=(False,) * 8)
    assert names(with_partners(held, none, 3)) == [("8", "9"), ("8", "0"), ("9", "1")]
    visits = replace(held, data=replace(held.data, mode=Mode.INTRA))
    assert with_partners(visits, learned, 9) == visits


def test_scans_learned_from_meet_each_other_but_not_as_pairs_that_are_held_back() -> None:
    learned, held, _ = hold_out(pairs_of(10, [(2 * k, 2 * k + 1) for k in range(5)]))
    assert held is not None
    assert names(crossed(learned, held, 7))[4:] == [("1", "2"), ("3", "4"), ("5", "6")]
    # Eight scans make 28 pairs.
    assert len(set(map(frozenset, names(crossed(learned, held, 99))))) == 28
    assert crossed(learned, held, 2).pairs == learned.pairs
    visits = replace(learned, data=replace(learned.data, mode=Mode.INTRA))
    assert crossed(visits, held, 99) == visits
    # Three scans: the pair held back is all that could be added, and it is listed the other way round.
    some, last = pairs_of(3, [(0, 1), (0, 2)]), pairs_of(3, [(2, 1)])
    assert crossed(some, last, 99).pairs == some.pairs


def test_modality_is_the_one_of_all_scans(organs: Path) -> None:
    assert read_pairs(listed(organs, "plain", (0, 1), modality={"0": "MR"})).modality is Modality.OTHER
    assert read_pairs(listed(organs, "hounsfield", (0, 1), modality={"0": "CT"})).modality is Modality.CT
