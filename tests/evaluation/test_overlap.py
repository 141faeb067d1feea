"""Overlap of label maps against numbers counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from unireg_cli.evaluation.overlap import dice_per_label


def test_counted_by_hand() -> None:
    fixed = np.array([[[1, 1, 1, 0, 2, 2, 0, 7]]], np.uint8)
    warped = np.array([[[1, 1, 0, 1, 2, 0, 5, 0]]], np.uint8)
    # 1: 3 and 3 voxels, 2 shared; 2: 2 and 1 voxels, 1 shared; 7 is missing; 5 is not in the fixed map.
    assert dice_per_label(fixed, warped) == pytest.approx({1: 4 / 6, 2: 2 / 3, 7: 0.0})


def test_equal_maps_score_one_and_large_ids_work() -> None:
    labels = np.array([[[0, 40000, 40000, 3]]], np.uint16)
    assert dice_per_label(labels, labels) == {3: 1.0, 40000: 1.0}


def test_dtypes_may_differ() -> None:
    assert dice_per_label(np.array([[[200, 0]]], np.uint8), np.array([[[200, 200]]], np.int16)) == pytest.approx({200: 2 / 3})


def test_no_labels_give_nothing() -> None:
    assert dice_per_label(np.zeros((2, 2, 2), int), np.ones((2, 2, 2), int)) == {}


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="one shape"):
        dice_per_label(np.zeros((2, 2, 2), int), np.zeros((2, 2, 3), int))
