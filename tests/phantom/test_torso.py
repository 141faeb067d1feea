"""The torso as a function of the point: whatever grid draws it, the anatomy is the same."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from unireg_cli.phantom.anatomy import Anatomy, rotation
from unireg_cli.phantom.pair import PhantomPair, centred_grid
from unireg_cli.phantom.tissue import LABELS, NAMES, Material, hounsfield_tables
from unireg_cli.phantom.torso import Torso


def _center(labels: np.ndarray, points: np.ndarray, name: str) -> np.ndarray:
    return points[labels == LABELS[name]].mean(0)


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Labels and points of the template person on a 5 mm grid."""
    points = centred_grid((72, 56, 84), (5.0, 5.0, 5.0), np.eye(3), (0.0, 0.0, 30.0), 1.0).points_lps()
    return Torso().paint(points).labels.numpy(), points


def test_organs_lie_where_they_belong(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, points = drawn
    at = {name: _center(labels, points, name) for name in NAMES.values() if (labels == LABELS[name]).any()}
    # LPS: left is positive x, the back positive y, the head positive z.
    assert at["liver"][0] < -20 < 20 < at["spleen"][0]
    assert at["kidney_right"][0] < 0 < at["kidney_left"][0] and at["heart"][0] > 0
    assert at["aorta"][0] > at["inferior_vena_cava"][0]
    assert at["sternum"][1] < at["heart"][1] < at["vertebrae_T8"][1]
    assert at["lung_upper_lobe_left"][2] > at["lung_lower_lobe_left"][2] > at["spleen"][2] > at["kidney_left"][2]
    levels = ["L5", "L4", "L3", "L2", "L1", *(f"T{n}" for n in range(12, 3, -1))]
    assert all(at[f"vertebrae_{low}"][2] < at[f"vertebrae_{high}"][2] for low, high in pairwise(levels))
    assert all(at[f"rib_left_{n}"][0] > 20 and at[f"rib_right_{n}"][0] < -20 for n in range(3, 13))


def test_volumes_are_human(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    millilitres = np.bincount(drawn[0].ravel(), minlength=256) * 0.125
    ranges = {
        "liver": (900, 2200), "spleen": (80, 350), "kidney_left": (100, 260), "kidney_right": (100, 260), "heart": (300, 900),
        "gallbladder": (8, 70), "pancreas": (10, 120), "aorta": (60, 300), "stomach": (100, 500), "vertebrae_L3": (25, 100),
    }  # fmt: skip
    outside = {name: millilitres[LABELS[name]] for name, (low, high) in ranges.items() if not low < millilitres[LABELS[name]] < high}
    assert not outside
    assert (millilitres[list(NAMES)] > 0).sum() >= 60


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (5.0, -8.0, 25.0)])
def test_blocks_and_single_points_agree(turn: tuple[float, float, float]) -> None:
    torso = Torso(Anatomy.random(5))
    points = centred_grid((60, 50, 40), (6.0, 5.0, 9.0), rotation(turn), (3.0, 0.0, 20.0), 1.0).points_lps()
    block = torso.paint(points).labels.numpy()
    single = torso.labels_at(points.reshape(-1, 3)).reshape(block.shape)
    np.testing.assert_array_equal(block, single)


def test_people_differ_and_repeat() -> None:
    points = centred_grid((36, 28, 30), (10.0, 10.0, 10.0), np.eye(3), (0.0, 0.0, 20.0), 1.0).points_lps()
    first, again, other = (Torso(Anatomy.random(seed)).paint(points).labels.numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.03


def test_every_material_has_its_number() -> None:
    mean, spread = hounsfield_tables()
    assert len(mean) == len(Material) and mean[Material.AIR] == -1000 and (spread >= 0).all()


def test_hounsfield_units_of_organs(pair: PhantomPair) -> None:
    organs = ("liver", "spleen", "aorta", "lung_lower_lobe_left")
    median = {name: np.median(pair.fixed.voxels[pair.fixed_labels.voxels == LABELS[name]]) for name in organs}
    assert 90 < median["liver"] < 125 and 100 < median["spleen"] < 140 and 130 < median["aorta"] < 185
    assert -900 < median["lung_lower_lobe_left"] < -750
    assert abs(np.median(pair.fixed.voxels[:, :6, :6]) + 1000) < 1.5 and pair.fixed.voxels.dtype == np.int16
    fat = np.median(pair.fixed.voxels[pair.fixed_labels.voxels == LABELS["subcutaneous_fat"]])
    assert -125 < fat < -80


def test_noise_is_as_strong_as_asked(pair: PhantomPair) -> None:
    assert (pair.fixed_labels.voxels[:, :6, :6] == 0).all()
    corner = pair.fixed.voxels[:, :6, :6].astype(float)
    # 12 HU were asked for; clipping at -1024, two spreads away, takes off little.
    assert 11 < corner.std() < 12.5
