from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from unireg_cli.similarity.lncc import Lncc

SHAPE = (7, 8, 9)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, shape))


def mean(measure: Lncc, fixed: Tensor, moved: Tensor) -> float:
    """The similarity per voxel of two images known everywhere."""
    return measure.score(fixed, moved, torch.ones_like(fixed[0])).total / fixed[0].numel()


def windows(fixed: np.ndarray, moved: np.ndarray, known: np.ndarray, radius: tuple[int, int, int], floor: float) -> np.ndarray:
    """cc^2 voxel by voxel with plain loops and textbook sums; what is outside the image or unknown is not in the window."""
    local = np.zeros(fixed.shape)
    for place in np.ndindex(fixed.shape):
        window = tuple(slice(max(0, c - r), c + r + 1) for c, r in zip(place, radius, strict=True))
        share = known[window]
        count = share.sum()
        off_fixed = fixed[window] - (share * fixed[window]).sum() / count
        off_moved = moved[window] - (share * moved[window]).sum() / count
        covariance = (share * off_fixed * off_moved).sum()
        variances = ((share * off_fixed**2).sum() + count * floor) * ((share * off_moved**2).sum() + count * floor)
        local[place] = known[place] * covariance**2 / variances
    return local


@pytest.mark.parametrize("radius", [(1, 1, 1), (2, 2, 2), (0, 1, 3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_total_is_the_sum_over_windows_written_out(radius: tuple[int, int, int], weighted: bool) -> None:
    fixed, moved, known = noise(5, 5, 5), noise(5, 5, 5, seed=1), noise(5, 5, 5, seed=2)
    # A whole unknown region too, but no window without a single known voxel's worth of weight.
    known = 0.5 + 0.5 * known
    known[0, 0, 0] = 0.0
    weight = known if weighted else torch.ones_like(known)
    expected = windows(fixed.numpy(), moved.numpy(), weight.numpy(), radius, 1e-4).sum()
    score = Lncc(radius).score(fixed[None], moved[None], weight)
    assert score.total == pytest.approx(expected, rel=1e-9)
    # No moving image does better than the fixed one with so much contrast that the floor does not matter.
    best = windows(fixed.numpy(), 1e6 * fixed.numpy(), weight.numpy(), radius, 1e-4).sum()
    assert score.attainable == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.4, 0.3), (3.0, -1.0), (-1.0, 1.0)], ids=["same", "dim", "bright", "inverted"])
def test_a_linear_change_of_contrast_is_no_change(scale: float, shift: float) -> None:
    fixed = noise(1, *SHAPE)
    assert mean(Lncc(floor=0.0), fixed, scale * fixed + shift) == pytest.approx(1.0, abs=1e-9)
    # With the floor of real runs noise with a variance of 1/12 is close to 1 and never above.
    assert 0.98 < mean(Lncc(), fixed, scale * fixed + shift) < 1


def test_flat_windows_score_zero_and_pull_nowhere() -> None:
    fixed = noise(1, *SHAPE).float()
    for flat in (torch.zeros_like(fixed), torch.full_like(fixed, 0.3)):
        assert abs(mean(Lncc(), fixed, flat)) < 1e-6
        assert abs(mean(Lncc(), flat, fixed)) < 1e-6
        known = torch.ones_like(flat[0])
        assert torch.isfinite(Lncc().score_and_gradient(fixed, flat, known)[1]).all()
        assert Lncc().score_and_gradient(flat, fixed, known)[1].abs().max() < 1e-3


def test_what_is_attainable_counts_structure_of_the_fixed_image_only() -> None:
    fixed = torch.zeros(1, 12, 12, 12, dtype=torch.float64)
    fixed[..., 6:] = noise(12, 12, 6)
    known = torch.ones(12, 12, 12, dtype=torch.float64)
    score = Lncc().score(fixed, noise(1, 12, 12, 12, seed=1), known)
    # Windows of five reach two voxels into the flat half; what lies beyond attains nothing.
    assert score.attainable == pytest.approx(12 * 12 * 8, rel=0.01)
    assert Lncc().score(torch.zeros_like(fixed), fixed, known).attainable == 0.0


def test_unrelated_noise_scores_what_chance_gives() -> None:
    # The squared correlation of n independent pairs has the mean 1 / (n - 1); 125 per inner window.
    fixed, moved = noise(1, 30, 30, 30), noise(1, 30, 30, 30, seed=1)
    assert mean(Lncc(), fixed, moved) == pytest.approx(1 / 124, rel=0.3)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_is_the_slope_of_the_value(channels: int, weighted: bool) -> None:
    fixed, moved = noise(channels, *SHAPE), noise(channels, *SHAPE, seed=1)
    weight = noise(*SHAPE, seed=2) if weighted else torch.ones(SHAPE, dtype=torch.float64)
    if weighted:
        weight[2:4, 3:5] = 0.0
    measure = Lncc((1, 2, 2), 1e-3)
    score, gradient = measure.score_and_gradient(fixed, moved, weight)
    assert score == measure.score(fixed, moved, weight)
    step = 1e-6
    for place in [(channels - 1, 0, 0, 0), (0, 3, 4, 4), (0, 2, 3, 4), (channels - 1, 6, 7, 8), (0, 5, 1, 7)]:
        slopes = []
        for sign in (1, -1):
            nudged = moved.clone()
            nudged[place] += sign * step
            slopes.append(measure.score(fixed, nudged, weight).total)
        assert float(gradient[place]) == pytest.approx((slopes[0] - slopes[1]) / (2 * step), rel=1e-4, abs=1e-6)


def test_channels_count_as_their_mean() -> None:
    fixed, moved, known = noise(1, *SHAPE), noise(1, *SHAPE, seed=1), noise(*SHAPE, seed=2)
    twice = Lncc().score(torch.cat((fixed, fixed)), torch.cat((fixed, moved)), known)
    halves = [Lncc().score(fixed, other, known) for other in (fixed, moved)]
    assert twice.total == pytest.approx(sum(half.total for half in halves) / 2, rel=1e-9)
    assert twice.attainable == pytest.approx(sum(half.attainable for half in halves) / 2, rel=1e-9)


def test_unknown_voxels_say_nothing() -> None:
    fixed = noise(1, *SHAPE)
    half = torch.zeros(SHAPE, dtype=torch.float64)
    half[..., :4] = 1.0
    score = Lncc(floor=1e-12).score(fixed, fixed, half)
    assert (score.total, score.attainable) == pytest.approx((7 * 8 * 4, 7 * 8 * 4), rel=1e-6)
    elsewhere = fixed.clone()
    elsewhere[..., 4:] = 479338.0
    score, gradient = Lncc(floor=1e-12).score_and_gradient(fixed, elsewhere, half)
    assert score.total == pytest.approx(7 * 8 * 4, rel=1e-6)
    assert not gradient[..., 4:].any()
