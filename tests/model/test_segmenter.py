"""The network that tells structures apart: what it reads from its features, and the settings that make it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from unireg_cli.errors import WeightsError
from unireg_cli.model.network import Network, build_network, settings_as_json
from unireg_cli.model.segmenter import Segmenter
from unireg_cli.model.settings import NetworkSettings

SETTINGS = NetworkSettings(
    12, encoder=(4, 4), match=(4, 4), decoder=(4, 4), reach=(1.0, 1.0), neighbours=(7, 7), condition=4, embedding=4, hidden=4,
    segmented=(3, 7, 8),
)  # fmt: skip


def test_features_lie_on_half_the_lattice_and_depend_on_more_than_their_own_voxels() -> None:
    segmenter = Segmenter(SETTINGS).eval()
    image, known = torch.rand(1, 1, 16, 12, 8), torch.ones(1, 1, 8, 6, 4)
    with torch.no_grad():
        found = segmenter(image, known)
        image[..., 0, 0, 0] += 1
        other = segmenter(image, known)
    assert found.shape == (1, 8, 8, 6, 4)
    assert not torch.equal(found[..., 2:, 2:, 2:], other[..., 2:, 2:, 2:])


def test_logits_by_hand() -> None:
    segmenter = Segmenter(SETTINGS)
    features = torch.randn(1, 8, 2, 3, 4)
    found = segmenter.logits(features, torch.tensor([2, 0]))
    assert found.shape == (1, 3, 2, 3, 4) and not found[:, 0].any()
    place = (0, slice(None), 1, 2, 3)
    for channel, structure in ((1, 2), (2, 0)):
        expected = segmenter.queries[structure] @ features[place] + segmenter.bias[structure]
        assert torch.allclose(found[0, channel, 1, 2, 3], expected, atol=1e-6)


def test_what_was_never_looked_for_is_not_relied_on() -> None:
    # A list of labels may name what no scan shows: nothing would ever be seen of it, and it would be relied on like the surest.
    assert Segmenter(SETTINGS).trust.tolist() == [0, 0, 0]


def test_a_network_has_one_only_where_it_was_taught_something() -> None:
    assert Network(replace(SETTINGS, segmented=())).segmenter is None
    network = Network(SETTINGS)
    again = build_network(settings_as_json(SETTINGS), network.state_dict())
    assert again.segmenter is not None and torch.equal(again.segmenter.queries, network.segmenter.queries)  # type: ignore[union-attr]


@pytest.mark.parametrize("wrong", [(12,), (-1,)])
def test_structures_that_are_none_are_refused(wrong: tuple[int, ...]) -> None:
    with pytest.raises(WeightsError, match="segmented must be ids below 12"):
        replace(SETTINGS, segmented=wrong)


def test_it_may_have_channels_and_levels_of_its_own() -> None:
    own = replace(SETTINGS, segmenter=(6, 8, 10))
    network = Network(own)
    assert network.segmenter is not None and network.segmenter.queries.shape == (3, 6 + 8)
    assert own.divisor == 8 and SETTINGS.divisor == 4
    assert network.segmenter(torch.rand(1, 1, 16, 8, 8), torch.ones(1, 1, 8, 4, 4)).shape == (1, 14, 8, 4, 4)
    again = build_network(settings_as_json(own), network.state_dict())
    assert again.settings == own


@pytest.mark.parametrize(("wrong", "words"), [((8,), "segmenter needs two levels"), ((8, 0), "sizes must be positive")])
def test_channels_that_make_no_segmenter_are_refused(wrong: tuple[int, ...], words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        replace(SETTINGS, segmenter=wrong)
