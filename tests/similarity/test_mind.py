from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from unireg_cli.similarity.lncc import Score
from unireg_cli.similarity.mind import DescriptorDistance, descriptors

SHAPE = (9, 10, 11)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, shape))


def test_twelve_channels_between_zero_and_one_the_largest_of_them_one() -> None:
    channels = descriptors(noise(*SHAPE).float())
    assert channels.shape == (12, *SHAPE)
    assert float(channels.min()) > 0
    assert torch.equal(channels.amax(dim=0), torch.ones(SHAPE))


@pytest.mark.parametrize(("scale", "shift"), [(2.5, 0.0), (0.3, 0.7), (-1.0, 1.0), (-40.0, -3.0)])
def test_contrast_does_not_matter(scale: float, shift: float) -> None:
    values = noise(*SHAPE)
    assert torch.allclose(descriptors(scale * values + shift), descriptors(values), rtol=0, atol=1e-9)


def test_a_ramp_written_out() -> None:
    # Neighbours 2 voxels along x differ by 2 slopes from those along y and z, which do not differ from each other:
    # 8 of the 12 pairs have the distance d = 27 (2 slope)^2, 4 have none; the mean is 2 d / 3, so exp(-1.5) and 1.
    values = (0.3 * torch.arange(11.0)).expand(9, 10, 11)
    channels = descriptors(values)[:, 3:-3, 3:-3, 3:-3]
    numbers = sorted(channels.reshape(12, -1).mean(dim=1).tolist())
    assert numbers == pytest.approx([math.exp(-1.5)] * 8 + [1.0] * 4, abs=1e-4)
    assert float(channels.std(dim=(1, 2, 3)).max()) < 1e-4


def test_a_flat_image_has_finite_descriptors() -> None:
    assert torch.equal(descriptors(torch.full(SHAPE, 0.4)), torch.ones(12, *SHAPE))


def test_descriptors_move_with_the_image() -> None:
    # Larger than the neighbourhoods by far: the mean distance of the image, which bounds them, hardly changes.
    values = noise(20, 20, 20)
    moved = descriptors(values.roll((1, -2, 3), (0, 1, 2)))
    inner = (..., slice(7, -7), slice(7, -7), slice(7, -7))
    assert torch.allclose(moved[inner], descriptors(values).roll((1, -2, 3), (1, 2, 3))[inner], rtol=0, atol=1e-3)


def test_distance_written_out() -> None:
    fixed, moved = torch.tensor([[[[0.2, 0.5]]], [[[1.0, 0.4]]]]), torch.tensor([[[[0.4, 0.5]]], [[[0.6, 0.3]]]])
    # Distance from flat, voxel 1: (0.64 + 0) / 2 = 0.32, voxel 2: (0.25 + 0.36) / 2 = 0.305;
    # from the moved image: (0.04 + 0.16) / 2 = 0.1 and (0 + 0.01) / 2 = 0.005.
    both, first = torch.ones(1, 1, 2), torch.tensor([[[1.0, 0.0]]])
    assert DescriptorDistance().score(fixed, moved, both).total == pytest.approx(0.625 - 0.105, abs=1e-6)
    assert DescriptorDistance().score(fixed, moved, first).total == pytest.approx(0.22, abs=1e-6)
    assert DescriptorDistance().score(fixed, moved, first).attainable == pytest.approx(0.32, abs=1e-6)
    same = DescriptorDistance().score(fixed, fixed, both)
    assert same.total == same.attainable == pytest.approx(0.625, abs=1e-6)
    flat = torch.ones(2, 1, 1, 2)
    assert DescriptorDistance().score(flat, flat, both) == Score(0.0, 0.0)


@pytest.mark.parametrize("part_known", [False, True])
def test_gradient_is_the_slope_of_the_total(part_known: bool) -> None:
    fixed, moved = descriptors(noise(*SHAPE)), descriptors(noise(*SHAPE, seed=1))
    weight = noise(*SHAPE, seed=2).round() if part_known else torch.ones(SHAPE, dtype=torch.float64)
    kept = fixed.clone(), moved.clone()
    score, gradient = DescriptorDistance().score_and_gradient(fixed, moved, weight)
    assert torch.equal(fixed, kept[0]) and torch.equal(moved, kept[1])
    assert score == DescriptorDistance().score(fixed, moved, weight)
    step = 1e-5
    for place in [(0, 0, 0, 0), (5, 4, 5, 6), (5, 4, 5, 7), (11, 8, 9, 10)]:
        slopes = []
        for sign in (1, -1):
            nudged = moved.clone()
            nudged[place] += sign * step
            slopes.append(DescriptorDistance().score(fixed, nudged, weight).total)
        assert float(gradient[place]) == pytest.approx((slopes[0] - slopes[1]) / (2 * step), rel=1e-4, abs=1e-6)
    assert bool((gradient[:, weight == 0] == 0).all())
