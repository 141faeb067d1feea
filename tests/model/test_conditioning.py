"""The condition's vector and its grip: none before training, one of its own after."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.condition import Condition, encode
from unireg_cli.model.conditioning import ConditionEncoder, DynamicHead, Modulation, modulated
from unireg_cli.model.settings import NetworkSettings

KNOWN = vocabulary()
TINY = NetworkSettings(
    KNOWN.size, encoder=(4, 4), match=(4, 4), decoder=(4, 4), reach=(1, 2), neighbours=(7, 7), condition=6, embedding=5, hidden=4
)


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


def tensors(*words: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    vectors = encode(Condition(KNOWN.resolve(words)), KNOWN)
    return torch.from_numpy(vectors.anatomy), torch.from_numpy(vectors.mode), torch.from_numpy(vectors.smoothness)


def test_modulation_is_the_identity_before_training() -> None:
    features = torch.randn(1, 4, 3, 3, 3)
    assert torch.equal(modulated(features, *Modulation(6, 4)(torch.randn(1, 6))), features)


def test_modulation_scales_and_shifts_channel_by_channel() -> None:
    block = Modulation(1, 2)
    with torch.no_grad():
        block.linear.weight.copy_(torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
    found = modulated(torch.ones(1, 2, 1, 1, 1), *block(torch.tensor([[0.5]])))
    # Scales 1 + 0.5, 1 + 1; shifts 1.5, 2.
    assert found.reshape(-1).tolist() == [3.0, 4.0]


def test_one_head_for_all_conditions_before_training() -> None:
    head, features = DynamicHead(4, 6, 4, 6.0), torch.randn(1, 4, 3, 4, 5)
    one = head(features, torch.randn(1, 6))
    assert one.shape == (3, 3, 4, 5) and one.dtype == torch.float32 and bool(one.any())
    assert torch.equal(one, head(features, torch.randn(1, 6)))
    torch.nn.init.normal_(head.controller.weight)
    assert not torch.allclose(head(features, torch.randn(1, 6)), head(features, torch.randn(1, 6)))


def test_head_by_hand_and_its_mean_is_mostly_taken_away() -> None:
    head = DynamicHead(1, 1, 1, 2.0)
    with torch.no_grad():
        # Kernels and biases of the three layers in turn: 3 h + 1, 2 h, then (1, 0, -1) h + (0, 0.5, 0).
        head.controller.bias.copy_(torch.tensor([3.0, 1.0, 2.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.5, 0.0]))
    features = torch.tensor([0.0, 2.0]).view(1, 1, 1, 1, 2)
    found = head(features, torch.zeros(1, 1))
    # Without their mean the features are -1 and 1; -2 and 4 after the first layer, of which -2 is flattened to -0.4.
    # Then -0.8, flattened to -0.16, and 8. Times unit: x = -0.32 and 16, mean 7.84, of which a tenth stays.
    x = torch.tensor([-0.32, 16.0]) - 0.9 * 7.84
    assert torch.allclose(found[0, 0, 0], x, rtol=0, atol=1e-5)
    assert torch.allclose(found[2, 0, 0], -x, rtol=0, atol=1e-5)
    assert torch.allclose(found[1, 0, 0], torch.tensor([0.1, 0.1]), rtol=0, atol=1e-5)


def test_a_head_knows_no_absolute_level_of_its_features() -> None:
    head, features = DynamicHead(4, 6, 4, 6.0), torch.randn(1, 4, 3, 4, 5)
    condition = torch.randn(1, 6)
    assert torch.allclose(head(features + 10, condition), head(features, condition), rtol=0, atol=1e-4)


def test_an_untrained_structure_falls_back_on_its_region() -> None:
    encoder = ConditionEncoder(TINY)
    liver, spleen = KNOWN.structure_id("liver"), KNOWN.structure_id("spleen")
    assert liver is not None and spleen is not None
    region = KNOWN.region_of(liver)
    assert region == KNOWN.region_of(spleen)
    seen: list[torch.Tensor] = []
    encoder.mix.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0][0, : TINY.embedding]))
    with torch.no_grad():
        encoder.anatomy[region].normal_()
        one, other = encoder(*tensors("liver")), encoder(*tensors("spleen"))
        assert torch.equal(one, other)
        # The structure's own zeros and the region, over the root of two.
        assert torch.allclose(seen[0], encoder.anatomy[region] / 2**0.5)
        encoder.anatomy[liver].normal_()
        assert not torch.allclose(encoder(*tensors("liver")), other)
        assert torch.equal(encoder(*tensors("spleen")), other)
        assert torch.allclose(seen[2], (encoder.anatomy[liver] + encoder.anatomy[region]) / 2**0.5)


def test_type_and_smoothness_are_heard() -> None:
    encoder = ConditionEncoder(TINY)
    anatomy, mode, smoothness = tensors("liver")
    one = encoder(anatomy, mode, smoothness)
    assert one.shape == (1, TINY.condition)
    assert not torch.allclose(one, encoder(anatomy, mode.flip(0), smoothness))
    assert not torch.allclose(one, encoder(anatomy, mode, smoothness + 0.3))


def test_a_wider_condition_has_wider_layers() -> None:
    encoder = ConditionEncoder(replace(TINY, condition=9))
    assert encoder(*tensors("all")).shape == (1, 9)
