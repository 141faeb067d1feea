"""Overlap of label maps against numbers counted by hand."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
import torch

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


@pytest.fixture(scope="module")
def monai_metrics() -> Any:
    """MONAI as an oracle; the test is skipped where it is not installed."""
    try:
        with warnings.catch_warnings():
            # Warnings of the other package's own imports are none of our business.
            warnings.simplefilter("ignore")
            return importlib.import_module("monai.metrics")
    except ModuleNotFoundError as error:
        pytest.skip(f"needs MONAI as an oracle (pip install monai): {error}")


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_monai(monai_metrics: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    fixed = random.integers(0, 6, (9, 8, 7))
    warped = np.where(random.random(fixed.shape) < 0.6, fixed, random.integers(0, 8, fixed.shape))
    # 4 is lost by the warp; 6 and 7 are only in the warped map.
    warped[warped == 4] = 0
    one_hot = [torch.nn.functional.one_hot(torch.from_numpy(labels), 8).movedim(-1, 0)[None] for labels in (warped, fixed)]
    theirs = monai_metrics.compute_dice(*one_hot, include_background=False)[0].numpy()
    ours = dice_per_label(fixed, warped)
    # MONAI says nan of what the fixed map lacks; we say nothing.
    assert set(ours) == set((np.flatnonzero(~np.isnan(theirs)) + 1).tolist()) == {1, 2, 3, 4, 5}
    assert [ours[label] for label in sorted(ours)] == pytest.approx(theirs[:5].tolist(), abs=1e-6)
    assert ours[4] == 0
