"""The whole network, untrained or with random weights: shapes, diffeomorphisms, conditions, and strict building."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from unireg_cli.errors import WeightsError
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.condition import Condition
from unireg_cli.model.network import Ask, Network, Output, bounded, build_network, settings_as_json, surroundings
from unireg_cli.model.settings import NetworkSettings
from unireg_cli.registration.prediction import as_ask
from unireg_cli.spatial.filters import gaussian
from unireg_cli.spatial.jacobian import index_determinant
from unireg_cli.spatial.velocity import compose, exponential, integrate
from unireg_cli.types import Mode

KNOWN = vocabulary()
Make = Callable[..., Network]


def ask(*words: str, mode: Mode = Mode.INTER, smoothness: float = 0.5) -> Ask:
    return as_ask(Condition(KNOWN.resolve(words), mode, smoothness), KNOWN)


def images(size: int = 64, seed: int = 0) -> Tensor:
    """Two smooth random images."""
    noise = torch.randn(2, 1, size, size, size, generator=torch.Generator().manual_seed(seed))
    smooth = gaussian(noise, (4.0,) * 3)
    return (smooth - smooth.min()) / (smooth.max() - smooth.min())


def run(network: Network, pair: Tensor, what: Ask | None = None, *, inverse: bool = False) -> Output:
    half = [n // 2 for n in pair.shape[2:]]
    return network(pair, torch.ones(2, 1, *half), ask() if what is None else what, inverse=inverse)


def length(displacement: Tensor) -> Tensor:
    return displacement.square().sum(dim=0).sqrt()


@pytest.mark.parametrize("size", [(16, 16, 16), (32, 16, 48)])
def test_results_lie_on_half_the_lattice(tiny_network: Make, size: tuple[int, int, int]) -> None:
    pair = torch.rand(2, 1, *size)
    output = run(tiny_network(awake=0.1), pair, inverse=True)
    d, h, w = (n // 2 for n in size)
    assert output.displacement.shape == (3, d, h, w)
    assert output.inverse is not None and output.inverse.shape == (3, d, h, w)
    assert [tuple(v.shape) for v in output.velocities] == [(3, d >> k, h >> k, w >> k) for k in (3, 2, 1, 0)]
    assert [tuple(f.shape) for f in output.features.match] == [(2, 4, d >> k, h >> k, w >> k) for k in range(4)]
    assert output.features.of(1).fine.shape == (1, 4, d, h, w)
    assert torch.equal(output.asked, torch.ones(2, 1, d, h, w))
    assert run(tiny_network(), pair).inverse is None


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_weights_give_a_diffeomorphism_and_its_inverse(tiny_network: Make, seed: int) -> None:
    output = run(tiny_network(seed=seed, awake=0.1), images(seed=seed), inverse=True)
    forward, inverse = output.displacement, output.inverse
    assert inverse is not None
    assert all(float(length(v).max()) > 0.02 for v in output.velocities)
    assert float(length(forward).mean()) > 0.4
    assert float(index_determinant(forward).min()) > 0 and float(index_determinant(inverse).min()) > 0
    # At the edge of the lattice paths leave it; what is inside comes back.
    inner = (slice(8, -8),) * 3
    for one, other in ((forward, inverse), (inverse, forward)):
        left = length(compose(one, other))[inner]
        assert float(left.mean()) < 0.05 * float(length(forward)[inner].mean())
        assert float(left.max()) < 0.25


def test_velocities_are_bounded_however_wild_the_weights(tiny_network: Make) -> None:
    output = run(tiny_network(awake=5.0), images(32))
    for velocity, reach in zip(output.velocities, (2.0, 2.0, 2.0, 1.0), strict=True):
        assert 0.2 * reach < float(length(velocity).max()) <= reach
    assert bool(torch.isfinite(output.displacement).all())


def test_bounded_by_hand() -> None:
    velocity = torch.tensor([3.0, 0.0, 4.0]).view(3, 1, 1, 1)
    # Length 5, reach 5: shortened by the root of two.
    assert torch.allclose(bounded(velocity, 5.0), velocity / 2**0.5)
    assert float(length(bounded(1e6 * velocity, 5.0))) == pytest.approx(5.0)
    assert torch.allclose(bounded(1e-4 * velocity, 5.0), 1e-4 * velocity)


def test_exponential_of_a_bound_is_that_of_the_values() -> None:
    velocity = gaussian(torch.randn(3, 12, 12, 12, generator=torch.Generator().manual_seed(0)), (2.0,) * 3)
    velocity *= 1.5 / float(velocity.abs().max())
    assert torch.allclose(exponential(velocity, 1.5, 0.25), integrate(velocity, largest_step=0.25), rtol=0, atol=1e-6)
    # More halvings than the values need change next to nothing; fewer than one change nothing at all.
    assert torch.allclose(exponential(velocity, 12.0, 0.25), integrate(velocity), rtol=0, atol=0.05)
    assert torch.equal(exponential(velocity, 0.1, 0.25), velocity)


def test_exponential_can_be_differentiated() -> None:
    velocity = (0.5 * torch.randn(3, 4, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).requires_grad_()
    lattice = torch.stack(torch.meshgrid(*[torch.arange(4.0, dtype=torch.float64)] * 3, indexing="ij")[::-1], dim=-1)
    assert torch.autograd.gradcheck(lambda v: exponential(v, 1.0, 0.25, lattice), (velocity,))


def test_one_seed_gives_one_network(tiny_network: Make) -> None:
    one, same, other = tiny_network(seed=1), tiny_network(seed=1), tiny_network(seed=2)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), same.state_dict().values(), strict=True))
    pair = images(16)
    assert torch.equal(run(one, pair).displacement, run(same, pair).displacement)
    assert not torch.allclose(run(one, pair).displacement, run(other, pair).displacement)


def test_conditions_do_nothing_before_training_and_something_after(tiny_network: Make) -> None:
    pair, untrained, trained = images(32), tiny_network(), tiny_network(awake=0.3)
    conditions = [ask(), ask("abdomen"), ask("brain"), ask(mode=Mode.INTRA)]
    first, *others = [run(untrained, pair, what).displacement for what in conditions]
    assert float(length(first).max()) > 0
    assert all(torch.equal(first, other) for other in others)
    first, *others = [run(trained, pair, what).displacement for what in conditions]
    assert all(float(length(first - other).max()) > 1e-3 for other in others)


def test_more_smoothness_gives_smoother_velocities(tiny_network: Make) -> None:
    spread = [
        float(torch.diff(run(tiny_network(), images(32), ask(smoothness=s)).velocities[-1], dim=1).square().mean()) for s in (0, 0.5, 1)
    ]
    assert spread[0] > spread[1] > spread[2] > 0


def test_belief_is_the_best_of_the_named_structures(tiny_network: Make) -> None:
    network = tiny_network()
    liver, spleen = KNOWN.structure_id("liver"), KNOWN.structure_id("spleen")
    network.finder.bias[spleen] = 2.0
    network.finder.fine.zero_()
    network.finder.context.zero_()
    output = run(network, images(16), ask("liver", "spleen"))
    assert torch.allclose(output.asked, torch.sigmoid(torch.tensor(2.0)).expand_as(output.asked))
    alone = network.belief(output.features, torch.tensor([liver]))
    assert torch.allclose(alone, torch.sigmoid(torch.tensor(-3.0)).expand_as(alone))


def test_fields_are_looser_where_structures_are_believed_to_be(tiny_network: Make) -> None:
    network, pair = tiny_network(awake=0.3), images(32)
    every, named = ask(), ask("liver")
    # The same condition but for what is looked for, so that the difference is that of the smoothing.
    looking = replace(every, structures=named.structures)

    def rough(what: Ask, bias: float) -> float:
        network.finder.bias.fill_(bias)
        return sum(float(v.diff(dim=-1).square().mean()) for v in run(network, pair, what).velocities)

    assert rough(looking, 50) > 1.05 * rough(every, 0)


def test_surroundings_reach_a_few_voxels() -> None:
    belief = torch.zeros(24, 24, 24)
    belief[8:16, 8:16, 8:16] = 1
    near = surroundings(belief)
    assert float(near[8:16, 8:16, 8:16].min()) > 0.3 and bool((near[9:15, 9:15, 9:15] > 0.8).all())
    assert bool((near[10:14, 10:14, 10:14] == 1).all())
    assert 0.3 < float(near[12, 12, 16]) < 1 and float(near[12, 12, 22]) < 1e-3
    assert torch.equal(surroundings(torch.zeros(4, 4, 4)), torch.zeros(4, 4, 4))


def test_finder_by_hand(tiny_network: Make) -> None:
    network = tiny_network()
    features = run(network, images(16)).features
    ids = torch.tensor([3, 1])
    logits = network.finder(features, ids)
    assert logits.shape == (2, 2, 8, 8, 8)
    context = torch.nn.functional.interpolate(features.context, scale_factor=2, mode="trilinear", align_corners=False)
    place = (1, slice(None), 2, 3, 4)
    by_hand = network.finder.bias[1] + network.finder.fine[1] @ features.fine[place] + network.finder.context[1] @ context[place]
    assert float(logits[1, 1, 2, 3, 4]) == pytest.approx(float(by_hand), abs=1e-5)


def test_moving_nothing(tiny_network: Make) -> None:
    output = run(tiny_network(still=True), images(32), inverse=True)
    assert output.inverse is not None
    assert float(output.displacement.abs().max()) == float(output.inverse.abs().max()) == 0.0


def test_every_weight_gets_a_gradient(tiny_network: Make) -> None:
    network = tiny_network(awake=0.1).requires_grad_(True)
    output = run(network, images(32), ask("liver"), inverse=True)
    assert output.inverse is not None
    logits = network.finder(output.features, torch.tensor([0]))
    (output.displacement.square().mean() + output.inverse.square().mean() + logits.mean()).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in network.parameters() if parameter.grad is not None)


class TestBuilding:
    def test_settings_and_weights_make_the_same_network(self, tiny_network: Make) -> None:
        network = tiny_network(awake=0.1)
        # As JSON has it: lists instead of tuples.
        sizes = {k: list(v) if isinstance(v, tuple) else v for k, v in settings_as_json(network.settings).items()}
        built = build_network(sizes, network.state_dict())
        assert built.settings == network.settings and not built.training
        assert not any(parameter.requires_grad for parameter in built.parameters())
        assert torch.equal(run(built, images(16)).displacement, run(network, images(16)).displacement)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"colour": 3}, "unknown or missing: colour"),
            ({"hidden": None}, "unknown or missing: hidden"),
            ({"encoder": [4, 4, 8]}, "every level"),
            ({"encoder": [4, 4, 8, 0]}, "positive"),
            ({"encoder": "many"}, "do not make a network|every level"),
            ({"condition": "wide"}, "do not make a network"),
            ({"neighbours": [7, 7, 27, 9]}, "7 or 27"),
            ({"reach": [1, 2, 2, 0]}, "reach"),
            ({"reach": [1, 2, 2, float("nan")]}, "reach"),
        ],
    )
    def test_settings_that_do_not_fit(self, tiny_network: Make, change: dict[str, Any], words: str) -> None:
        network = tiny_network()
        sizes = {k: v for k, v in (settings_as_json(network.settings) | change).items() if v is not None}
        with pytest.raises(WeightsError, match=words):
            build_network(sizes, network.state_dict())

    def test_tensors_that_do_not_fit(self, tiny_network: Make) -> None:
        network = tiny_network()
        sizes, whole = settings_as_json(network.settings), dict(network.state_dict())
        name = "encoder.stem.weight"
        wrong: Sequence[tuple[dict[str, Tensor], str]] = [
            ({k: v for k, v in whole.items() if k != name}, f"x.safetensors: 1 tensors .*{name}: expected .*4, 9, 3, 3, 3.*found nothing"),
            (whole | {"zoo.weight": torch.zeros(2)}, r"zoo.weight: expected nothing, found \(2,\)"),
            (whole | {name: torch.zeros(4, 9, 3, 3)}, rf"{name}: expected \(4, 9, 3, 3, 3\), found \(4, 9, 3, 3\)"),
            ({}, "tensors do not fit"),
        ]
        for tensors, words in wrong:
            with pytest.raises(WeightsError, match=words):
                build_network(sizes, tensors, "x.safetensors")

    def test_a_vocabulary_of_another_size(self, tiny_network: Make) -> None:
        network = tiny_network()
        sizes = settings_as_json(replace(network.settings, vocabulary=KNOWN.size + 1))
        with pytest.raises(WeightsError, match=r"conditions.anatomy: expected \(365, 4\), found \(364, 4\)"):
            build_network(sizes, network.state_dict())

    def test_levels_and_divisor(self) -> None:
        settings = NetworkSettings(10)
        assert (settings.levels, settings.divisor) == (4, 16)
        with pytest.raises(WeightsError, match="every level"):
            NetworkSettings(10, encoder=(8,), match=(8,), decoder=(8,), reach=(1.0,), neighbours=(7,))
