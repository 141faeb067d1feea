from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from unireg_cli.spatial.filters import box_sum, central_difference, gaussian, resize, resize_displacement

SHAPE = (9, 12, 15)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("radius", [(1, 1, 1), (2, 2, 2), (0, 3, 1), (4, 5, 7), (12, 2, 20)])
def test_box_sum_is_the_uniform_filter_with_zeros_outside(radius: tuple[int, int, int]) -> None:
    values = noise(2, *SHAPE)
    size = [2 * r + 1 for r in radius]
    expected = np.stack([ndimage.uniform_filter(v.astype(np.float64), size, mode="constant") * np.prod(size) for v in values])
    assert np.allclose(box_sum(torch.from_numpy(values), radius), expected, rtol=0, atol=1e-4)


def test_box_sum_of_one_voxel_is_its_window_and_leaves_the_input_alone() -> None:
    values = torch.zeros(7, 7, 7)
    values[3, 0, 5] = 2.0
    expected = torch.zeros(7, 7, 7)
    expected[2:5, 0:3, 5] = 2.0
    assert torch.equal(box_sum(values, (1, 2, 0)), expected)
    assert float(values.sum()) == 2.0


@pytest.mark.parametrize("sigma", [(1.0, 1.0, 1.0), (2.0, 0.0, 4.0), (1.0, 3.0, 8.0)])
def test_gaussian_is_scipys_with_repeated_edges(sigma: tuple[float, float, float]) -> None:
    values = noise(3, *SHAPE)
    # Whole numbers of sigma: both cut the kernel at three of them.
    expected = np.stack([ndimage.gaussian_filter(v.astype(np.float64), sigma, mode="nearest", truncate=3) for v in values])
    assert np.allclose(gaussian(torch.from_numpy(values), sigma), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("width", [0.3, 0.7, 1.23, 5.5])
def test_gaussian_keeps_constants_and_comes_close_to_scipy_at_any_width(width: float) -> None:
    constant = torch.full((1, *SHAPE), 0.7)
    assert torch.allclose(gaussian(constant, (width,) * 3), constant, rtol=0, atol=1e-6)
    values = noise(*SHAPE)
    expected = ndimage.gaussian_filter(values.astype(np.float64), width, mode="nearest", truncate=3)
    # Where three sigma is no whole number the outermost weight, below 0.3 % of the sum, is cut on one side only.
    assert np.abs(gaussian(torch.from_numpy(values), (width,) * 3).numpy() - expected).max() < 0.02


@pytest.mark.parametrize("shape", [(131, 5, 7), (6, 97, 5), (5, 6, 149)])
def test_gaussian_of_a_long_axis_has_no_seams(shape: tuple[int, int, int]) -> None:
    values = noise(2, *shape)
    expected = np.stack([ndimage.gaussian_filter(v.astype(np.float64), 2.0, mode="nearest", truncate=3) for v in values])
    assert np.allclose(gaussian(torch.from_numpy(values), (2.0,) * 3), expected, rtol=0, atol=1e-5)


def test_gaussian_leaves_single_voxel_axes_alone() -> None:
    values = torch.from_numpy(noise(1, 1, 12, 15))
    assert torch.equal(gaussian(values, (2.0, 0.0, 0.0)), values)


@pytest.mark.parametrize("shape", [(18, 24, 30), (11, 17, 16), (9, 30, 15)])
def test_growing_is_linear_interpolation_between_the_same_edges(shape: tuple[int, int, int]) -> None:
    values = noise(*SHAPE)
    zoom = [new / old for new, old in zip(shape, SHAPE, strict=True)]
    expected = ndimage.zoom(values.astype(np.float64), zoom, order=1, mode="nearest", grid_mode=True)
    assert np.allclose(resize(torch.from_numpy(values), shape), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(20, 24, 28), (40, 48, 56), (10, 12, 14), (7, 11, 9), (20, 33, 14)])
def test_resizing_keeps_ramps_and_the_field_of_view(shape: tuple[int, int, int]) -> None:
    source = (20, 24, 28)

    def ramp(counts: tuple[int, int, int]) -> torch.Tensor:
        z, y, x = (((torch.arange(n) + 0.5) / n).float() for n in counts)
        return 3 * z[:, None, None] - 2 * y[:, None] + 5 * x

    # A fifth of the field of view at each side: there the repeated edges bend the ramp.
    inside = tuple(slice(round(n * 0.2) + 1, n - round(n * 0.2) - 1) for n in shape)
    assert torch.allclose(resize(ramp(source), shape)[inside], ramp(shape)[inside], rtol=0, atol=1e-4)


def test_shrinking_does_not_alias() -> None:
    stripes = torch.tensor([0.0, 1.0]).repeat(32).expand(4, 8, 64)
    coarse = resize(stripes, (4, 8, 21))
    # At either end the repeated edge value weighs more.
    assert float((coarse - 0.5)[..., 2:-2].abs().max()) < 1e-3


def test_resized_displacement_points_to_the_same_place() -> None:
    displacement = torch.stack([torch.full((6, 8, 10), value) for value in (1.0, -2.0, 3.0)])
    changed = resize_displacement(displacement, (12, 4, 30))
    assert changed.shape == (3, 12, 4, 30)
    # x has 10 -> 30 voxels, y 8 -> 4, z 6 -> 12.
    for channel, expected in zip(changed, (3.0, -1.0, 6.0), strict=True):
        assert torch.allclose(channel, torch.full((12, 4, 30), expected), rtol=0, atol=1e-5)


def test_central_difference_of_a_ramp() -> None:
    z, y, x = torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in (5, 6, 7)], indexing="ij")
    values = torch.stack((2 * x - 3 * y + 0.5 * z, x * x))
    slopes = central_difference(values)
    assert slopes.shape == (3, 2, 5, 6, 7)
    inner = (slice(1, -1),) * 3
    for channel, expected in zip(slopes[:, 0], (2.0, -3.0, 0.5), strict=True):
        assert torch.allclose(channel[inner], torch.tensor(expected), rtol=0, atol=1e-6)
    assert torch.allclose(slopes[0, 1][inner], 2 * x[inner], rtol=0, atol=1e-5)
    assert not slopes[0, ..., 0].any() and not slopes[0, ..., -1].any()
    assert not slopes[1, ..., 0, :].any() and not slopes[1, ..., -1, :].any()
    assert not slopes[2, :, 0].any() and not slopes[2, :, -1].any()


def test_central_difference_of_a_thin_axis_is_zero() -> None:
    assert not central_difference(torch.from_numpy(noise(2, 5, 6)))[2].any()


def test_displacements_are_resized_in_full_precision_under_autocast() -> None:
    # 30.1 voxels in bfloat16 would be 30.125.
    displacement = torch.full((3, 4, 4, 4), 30.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        grown, smooth = resize_displacement(displacement, (8, 8, 8)), gaussian(displacement, (1.0, 1.0, 1.0))
    assert grown.dtype == smooth.dtype == torch.float32
    assert grown.numpy() == pytest.approx(60.2, abs=1e-4) and smooth.numpy() == pytest.approx(30.1, abs=1e-4)
