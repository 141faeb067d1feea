"""Building blocks of the feature maps against plain convolutions and sums by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from unireg_cli.model.layers import (
    Convolution,
    Neighbourhood,
    Pointwise,
    Residual,
    doubled,
    halves_to_channels,
    joined,
    pointwise,
)


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("depth", range(1, 10))
def test_two_halves_are_one_convolution(depth: int) -> None:
    block, image = Neighbourhood(3, 5), torch.randn(1, 3, depth, 6, 7)
    plain = functional.conv3d(image, block.weight, block.bias, padding=1)
    assert block(image).shape == plain.shape
    assert torch.allclose(block(image), plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("batch", "stride", "size"), [(2, 1, (5, 6, 7)), (1, 2, (4, 6, 8)), (1, 1, (8, 64, 45))])
def test_other_neighbourhoods_are_plain_convolutions(batch: int, stride: int, size: tuple[int, int, int]) -> None:
    # The last one, 8 x 64 x 45 voxels of one volume, is too large for the halves.
    block, image = Neighbourhood(1, 2, stride), torch.randn(batch, 1, *size)
    assert torch.allclose(block(image), functional.conv3d(image, block.weight, block.bias, stride, 1), rtol=0, atol=1e-5)


def test_gradients_pass_the_halves() -> None:
    block, image = Neighbourhood(2, 2).double(), torch.randn(1, 2, 5, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, (image,))


@pytest.mark.parametrize("size", [(5, 6, 7), (8, 64, 45)])
def test_a_scale_and_a_shift_of_what_comes_out_go_into_the_kernel(size: tuple[int, int, int]) -> None:
    block, image, scale, shift = Neighbourhood(3, 5), torch.randn(1, 3, *size), torch.randn(5), torch.randn(5)
    after = block(image) * scale[:, None, None, None] + shift[:, None, None, None]
    assert torch.allclose(block(image, (scale, shift)), after, rtol=0, atol=1e-5)


def test_pointwise_is_a_convolution_of_size_one() -> None:
    features, weight, bias = torch.randn(2, 3, 4, 5, 6), torch.randn(7, 3), torch.randn(7)
    plain = functional.conv3d(features, weight[:, :, None, None, None], bias)
    assert torch.allclose(pointwise(features, weight, bias), plain, rtol=0, atol=1e-5)
    layer = Pointwise(3, 7)
    plain = functional.conv3d(features, layer.weight[:, :, None, None, None], layer.bias)
    assert torch.allclose(layer(features), plain, rtol=0, atol=1e-5)


def test_halves_become_channels_in_the_order_z_y_x() -> None:
    images = torch.arange(2 * 2 * 2 * 4, dtype=torch.float32).view(2, 1, 2, 2, 4)
    known = torch.tensor([0.1, 0.2, 0.3, 0.4]).view(2, 1, 1, 1, 2)
    found = halves_to_channels(images, known)
    assert found.shape == (2, 9, 1, 1, 2) and found.is_contiguous(memory_format=torch.channels_last_3d)
    # Channel k of the block at x = 1 holds voxel k of the block, z slowest; the last one whether it is known.
    for n in range(2):
        by_hand = [float(images[n, 0, z, y, 2 + x]) for z in range(2) for y in range(2) for x in range(2)]
        assert found[n, :, 0, 0, 1].tolist() == [*by_hand, float(known[n, 0, 0, 0, 1])]


def test_joined_features_are_channels_last_whatever_the_parts_are() -> None:
    one, other = torch.rand(1, 3, 2, 4, 5), torch.rand(1, 2, 2, 4, 5).contiguous(memory_format=torch.channels_last_3d)
    found = joined([one, other])
    assert torch.equal(found, torch.cat((one, other), dim=1)) and found.is_contiguous(memory_format=torch.channels_last_3d)


def test_joined_features_have_the_first_ones_type() -> None:
    narrow, wide = torch.rand(1, 3, 2, 4, 5, dtype=torch.bfloat16), torch.rand(1, 2, 2, 4, 5)
    assert torch.equal(joined([narrow, wide]), torch.cat((narrow, wide.bfloat16()), dim=1))
    assert joined([wide, narrow]).dtype == torch.float32


def test_doubled_keeps_voxel_edges() -> None:
    # Edges at 0 and 4 of two voxels with centres at 1 and 3; the four new centres are at 0.5, 1.5, 2.5, 3.5.
    line = torch.tensor([0.0, 4.0]).view(1, 1, 1, 1, 2)
    assert doubled(line)[0, 0, 0, 0].tolist() == [0.0, 1.0, 3.0, 4.0]


def test_a_condition_changes_a_convolution_only_after_training() -> None:
    block, image = Residual(8, condition=4), torch.randn(1, 8, 4, 4, 4)
    one, other = torch.randn(1, 4), torch.randn(1, 4)
    assert torch.equal(block(image, one), block(image, other))
    assert block.first.modulation is not None
    torch.nn.init.normal_(block.first.modulation.linear.weight)
    assert not torch.allclose(block(image, one), block(image, other))


def test_without_norm_the_scale_of_the_features_stays() -> None:
    image = torch.randn(1, 8, 4, 4, 4)
    plain, normed = Convolution(8, 8, norm=False), Convolution(8, 8)
    assert plain.norm is None
    bias = plain.convolution.bias[None, :, None, None, None]
    assert torch.allclose(plain(3 * image) - bias, 3 * (plain(image) - bias), rtol=0, atol=1e-4)
    assert float(normed(100 * image).detach().std()) == pytest.approx(1.0, abs=0.01)
