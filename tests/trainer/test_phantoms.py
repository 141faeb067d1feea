"""Made-up people: reproducible, anatomically in order, and known to the vocabulary."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from trainer.figures.gyri import _MIDDLES
from trainer.figures.scene import FILLERS, Scene, label_value
from trainer.phantoms import KINDS, LABEL_VALUES, phantom_scan
from unireg_cli.errors import UsageError
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.phantom.anatomy import Anatomy
from unireg_cli.phantom.pair import centred_grid
from unireg_cli.spatial import Image

Scan = tuple[Image, dict[int, int]]
SEEDS = (0, 3, 4)
SPACING = {"head": 4.0, "brain": 4.0, "heart": 4.0}


@pytest.fixture(scope="module")
def scans() -> dict[tuple[str, int], Scan]:
    return {(kind, seed): phantom_scan(kind, seed, SPACING.get(kind, 6.0)) for kind in KINDS for seed in SEEDS}


def middles(scan: Scan) -> dict[str, np.ndarray]:
    """LPS mm of the centroid of each structure."""
    image, structures = scan
    points, values = image.grid.points_lps(), image.voxels.ravel()
    counts = np.bincount(values, minlength=LABEL_VALUES)
    sums = np.stack([np.bincount(values, points[..., axis].ravel(), LABEL_VALUES) for axis in range(3)], 1)
    return {vocabulary().name_of(id): sums[value] / counts[value] for value, id in structures.items()}


def bilateral(found: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    for name in found:
        partner = vocabulary().left_right_partner(label_value(name) - 1)
        other = None if partner is None else vocabulary().name_of(partner)
        if "left" in name and other in found and other != name:
            yield name, other


def test_equal_seeds_give_equal_people() -> None:
    for kind in KINDS:
        first, again, other = (phantom_scan(kind, seed, 9.0) for seed in (1, 1, 2))
        assert np.array_equal(first[0].voxels, again[0].voxels)
        assert first[0].grid == again[0].grid
        assert first[1] == again[1]
        assert first[0].grid != other[0].grid
        overlap = np.minimum(first[0].grid.shape, other[0].grid.shape)
        a, b = (scan[0].voxels[tuple(slice(n) for n in overlap)] for scan in (first, other))
        assert (a != b).mean() > 0.02


def test_all_labels_are_structures_or_fillers(scans: dict[tuple[str, int], Scan]) -> None:
    fillers = {0, *(label_value(name) for name in FILLERS)}
    for (kind, _), (image, structures) in scans.items():
        assert image.voxels.dtype == np.int16
        assert set(np.unique(image.voxels)) == {*structures, *(fillers & set(np.unique(image.voxels).tolist()))}, kind
        assert max(structures) < LABEL_VALUES
        for value, id in structures.items():
            assert vocabulary().structure_id(vocabulary().name_of(id)) == id
            assert label_value(vocabulary().name_of(id)) == value


def test_most_of_the_vocabulary_and_all_its_regions_are_there(scans: dict[tuple[str, int], Scan]) -> None:
    found = {kind: frozenset[int]().union(*(set(scans[kind, seed][1].values()) for seed in SEEDS)) for kind in KINDS}
    assert len(found["torso"] | found["head"]) >= 150
    everything = frozenset[int]().union(*found.values())
    assert len(everything) >= 280
    for region, members in vocabulary().members.items():
        assert len(members & everything) >= min(10, len(members)), region
    assert len(everything & vocabulary().members["heart"]) >= 10
    assert {id for name in _MIDDLES for side in ("left", "right") if (id := vocabulary().structure_id(f"{name}_{side}"))} <= everything


def test_left_is_left_of_right(scans: dict[tuple[str, int], Scan]) -> None:
    checked = set[str]()
    for (kind, seed), scan in scans.items():
        found = middles(scan)
        for left, right in bilateral(found):
            # Left is +x.
            assert found[left][0] > found[right][0], (kind, seed, left)
            checked.add(left)
    assert len(checked) >= 100


def test_an_arm_lies_on_its_own_side() -> None:
    sides = set[str]()
    for seed in range(8):
        found = middles(phantom_scan("arm", seed, 8.0))
        side = "left" if found["humerus_left" if "humerus_left" in found else "humerus_right"][0] > 0 else "right"
        assert {name.rsplit("_", 1)[1] for name in found} == {side}
        sides.add(side)
    assert sides == {"left", "right"}


# Pairs of structures and the LPS axis along which the first lies further: x left, y posterior, z superior.
@pytest.mark.parametrize(
    ("kind", "further", "nearer", "axis"),
    [
        ("torso", "heart_or_parts", "liver", 2),
        ("torso", "vertebrae_L1", "liver", 1),
        ("torso", "vertebrae_T8", "vertebrae_L3", 2),
        ("heart", "heart_ventricle_left", "heart_ventricle_right", 0),
        ("pelvis", "rectum", "urinary_bladder", 1),
        ("pelvis", "sacrum", "hip_left", 1),
        ("pelvis", "hip_left", "femur_left", 2),
        ("pelvis", "femur_left", "hip_left", 0),
        ("head", "brainstem_or_parts", "mandible", 2),
        ("head", "vertebrae_C3", "vertebrae_C6", 2),
        ("head", "vertebrae_C4", "trachea", 1),
        ("head", "spinal_cord", "eye_left", 1),
        ("head", "eye_left", "optic_nerve_left", 0),
        ("head", "thalamus_left", "pituitary_gland", 2),
        ("brain", "cerebellum_cortex_left", "thalamus_left", 1),
        ("brain", "putamen_left", "pallidum_left", 0),
        ("brain", "third_ventricle", "fourth_ventricle", 2),
    ],
)
def test_structures_lie_in_order(scans: dict[tuple[str, int], Scan], kind: str, further: str, nearer: str, axis: int) -> None:
    instead = {"heart_or_parts": ("heart", "heart_myocardium"), "brainstem_or_parts": ("brainstem", "pons")}
    checked = 0
    for seed in SEEDS:
        found = middles(scans[kind, seed])
        first = next((found[name] for name in instead.get(further, (further,)) if name in found), None)
        if first is not None and nearer in found:
            checked += 1
            assert first[axis] > found[nearer][axis], seed
    # A person in twenty lacks an organ.
    assert checked >= len(SEEDS) - 1


def test_the_knee_is_between_thigh_and_shank() -> None:
    complete = 0
    for seed in range(4):
        found = middles(phantom_scan("leg", seed, 8.0))
        if {"femur_left", "patella_left", "tibia_left", "fibula_left"} <= set(found):
            complete += 1
            assert found["femur_left"][2] > found["patella_left"][2] > found["tibia_left"][2]
            assert found["patella_left"][1] < found["femur_left"][1]
            assert found["fibula_left"][0] > found["tibia_left"][0]
    assert complete >= 2


def test_the_person_does_not_depend_on_the_voxels() -> None:
    fine, coarse = middles(phantom_scan("head", 3, 3.0)), middles(phantom_scan("head", 3, 4.0))
    for name in ("cerebral_white_matter_left", "mandible", "eye_left", "parotid_gland_right"):
        assert np.abs(fine[name] - coarse[name]).max() < 1.5, name


@pytest.mark.parametrize("spacing", [4.0, 7.5])
def test_voxels_have_the_asked_edges(spacing: float) -> None:
    grid = phantom_scan("pelvis", 0, spacing)[0].grid
    assert grid.spacing == pytest.approx((spacing,) * 3)
    assert np.array_equal(grid.cosines, np.eye(3))


def test_a_removed_organ_leaves_fat() -> None:
    points = centred_grid((40, 30, 30), (8.0, 8.0, 8.0), np.eye(3), (0.0, 0.0, 0.0), 1.0).points_lps()
    whole = Scene.torso(Anatomy(), points).finished()
    without = Scene.torso(Anatomy(), points, ["spleen"]).finished()
    spleen = label_value("spleen")
    assert spleen in whole[1]
    assert spleen not in without[1]
    assert set(np.unique(without[0][whole[0] == spleen])) == {label_value("visceral_fat")}
    assert np.array_equal(without[0][whole[0] != spleen], whole[0][whole[0] != spleen])


def test_people_lack_organs_now_and_then() -> None:
    glands = [label_value(f"parotid_gland_{side}") for side in ("left", "right")]
    has = [gland in phantom_scan("head", seed, 7.0)[1] for seed in range(20) for gland in glands]
    # One in twenty: 2 of 40 expected.
    assert 32 <= sum(has) < 40


@pytest.mark.parametrize(
    ("kind", "spacing", "match"),
    [("tail", 3.0, "torso, heart"), ("head", 0.1, "between 0.5 and 20 mm"), ("head", float("nan"), "found nan")],
)
def test_what_cannot_be_scanned_is_refused(kind: str, spacing: float, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        phantom_scan(kind, 0, spacing)


def test_names_outside_the_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match="'flux capacitor' is no structure"):
        label_value("flux capacitor")
