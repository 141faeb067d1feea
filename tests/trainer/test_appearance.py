"""Random looks of real images: what changes, what stays, and how far apart two of them are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.appearance import Appearance
from trainer.augmentation import Augmentation, Views
from unireg_cli.errors import UsageError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def organs() -> torch.Tensor:
    """Air, and four slabs of the same size at 0.1, 0.2, 0.3 and 0.9."""
    image = torch.zeros(10, 8, 8)
    for place, value in enumerate((0.1, 0.2, 0.3, 0.9)):
        image[2 + 2 * place : 4 + 2 * place] = value
    return image


def test_a_curve_is_followed_by_ranks_and_not_by_brightness() -> None:
    # Half of the body lies below 0.25, so rank 0.5 is there, whatever the brightest slab is.
    look = Appearance(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.0, 1.0]), 1.0)
    seen = look.of(organs())
    assert not seen[:2].any()
    slabs = [float(seen[2 + 2 * place].mean()) for place in range(4)]
    # From 0.1 down to 0.25 and up again to 0.9: 1, 1/3, 1/13, 1, and the least of them is not air.
    expected = np.array([1, 1 / 3, 0.05 / 0.65, 1])
    expected = 0.02 + 0.98 * (expected - expected.min()) / (1 - expected.min())
    assert slabs == pytest.approx(expected.tolist(), abs=1e-5)


def test_the_old_look_has_the_rest_of_the_share() -> None:
    ends = np.array([0.0, 1.0])
    half_flat, as_it_is = Appearance(ends, np.array([0.4, 0.4]), 0.5), Appearance(ends, np.array([0.1, 0.9]), 1.0)
    assert torch.allclose(half_flat.of(organs()), as_it_is.of(organs()), atol=1e-5)


@pytest.mark.parametrize("image", [torch.zeros(4, 4, 4), torch.full((4, 4, 4), 0.5)])
def test_images_without_contrast_bring_no_other_numbers(image: torch.Tensor) -> None:
    seen = Appearance.random(generator()).of(image)
    assert torch.isfinite(seen).all() and bool(((seen > 0) == (image > 0)).all()) and float(seen.max()) <= 1


def test_tissues_change_their_order_and_what_is_one_stays_one() -> None:
    orders = set()
    for seed in range(60):
        seen = Appearance.random(generator(seed)).of(organs())
        assert float(seen.min()) == 0 and float(seen[2:].min()) >= 0.02 - 1e-6 and float(seen.max()) == pytest.approx(1)
        assert all(float(seen[2 + 2 * k : 4 + 2 * k].std()) < 1e-6 for k in range(4))
        orders.add(tuple(np.argsort([float(seen[2 + 2 * k].mean()) for k in range(4)]).tolist()))
    # Of 24; a monotonic curve knows two.
    assert len(orders) > 10


def test_pairs_have_one_look_or_two_as_often_as_they_are_asked_to() -> None:
    views, draw = Views(Augmentation(appearance_probability=0.5)), generator()
    looks = [views.looks(draw) for _ in range(400)]
    plain = sum(pair == (None, None) for pair in looks)
    same = sum(pair[0] is pair[1] for pair in looks) - plain
    assert plain == pytest.approx(200, abs=40) and same == pytest.approx(100, abs=30)
    assert all((one is None) is (other is None) for one, other in looks)


def test_where_none_is_asked_for_no_number_is_drawn() -> None:
    draw, image = generator(), organs()
    assert Views(Augmentation()).looks(draw) == (None, None)
    assert torch.equal(draw.get_state(), generator().get_state())
    look = Appearance.random(generator(1))
    assert torch.equal(Views(Augmentation(intensity_probability=0)).seen(image, draw, look), look.of(image))


def test_a_probability_is_not_negative() -> None:
    with pytest.raises(UsageError, match="appearance_probability"):
        Augmentation(appearance_probability=-0.1)
