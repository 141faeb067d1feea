"""The vocabulary: what words mean, and that numbers never change."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from unireg_cli.errors import InputError, UsageError
from unireg_cli.model.anatomy import Vocabulary, vocabulary
from unireg_cli.model.anatomy_table import AnatomyTable, Flip, Group, Region, Structure, read_table
from unireg_cli.model.labels import map_labels
from unireg_cli.phantom.tissue import NAMES, TISSUES

# Ids are the places in the embeddings of weights that exist. Rows may be added after these, and then this may be added to.
FROZEN_ROWS = 364
FROZEN_SHA256 = "a2ecb393bf17b8a76043e4a1665f74ca89a063e86a688e258a55412822023048"

# Values of brain_mr's list that no label map has, that are no structure (lesion, tablet, colours, sulcal lines), or that differ
# in kind from person to person (vessel; cerebral exterior, about 100 voxels left over by the parcellation).
BRAIN_MR_UNUSED = [
    *("Unlabeled", "aals", "ahls", "calcarine", "central", "central_insular", "cingulate", "circular", "collateral", "first_transverse"),
    *("Heschls", "inferior_frontal", "intraparietal", "primary_inter", "lateral_occipital", "occ_temporal", "olfactory", "par_occipital"),
    *("pals", "phls", "postcentral", "precentral", "subparietal", "superior_frontal", "superior_temporal", "frontomarginal"),
    *("inferior_rostral", "inferior_temporal", "lateral_orbital", "superior_rostral", "lateral", "anterior_occipital", "lhos", "mhos"),
    *("superior_vermal_sulcus", "central_vermal_sulcus", "inferior_vermal_sulcus", "lateral_vermal_sulcus", "thos"),
    *("RED", "YELLOW", "CYAN", "Vitamin E Tablet", "Right Lesion", "Left Lesion", "Right vessel", "Left vessel", "Basal Forebrain"),
    *("Right Cerebral Exterior", "Left Cerebral Exterior"),
]


@pytest.fixture(scope="module")
def words() -> Vocabulary:
    return vocabulary()


def id_of(words: Vocabulary, label: str) -> int:
    id = words.structure_id(label)
    assert id is not None
    return id


def names_of(words: Vocabulary, *asked: str) -> set[str]:
    return {words.name_of(id) for id in words.resolve(asked).structures}


def test_ids_are_unique_without_gap_and_never_change() -> None:
    table = read_table()
    rows = sorted([(row.id, row.name) for row in table.structures] + [(row.id, row.name) for row in table.regions])
    assert [id for id, _ in rows] == list(range(len(rows)))
    text = "\n".join(f"{id},{name}" for id, name in rows[:FROZEN_ROWS])
    assert hashlib.sha256(text.encode()).hexdigest() == FROZEN_SHA256
    assert len({structure.name for structure in table.structures}) == len(table.structures) >= 90


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("liver", "liver"),
        ("LIVER", "liver"),
        ("left kidney", "kidney_left"),
        ("Kidney-Left", "kidney_left"),
        ("LK", "kidney_left"),
        ("rk", "kidney_right"),
        ("IVC", "inferior_vena_cava"),
        ("inferior vena-cava", "inferior_vena_cava"),
        ("small intestine", "small_bowel"),
        ("Left-Hippocampus", "hippocampus_left"),
        ("hippocampus_l", "hippocampus_left"),
        ("rh-hippocampus", "hippocampus_right"),
        ("hippocampus_anterior", "hippocampus_anterior"),
        ("Left-Inf-Lat-Vent", "inferior_lateral_ventricle_left"),
        ("Right-VentralDC", "ventral_diencephalon_right"),
        ("Left-Thalamus-Proper*", "thalamus_left"),
        ("Left-Thalamus", "thalamus_left"),
        ("Left Pallidum", "pallidum_left"),
        ("Right globus pallidus", "pallidum_right"),
        ("Left Cerebellum Exterior", "cerebellum_cortex_left"),
        ("Brain-Stem", "brainstem"),
        ("3rd-Ventricle", "third_ventricle"),
        ("CC_Mid_Anterior", "corpus_callosum"),
        ("Right AnG   angular gyrus", "angular_gyrus_right"),
        ("Left CO    central operculum", "central_operculum_left"),
        ("left ventricle", "heart_ventricle_left"),
        ("RV", "heart_ventricle_right"),
        ("myocardium", "heart_myocardium"),
        ("Left Lateral Ventricle", "lateral_ventricle_left"),
        ("left rib 1", "rib_left_1"),
        ("rib_left_11", "rib_left_11"),
        ("L5", "vertebrae_L5"),
        ("vertebrae_l1", "vertebrae_L1"),
    ],
)
def test_spellings_of_one_structure(words: Vocabulary, spelling: str, name: str) -> None:
    assert names_of(words, spelling) == {name}
    assert words.name_of(id_of(words, spelling)) == name


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("kidneys", {"kidney_left", "kidney_right"}),
        ("kidney", {"kidney_left", "kidney_right"}),
        ("femurs", {"femur_left", "femur_right"}),
        ("rib 3", {"rib_left_3", "rib_right_3"}),
        ("ribs left", {f"rib_left_{n}" for n in range(1, 13)}),
        ("lumbar spine", {f"vertebrae_L{n}" for n in range(1, 6)}),
        ("left lung", {"lung_left", "lung_upper_lobe_left", "lung_lower_lobe_left"}),
        ("middle lobe", {"lung_middle_lobe_right"}),
        ("hippocampus", {"hippocampus_left", "hippocampus_right", "hippocampus_anterior", "hippocampus_posterior"}),
        ("heart_ventricle", {"heart_ventricle_left", "heart_ventricle_right"}),
        ("heart ventricles", {"heart_ventricle_left", "heart_ventricle_right"}),
        ("caudate nucleus", {"caudate_left", "caudate_right"}),
        ("insula_left", {"insula_left", "anterior_insula_left", "posterior_insula_left"}),
        ("heart_myocardium", {"heart_myocardium"}),
        ("liver,spleen", {"liver", "spleen"}),
        (" liver , left kidney ", {"liver", "kidney_left"}),
    ],
)
def test_groups_wholes_and_lists(words: Vocabulary, word: str, expected: set[str]) -> None:
    assert names_of(words, word) == expected
    assert words.resolve([word]).regions == frozenset()


def test_lobes_hold_gyri_of_their_side_only(words: Vocabulary) -> None:
    frontal = names_of(words, "left frontal lobe")
    assert {"precentral_gyrus_left", "anterior_orbital_gyrus_left", "triangular_part_of_the_inferior_frontal_gyrus_left"} <= frontal
    assert "postcentral_gyrus_left" not in frontal
    assert not any(name.endswith("_right") for name in frontal)
    assert frontal < names_of(words, "cerebral_cortex_left")


def test_regions_hold_what_is_expected_of_them(words: Vocabulary) -> None:
    abdomen, chest, torso = (names_of(words, word) for word in ("abdomen", "Thorax", "torso"))
    assert {"liver", "aorta", "inferior_vena_cava", "esophagus", "kidney_left"} <= abdomen
    assert {"prostate", "hippocampus_left", "heart"}.isdisjoint(abdomen)
    assert {"lung_left", "rib_left_3", "heart", "heart_ventricle_left"} <= chest
    assert abdomen | chest < torso
    assert "brain" not in torso
    assert names_of(words, "heart") < chest
    request = words.resolve(["abdomen"])
    assert [words.name_of(id) for id in request.regions] == ["abdomen"]
    assert request.words == ("abdomen",)


def test_every_region_of_the_data_sets_is_known(words: Vocabulary) -> None:
    regions = ("abdomen", "brain", "heart", "torso", "pelvis", "chest", "head_neck", "spine", "limbs")
    assert all(words.resolve([region]).regions for region in regions)


def test_all_is_everything_and_the_default(words: Vocabulary) -> None:
    everything = words.resolve([])
    assert everything == words.resolve(["ALL"])
    assert everything.everything
    assert len(everything.structures) == len(words.table.structures)


def test_request_by_ids_is_the_request_by_words(words: Vocabulary) -> None:
    ids = [id_of(words, label) for label in ("liver", "left lung", "heart")]
    assert words.request(ids) == words.resolve(["liver,lung_left,heart"])


def test_words_of_a_request_make_the_same_request(words: Vocabulary) -> None:
    table = words.table
    spellings = [spelling for row in (*table.structures, *table.groups, *table.regions) for spelling in (row.name, *row.synonyms)]
    # Names for both sides.
    spellings += [name.removesuffix("_left") for name in spellings if name.endswith("_left")]
    for spelling in spellings:
        asked = words.resolve([spelling])
        assert words.resolve(asked.words) == asked, spelling


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("livr", "liver"),
        ("hipocampus", "hippocampus"),
        ("left kidny", "kidney_left"),
        ("left liver", "liver"),
        ("ventricles", "heart_ventricles or brain_ventricles"),
        ("tyroid", "thyroid_gland"),
    ],
)
def test_unknown_word_names_near_matches(words: Vocabulary, word: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        words.resolve(["spleen", word])
    text = str(caught.value)
    assert f"unknown name {word!r}; did you mean {near}" in text
    assert "unireg anatomies" in text
    assert "\n" not in text


def test_all_unknown_words_are_named_at_once(words: Vocabulary) -> None:
    with pytest.raises(UsageError, match=r"'xyzzy'.*'qqqqq'"):
        words.resolve(["liver,xyzzy", "qqqqq"])


@pytest.mark.parametrize("asked", [[""], ["liver,"], ["liver,,spleen"], ["all", "liver"]])
def test_requests_that_mean_nothing(words: Vocabulary, asked: list[str]) -> None:
    with pytest.raises(UsageError):
        words.resolve(asked)


@pytest.mark.parametrize(
    ("name", "partner"),
    [
        ("kidney_left", "kidney_right"),
        ("rib_right_7", "rib_left_7"),
        ("liver", "liver"),
        ("angular_gyrus_left", "angular_gyrus_right"),
        # Named by function, not by side: in the mirror the thick-walled chamber is still the left ventricle.
        ("heart_ventricle_left", "heart_ventricle_left"),
        ("hippocampus_anterior", "hippocampus_anterior"),
        ("lung_lower_lobe_left", "lung_lower_lobe_right"),
        # The left lung has no middle lobe.
        ("lung_middle_lobe_right", None),
    ],
)
def test_left_right_partner(words: Vocabulary, name: str, partner: str | None) -> None:
    found = words.left_right_partner(id_of(words, name))
    assert (None if found is None else words.name_of(found)) == partner


def test_partners_are_symmetric(words: Vocabulary) -> None:
    for id in range(words.size):
        partner = words.left_right_partner(id)
        if partner is not None:
            assert words.left_right_partner(partner) == id
            assert words.region_of(partner) == words.region_of(id)


@pytest.mark.parametrize(("name", "region"), [("liver", "abdomen"), ("RV", "heart"), ("rib_left_1", "chest"), ("Left Putamen", "brain")])
def test_region_of(words: Vocabulary, name: str, region: str) -> None:
    id = words.region_of(id_of(words, name))
    assert words.name_of(id) == region
    assert words.region_of(id) == id


TINY = AnatomyTable(
    structures=(
        Structure(0, "ear_left", ("head",), ("ears",), Flip.SWAP, ()),
        Structure(1, "ear_right", ("head",), ("ears",), Flip.SWAP, ()),
    ),
    regions=(Region(2, "head", ("all",), ()), Region(3, "all", (), ())),
    groups=(Group("ears", (), ()),),
)


def test_tiny_table_by_hand() -> None:
    tiny = Vocabulary.from_table(TINY)
    assert tiny.size == 4
    assert tiny.resolve(["ears"]).structures == frozenset({0, 1})
    assert tiny.left_right_partner(0) == 1
    assert tiny.region_of(1) == 2


@pytest.mark.parametrize(
    "row",
    [
        Structure(4, "ear_right", ("head",), (), Flip.SWAP, ()),
        Structure(1, "ear_right", ("neck",), (), Flip.SWAP, ()),
        Structure(1, "ear_right", ("head",), ("noses",), Flip.SWAP, ()),
        Structure(1, "ear_rite", ("head",), (), Flip.SAME, ()),
        Structure(1, "ear_right", ("head",), (), Flip.SWAP, ("Left Ear",)),
        Structure(1, "ears", ("head",), (), Flip.SAME, ()),
    ],
)
def test_inconsistent_tables_are_refused(row: Structure) -> None:
    with pytest.raises(ValueError, match="table of anatomies"):
        Vocabulary.from_table(replace(TINY, structures=(TINY.structures[0], row)))


def test_labels_map_by_name_and_synonym(words: Vocabulary) -> None:
    names = {0: "background", 3: "Left-Pallidum", 7: "liver", 9: "CC_Anterior", 10: "CC_Posterior", 11: "tumour"}
    mapped = map_labels(names, words, unused=["Tumour"], where="dataset.json")
    assert {value: words.name_of(id) for value, id in mapped.items()} == {
        3: "pallidum_left",
        7: "liver",
        9: "corpus_callosum",
        10: "corpus_callosum",
    }


@pytest.mark.parametrize(
    ("names", "unused", "expected"),
    [
        ({1: "liver", 2: "tumour", 3: "gizmo"}, [], r"dataset.json: labels that name no structure .*: 2 'tumour', 3 'gizmo'; .*unused"),
        # A label is one structure: not both kidneys, not a region.
        ({1: "kidney", 2: "kidneys", 3: "abdomen"}, [], r"1 'kidney', 2 'kidneys', 3 'abdomen'"),
        ({1: "left ear canal", 2: "ventricle"}, [], "1 'left ear canal', 2 'ventricle'"),
        ({1: "kidney_left", 2: "Left Kidney"}, [], "same name: 'kidney_left', 'Left Kidney'"),
        ({1: "liver"}, ["liverr"], "marked unused, but no label .*'liverr'"),
        ({0: "liver", 1: "spleen"}, [], "label 0 is 'liver'"),
    ],
)
def test_label_names_that_do_not_map(words: Vocabulary, names: dict[int, str], unused: list[str], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        map_labels(names, words, unused=unused, where="dataset.json")


def test_phantom_maps_completely(words: Vocabulary) -> None:
    mapped = map_labels(NAMES, words, unused=[NAMES[label] for label in TISSUES], where="phantom")
    assert len(mapped) == len(NAMES) - len(TISSUES)
    assert all(words.name_of(id) == NAMES[value] for value, id in mapped.items())


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "unused", "count"),
    [
        ("abdomen_ct", [], 13),
        ("abdomen_mr", [], 4),
        ("brain_labels", [], 33),
        ("cardiac_mr", [], 3),
        ("hippocampus_mr", [], 2),
        ("torso_ct_example", [], 61),
        ("brain_mr", BRAIN_MR_UNUSED, 201 - 50),
    ],
)
def test_shared_data_sets_map_completely(words: Vocabulary, shared_data: Path, name: str, unused: list[str], count: int) -> None:
    described = json.loads((shared_data / name / "dataset.json").read_text("utf-8"))
    labels = {int(value): label for value, label in described["labels"]["0"].items()}
    mapped = map_labels(labels, words, unused=unused, where=name)
    assert len(mapped) == len(set(mapped.values())) == count
    for value, id in mapped.items():
        assert ("left" in labels[value].lower()) == ("left" in words.name_of(id))
        assert ("right" in labels[value].lower()) == ("right" in words.name_of(id))
    assert set(mapped.values()) <= words.members[described["region"]]


@pytest.mark.data
def test_every_name_of_the_list_of_names_is_in_the_table(words: Vocabulary, shared_data: Path) -> None:
    names = json.loads((shared_data.parent / "anatomy_names.json").read_text("utf-8"))
    assert len(names) == 117
    assert all(words.name_of(id_of(words, name)) == name for name in names.values())
