"""Segmenters of few channels that go on with more of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tuning import small_views

from trainer.run import run
from trainer.start import begin
from trainer.widening import SEGMENTER, widened
from unireg_cli.errors import UsageError
from unireg_cli.io.weights import read_weights
from unireg_cli.model.network import build_network
from unireg_cli.model.segmenter import Segmenter
from unireg_cli.model.settings import NetworkSettings

Recipe = Callable[..., Path]
NARROW = NetworkSettings(
    12, encoder=(8, 16, 16), match=(4, 4, 4), decoder=(4, 4, 4), reach=(1.0, 1.0, 1.0), neighbours=(7, 7, 7), condition=4, embedding=4,
    hidden=4, segmented=(3, 7, 8),
)  # fmt: skip


def state(segmenter: Segmenter) -> dict[str, torch.Tensor]:
    return {f"{SEGMENTER}{name}": tensor for name, tensor in segmenter.state_dict().items()}


def test_a_wider_segmenter_sees_the_same_and_every_new_channel_can_learn() -> None:
    torch.manual_seed(0)
    narrow, wide = Segmenter(NARROW), Segmenter(replace(NARROW, segmenter=(16, 32, 24)))
    for parameter in narrow.parameters():
        parameter.data.uniform_(-0.5, 0.5)
    narrow.trust.fill_(0.3)
    found = widened(state(narrow), state(wide))
    wide.load_state_dict({name.removeprefix(SEGMENTER): tensor for name, tensor in found.items()})
    image, known, everything = torch.rand(1, 1, 16, 24, 16), torch.ones(1, 1, 8, 12, 8), torch.arange(3)
    logits = wide.logits(wide(image, known), everything)
    assert torch.allclose(logits, narrow.logits(narrow(image, known), everything), atol=1e-5)
    assert torch.equal(wide.trust, narrow.trust)
    logits.square().sum().backward()
    assert wide.queries.grad is not None and all(bool(column.any()) for column in wide.queries.grad.T)


def test_a_run_begins_with_narrower_weights_and_refuses_wider_ones(recipe: Recipe, tmp_path: Path) -> None:
    learns = ("segmentation",)
    run(small_views(recipe("few", steps=2, tune_every=2), learns=learns))
    init = tmp_path / "few" / "unireg-own.safetensors"
    file = read_weights(init)
    settings = build_network(file.config["network"], file.tensors).settings
    config = small_views(recipe("more", steps=1, tune_every=100, init=str(init)), learns=learns)
    more = replace(config, network=replace(settings, segmenter=(16, 24)))
    start = begin(more, torch.device("cpu"))
    fresh = start.network.segmenter
    before = build_network(file.config["network"], file.tensors).segmenter
    assert fresh is not None and before is not None
    image, known, everything = torch.rand(1, 1, 16, 16, 16), torch.ones(1, 1, 8, 8, 8), torch.arange(3)
    with torch.inference_mode():
        assert torch.allclose(
            fresh.logits(fresh(image, known), everything), before.logits(before(image, known), everything), atol=1e-4
        )
    run(more)
    wide = str(tmp_path / "more" / "unireg-own-last.safetensors")
    assert read_weights(Path(wide)).config["network"]["segmenter"] == [16, 24]
    with pytest.raises(UsageError, match=r"segmenter is \(16, 24\), the config says \(\)"):
        begin(replace(config, network=settings, init=wide), torch.device("cpu"))


def test_a_registration_encoder_becomes_a_wider_segmenter(recipe: Recipe, tmp_path: Path) -> None:
    run(small_views(recipe("first", steps=2, tune_every=2)))
    init = tmp_path / "first" / "unireg-own.safetensors"
    given = read_weights(init)
    config = small_views(recipe("more", steps=1, tune_every=100, init=str(init)), learns=("segmentation",))
    found = begin(replace(config, network=replace(config.network, segmenter=(16, 16), segmented=(1, 2))), torch.device("cpu")).average
    stem = given.tensors["encoder.stem.weight"]
    assert torch.equal(found["segmenter.encoder.stem.weight"][: len(stem)], stem) and len(found["segmenter.encoder.stem.weight"]) == 16
    assert torch.equal(found["segmenter.queries"][:, 16 : 16 + 8], given.tensors["finder.context"][[1, 2]])
