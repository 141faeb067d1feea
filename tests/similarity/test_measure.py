from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from unireg_cli.similarity.lncc import Score
from unireg_cli.similarity.measure import divisor, measure
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
    same, different = (chosen.comparison.score(fixed, moved, known) for moved in (fixed, other))
    assert same.attainable == pytest.approx(different.attainable)
    assert 0.95 < same.total / same.attainable <= 1
    assert different.total < same.total - 0.03 * same.attainable


@pytest.mark.parametrize("choice", [Similarity.LNCC, Similarity.MIND])
def test_the_gradient_times_a_small_change_is_the_change_of_the_total(choice: Similarity) -> None:
    chosen = measure(choice)
    fixed, moved = (chosen.features(texture(seed)).double() for seed in (0, 1))
    change = torch.from_numpy(np.random.default_rng(2).normal(size=fixed.shape))
    weight = (texture(3) > 0.4).double()
    gradient = chosen.comparison.score_and_gradient(fixed, moved, weight)[1]
    ahead, behind = (chosen.comparison.score(fixed, moved + step * change, weight).total for step in (1e-6, -1e-6))
    assert float((gradient * change).sum()) == pytest.approx((ahead - behind) / 2e-6, rel=1e-4)


def test_a_sum_is_divided_by_what_is_attainable_but_at_least_half_of_what_is_possible() -> None:
    assert divisor(Score(70.0, 90.0), 120.0) == 90.0
    assert divisor(Score(20.0, 30.0), 120.0) == 60.0
    assert divisor(Score(0.0, 0.0), 0.0) > 0


def test_auto_must_be_resolved_before() -> None:
    with pytest.raises(KeyError):
        measure(Similarity.AUTO)
