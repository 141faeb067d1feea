from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from unireg_cli.similarity.measure import measure, overlap
from unireg_cli.types import Similarity

SHAPE = (14, 15, 16)


def texture(seed: int) -> Tensor:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.5)
    return torch.from_numpy((smooth - smooth.min()) / (smooth.max() - smooth.min())).float()


@pytest.mark.parametrize(("choice", "channels"), [(Similarity.LNCC, 1), (Similarity.MIND, 12)])
def test_every_choice_has_features_and_calls_equal_images_equal(choice: Similarity, channels: int) -> None:
    chosen = measure(choice)
    fixed, other = chosen.features(texture(0)), chosen.features(texture(1))
    assert fixed.shape == (channels, *SHAPE)
    known = torch.ones(SHAPE)
    same, different = (float(chosen.comparison.total(fixed, moved, known)) / known.numel() for moved in (fixed, other))
    assert 0.9 < same <= 1 + 1e-5
    assert different < same - 0.03


@pytest.mark.parametrize("choice", [Similarity.LNCC, Similarity.MIND])
def test_the_gradient_times_a_small_change_is_the_change_of_the_total(choice: Similarity) -> None:
    chosen = measure(choice)
    fixed, moved = (chosen.features(texture(seed)).double() for seed in (0, 1))
    change = torch.from_numpy(np.random.default_rng(2).normal(size=fixed.shape))
    weight = (texture(3) > 0.4).double()
    gradient = chosen.comparison.total_and_gradient(fixed, moved, weight)[1]
    ahead, behind = (float(chosen.comparison.total(fixed, moved + step * change, weight)) for step in (1e-6, -1e-6))
    assert float((gradient * change).sum()) == pytest.approx((ahead - behind) / 2e-6, rel=1e-4)


def test_overlap_is_at_least_half_of_what_is_possible() -> None:
    weight = torch.zeros(4, 5, 6)
    weight[:3] = 1.0
    assert overlap(weight, 120) == 90
    weight[1:] = 0.0
    assert overlap(weight, 120) == 60
    assert overlap(weight, 40) == 30


def test_auto_must_be_resolved_before() -> None:
    with pytest.raises(KeyError):
        measure(Similarity.AUTO)
