from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import cube
from scipy import ndimage

from unireg_cli.errors import InputError
from unireg_cli.registration.normalise import decide_modality, foreground, normalise
from unireg_cli.spatial import Image
from unireg_cli.types import Modality

GRID = cube(24, 2.0)


def texture(low: float, high: float) -> np.ndarray:
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=GRID.shape), 2.0)
    return low + (high - low) * (smooth - smooth.min()) / (smooth.max() - smooth.min())


def body(inside: np.ndarray, outside: float) -> np.ndarray:
    place = GRID.points_lps()
    return np.where(np.linalg.norm(place, axis=-1) < 18, inside, outside)


@pytest.mark.parametrize(
    ("voxels", "expected"),
    [
        (body(texture(-120, 250), -1024.0).astype(np.int16), Modality.CT),
        (body(texture(-900, 400), -1000.0).astype(np.float32), Modality.CT),
        (body(texture(50, 900), 0.0).astype(np.uint16), Modality.MR),
        (texture(0, 1).astype(np.float32), Modality.MR),
        # Standardised numbers, and a CT whose numbers were shifted to start at 0.
        (texture(-3, 4).astype(np.float32), Modality.OTHER),
        (body(texture(900, 1200), 0.0).astype(np.int16), Modality.MR),
    ],
    ids=["soft tissue ct", "chest ct", "mr with air", "mr of tissue alone", "standardised", "shifted ct"],
)
def test_modality_is_seen_in_the_histogram(voxels: np.ndarray, expected: Modality) -> None:
    found, reason = decide_modality(Image(voxels, GRID), Modality.AUTO)
    assert found is expected
    assert reason.startswith(expected.value)


def test_what_was_asked_for_is_taken() -> None:
    for asked in (Modality.CT, Modality.MR, Modality.OTHER):
        assert decide_modality(Image(texture(0, 900), GRID), asked) == (asked, f"{asked.value} (asked for)")


def test_ct_is_scaled_by_fixed_pieces() -> None:
    units = np.array([-1024, -1000, -600, -200, 0, 50, 300, 900, 1500, 3071], np.int16)
    voxels = np.zeros(GRID.shape, np.int16)
    voxels.flat[: len(units)] = units
    # 800 units to 0.2, 500 to 0.7, 1200 to 0.1.
    expected = [0.0, 0.0, 0.1, 0.2, 0.48, 0.55, 0.9, 0.95, 1.0, 1.0]
    values = normalise(Image(voxels, GRID), Modality.CT)
    assert values.dtype == torch.float32
    assert values.flatten()[: len(units)].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("modality", [Modality.MR, Modality.OTHER])
def test_one_wild_voxel_changes_nothing_else(modality: Modality) -> None:
    voxels = body(texture(50, 900), 0.0).astype(np.float32)
    wild = voxels.copy()
    wild[12, 12, 12] = 479338
    plain, robust = (normalise(Image(v, GRID), modality) for v in (voxels, wild))
    assert float(robust[12, 12, 12]) == 1.0
    robust[12, 12, 12] = plain[12, 12, 12]
    assert float((plain - robust).abs().max()) < 0.01
    # Most of the range is used, whatever share of the image is air.
    assert float(plain.max()) == 1.0 and float(plain.min()) == 0.0
    assert 0.2 < float(plain[plain > 0].mean()) < 0.8


def test_scale_does_not_matter_and_the_input_stays() -> None:
    voxels = body(texture(50, 900), 0.0).astype(np.float32)
    kept = voxels.copy()
    plain = normalise(Image(voxels, GRID), Modality.MR)
    assert np.array_equal(voxels, kept)
    assert torch.allclose(normalise(Image(voxels * 37, GRID), Modality.MR), plain, rtol=0, atol=1e-4)


def test_an_image_of_two_values_keeps_them_apart() -> None:
    voxels = np.zeros(GRID.shape, np.uint8)
    voxels[10:12, 10:12, 10:12] = 1
    values = normalise(Image(voxels, GRID), Modality.MR)
    assert float(values.max()) == 1.0 and float(values.sum()) == 8.0


@pytest.mark.parametrize("value", [0, -7.5])
def test_a_constant_image_is_refused_by_name(value: float) -> None:
    with pytest.raises(InputError, match=r"flat\.nii: every voxel has the value"):
        normalise(Image(np.full(GRID.shape, value, np.float32), GRID, "flat.nii"), Modality.MR)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("modality", [Modality.CT, Modality.MR])
def test_numbers_that_are_none_are_refused_and_counted(bad: float, modality: Modality) -> None:
    voxels = texture(0, 900).astype(np.float32)
    voxels[3, 4, 5:8] = bad
    with pytest.raises(InputError, match=r"holes\.nii: 3 voxels are NaN or infinite"):
        normalise(Image(voxels, GRID, "holes.nii"), modality)


def test_foreground_is_the_body() -> None:
    inside = body(np.ones(GRID.shape), 0.0).astype(np.uint8)
    for modality, voxels in (
        (Modality.CT, body(texture(-120, 250), -1024.0).astype(np.int16)),
        (Modality.MR, body(texture(300, 900), 0.0).astype(np.float32)),
    ):
        found = foreground(normalise(Image(voxels, GRID), modality), modality)
        assert np.array_equal(found.numpy(), inside)
