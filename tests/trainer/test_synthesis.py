"""Painted and disturbed images: reproducible, in range, and neutral where they are told to be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from trainer.draws import bias_field, smooth_noise, thick_slices
from trainer.synthesis import Contrast, Intensity, Synthesis, paint, perturb
from unireg_cli.errors import UsageError

IDEAL = Synthesis(blur_voxels=(0, 0), bias=(0, 0), noise=(0, 0), gamma=(0, 0), thick_slices=0)
UNTOUCHED = Intensity(gamma=(0, 0), brightness=(0, 0), contrast=(1, 1), bias=(0, 0), noise=(0, 0), blur=0, thick_slices=0, inversion=0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def blocks() -> Tensor:
    """Cubes of 8 voxels with the values 0 to 26."""
    values = torch.arange(27).reshape(3, 3, 3)
    return values.repeat_interleave(8, 0).repeat_interleave(8, 1).repeat_interleave(8, 2)


@pytest.fixture
def body() -> Tensor:
    """A ramp from 0.2 to 0.8 along x in a box, exactly 0 around it."""
    image = torch.zeros(24, 26, 28)
    image[4:20, 4:22, 4:24] = torch.linspace(0.2, 0.8, 20)
    return image


def test_equal_generators_paint_equal_images(blocks: Tensor) -> None:
    first, again, other = (paint(blocks, seeded(seed), Synthesis()) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("seed", range(12))
def test_painted_images_go_from_0_to_1(blocks: Tensor, seed: int) -> None:
    image = paint(blocks[:, 1:, 2:], seeded(seed), Synthesis(thick_slices=0.5))
    assert image.shape == (24, 23, 22)
    assert image.dtype == torch.float32
    assert 0 <= float(image.min()) < float(image.max()) <= 1


def test_two_images_of_one_contrast_are_equally_bright_per_label(blocks: Tensor) -> None:
    contrast = Contrast(torch.linspace(0.2, 0.8, 27), torch.full((27,), 0.05))
    upside_down = blocks.flip(0)
    first, second = paint(blocks, seeded(1), IDEAL, contrast), paint(upside_down, seeded(2), IDEAL, contrast)
    for value in range(27):
        # 512 voxels: the mean of noise of 0.05 is known to 0.0022; textures that are smooth over 4 voxels have 8 times fewer.
        assert float(first[blocks == value].mean()) == pytest.approx(float(contrast.means[value]), abs=0.04)
        assert float(second[upside_down == value].mean()) == pytest.approx(float(contrast.means[value]), abs=0.04)
    assert not torch.equal(first, second.flip(0))


def test_the_texture_of_a_label_has_the_spread_of_the_contrast(blocks: Tensor) -> None:
    contrast = Contrast(torch.full((27,), 0.5), torch.linspace(0, 0.1, 27))
    images = [paint(blocks, seeded(seed), IDEAL, contrast) for seed in range(10)]
    for value in (0, 10, 26):
        spread = torch.stack([image[blocks == value] for image in images]).std()
        assert float(spread) == pytest.approx(float(contrast.stds[value]), rel=0.2, abs=1e-6)


def test_two_contrasts_differ(blocks: Tensor) -> None:
    first, second = Contrast.random(27, seeded(1)), Contrast.random(27, seeded(2))
    assert float((first.means - second.means).abs().mean()) > 0.1
    assert first.means.shape == first.stds.shape == (27,)
    assert all(float(c.means.min()) >= 0 and float(c.means.max()) <= 1 for c in (first, second))


def test_backgrounds_are_black_dark_or_anything() -> None:
    contrasts = [Contrast.random(5, seeded(seed)) for seed in range(90)]
    black = sum(contrast.black_background for contrast in contrasts)
    dark = sum(0 < float(contrast.means[0]) <= 0.12 for contrast in contrasts)
    bright = sum(float(contrast.means[0]) > 0.3 for contrast in contrasts)
    # A third each: 30 expected, five standard deviations are 22.
    assert 10 < black < 52
    assert 10 < dark < 60
    assert bright > 5


def test_a_black_background_stays_black_under_noise_and_blur(blocks: Tensor) -> None:
    contrast = Contrast(torch.linspace(0, 1, 27), torch.zeros(27))
    image = paint(blocks, seeded(0), Synthesis(noise=(0.1, 0.1), blur_voxels=(1, 1)), contrast)
    assert float(image[blocks == 0].abs().max()) == 0
    assert float(image[blocks == 26].std()) > 0.01


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_integer_labels_are_painted_alike(blocks: Tensor, dtype: torch.dtype) -> None:
    assert torch.equal(paint(blocks.to(dtype), seeded(5), Synthesis()), paint(blocks, seeded(5), Synthesis()))


def test_labels_beyond_the_contrast_are_refused(blocks: Tensor) -> None:
    with pytest.raises(ValueError, match="labels from 0 to 26 do not fit a contrast of 26 values"):
        paint(blocks, seeded(0), IDEAL, Contrast.random(26, seeded(0)))
    with pytest.raises(ValueError, match="labels from -1"):
        paint(blocks - 1, seeded(0), IDEAL)


def test_thick_slices_mix_neighbouring_slices_only() -> None:
    stripes = (torch.arange(24) % 2).float()[:, None, None].expand(24, 6, 6).contiguous()
    # Slices of black and white in turn become grey; along the other axes nothing differs, so nothing changes.
    assert float((thick_slices(stripes, 0, 4.0)[4:-4] - 0.5).abs().max()) < 0.05
    assert torch.allclose(thick_slices(stripes, 1, 4.0), stripes, atol=1e-5)
    assert thick_slices(stripes, 2, 16.0).shape == stripes.shape


def test_the_bias_field_only_darkens_and_is_smooth() -> None:
    field = bias_field((30, 32, 34), 0.3, seeded(2), torch.zeros(1))
    assert float(field.max()) == pytest.approx(1)
    assert 0.1 < float(field.min()) < 0.95
    assert max(float(field.diff(dim=axis).abs().max()) for axis in range(3)) < 0.15


def test_smooth_noise_has_about_unit_variance_and_like_neighbours() -> None:
    noise = torch.stack([smooth_noise((32, 32, 32), 3.0, seeded(seed), torch.zeros(1)) for seed in range(4)])
    assert float(noise.std()) == pytest.approx(1, abs=0.15)
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
    assert float(neighbours) > 0.7


@pytest.mark.parametrize("seed", range(12))
def test_disturbed_images_stay_in_range_and_their_background_dark(body: Tensor, seed: int) -> None:
    settings = Intensity(blur=0.5, thick_slices=0.5, inversion=0.5)
    image = perturb(body, seeded(seed), settings)
    assert torch.equal(image, perturb(body, seeded(seed), settings))
    assert image.shape == body.shape
    assert image.dtype == torch.float32
    assert float(image.min()) >= 0 and float(image.max()) <= 1
    assert float(image[body == 0].mean()) < 0.12
    assert float(image[8:16, 8:18, 8:20].mean()) > 0.12


def test_settings_without_effect_change_nothing(body: Tensor) -> None:
    assert torch.allclose(perturb(body, seeded(1), UNTOUCHED), body, atol=1e-6)


def test_inversion_swaps_dark_and_bright_inside_the_body(body: Tensor) -> None:
    inverted = perturb(body, seeded(1), Intensity(**{**_fields(UNTOUCHED), "inversion": 1.0}))
    assert torch.allclose(inverted[body > 0], 1 - body[body > 0], atol=1e-6)
    assert float(inverted[body == 0].max()) == 0


def test_gamma_and_brightness_do_what_they_say(body: Tensor) -> None:
    brighter = perturb(body, seeded(1), Intensity(**{**_fields(UNTOUCHED), "brightness": (0.1, 0.1)}))
    assert torch.allclose(brighter[body > 0], body[body > 0] + 0.1, atol=1e-6)
    bent = perturb(body, seeded(1), Intensity(**{**_fields(UNTOUCHED), "gamma": (0.6931472, 0.6931472)}))
    assert torch.allclose(bent, body.square(), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (Synthesis, {"blur_voxels": (-0.1, 1.0)}),
        (Synthesis, {"noise": (0.2, 0.1)}),
        (Synthesis, {"gamma": (-3.0, 0.0)}),
        (Synthesis, {"thick_slices": 1.5}),
        (Synthesis, {"thickest": 0.5}),
        (Intensity, {"brightness": (0.0, 2.0)}),
        (Intensity, {"inversion": -0.1}),
        (Intensity, {"contrast": (-1.0, 1.0)}),
        (Intensity, {"blur": float("nan")}),
    ],
)
def test_settings_out_of_range_are_refused_by_name(kind: type, change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        kind(**change)


def _fields(settings: Intensity) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in Intensity.__dataclass_fields__}
