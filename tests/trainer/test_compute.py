"""Where bfloat16 is used and where it would be wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from trainer.compute import Compute
from unireg_cli.model.condition import Condition
from unireg_cli.model.network import Network
from unireg_cli.registration.prediction import as_ask

CPU = torch.device("cpu")
Make = Callable[..., Network]


@pytest.mark.parametrize(
    ("shapes", "rounded"),
    [
        ([(48, 64, 80)], True),
        # The coarsest of the network's lattices is two voxels thin.
        ([(32, 64, 80)], False),
        ([(64, 80, 32)], False),
        ([(48, 48, 48), (16, 64, 64)], False),
    ],
)
def test_thin_lattices_are_never_rounded_on_a_cpu(shapes: list[tuple[int, int, int]], rounded: bool) -> None:
    images = [torch.zeros(2, 1, *shape) for shape in shapes]
    for reduced in (False, True):
        with Compute(CPU, reduced).autocast(images, 16):
            assert torch.is_autocast_enabled("cpu") is (reduced and rounded)


def test_accelerators_round_thin_lattices_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *words, **named: (*words, named["enabled"]))
    thin = [torch.zeros(1, 1, 16, 64, 64)]
    assert Compute(torch.device("cuda"), True).autocast(thin, 16) == ("cuda", torch.bfloat16, True)
    assert Compute(CPU, True).autocast(thin, 16) == ("cpu", torch.bfloat16, False)


def test_gradients_of_a_thin_pair_are_those_of_single_precision(tiny_network: Make) -> None:
    network, images = tiny_network(awake=0.1).requires_grad_(True), torch.rand(2, 1, 32, 48, 48, generator=torch.Generator().manual_seed(0))
    ask = as_ask(Condition(network.known.everything()), network.known)

    def gradients(compute: Compute) -> list[torch.Tensor]:
        with compute.autocast((images,), network.settings.divisor):
            output = network(images, torch.ones(2, 1, 16, 24, 24), ask)
        wanted = [parameter for name, parameter in network.named_parameters() if name.startswith("encoder.")]
        return [grad for grad in torch.autograd.grad(output.displacement.square().sum(), wanted, allow_unused=True) if grad is not None]

    exact, found = gradients(Compute(CPU)), gradients(Compute(CPU, True))
    assert len(exact) > 4 and all(torch.equal(one, other) for one, other in zip(exact, found, strict=True))
