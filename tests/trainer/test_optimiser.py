"""Orthogonal steps: what they are, what takes them, and that they stop and go on as the others do."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from torch.nn import Parameter

from trainer.config import Optimiser
from trainer.optimiser import Descent, make_optimiser, orthogonal
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.network import Network
from unireg_cli.model.settings import NetworkSettings


def descent(parameter: Parameter, **settings: float) -> Descent:
    group = {"params": [parameter], "factor": 1.0, "orthogonal": True}
    return Descent([group], Optimiser(method="muon", **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(5, 5), (4, 30), (30, 4)])
def test_orthogonal_keeps_singular_vectors_and_evens_out_singular_values(shape: tuple[int, int]) -> None:
    count = min(shape)
    left, right = (torch.linalg.qr(torch.randn(rows, count, dtype=torch.float64)).Q for rows in shape)
    matrix = left @ torch.diag(torch.logspace(0, -1.5, count, dtype=torch.float64)) @ right.T
    found = left.T @ orthogonal(1e-6 * matrix).double() @ right
    values = found.diagonal()
    assert values.min() > 0.65 and values.max() < 1.25
    assert (found - torch.diag(values)).abs().max() < 1e-3


def test_matrix_without_gradient_gets_no_direction() -> None:
    assert torch.equal(orthogonal(torch.zeros(3, 7)), torch.zeros(3, 7))


def test_first_step_is_as_long_as_said_and_shrinks_what_is_there() -> None:
    weight = Parameter(torch.ones(4, 3, 2, 2, 2))
    optimiser = descent(weight, rate=0.01, weight_decay=0.5)
    weight.grad = torch.randn_like(weight)
    direction = orthogonal(weight.grad.reshape(4, 24)).reshape(weight.shape)
    optimiser.step()
    # Columns 24, so that an orthogonal matrix has a root mean square of about 1 / sqrt(24), and the step 0.2 of the rate.
    expected = (1 - 0.01 * 0.5) - 0.01 * 0.2 * math.sqrt(24) * direction
    assert torch.allclose(weight, expected, atol=1e-6) and weight.grad is None


def test_direction_is_the_gradients_and_what_is_left_of_those_before() -> None:
    weight, first, second = Parameter(torch.zeros(3, 5)), torch.randn(3, 5), torch.randn(3, 5)
    optimiser = descent(weight, rate=1.0, weight_decay=0.0, momentum=0.5)
    for gradient in (first, second):
        before = weight.detach().clone()
        weight.grad = gradient.clone()
        optimiser.step()
    # Momentum 0.5 first + second; half of it is looked ahead: 0.25 first + 1.5 second.
    expected = -0.2 * math.sqrt(5) * orthogonal(0.25 * first + 1.5 * second)
    assert torch.allclose(weight - before, expected, atol=1e-5)


def test_gradient_that_is_not_finite_changes_nothing() -> None:
    weight = Parameter(torch.randn(3, 5))
    optimiser = descent(weight)
    weight.grad = torch.randn(3, 5)
    optimiser.step()
    before, moments = weight.detach().clone(), {name: tensor.clone() for name, tensor in optimiser.state[weight].items()}
    weight.grad = torch.full((3, 5), math.nan)
    optimiser.found_inf = torch.ones(())
    optimiser.step()
    assert torch.equal(weight, before) and all(torch.equal(moments[name], kept) for name, kept in optimiser.state[weight].items())
    assert float(moments["step"]) == 1


def test_opposed_pulls_do_not_shorten_each_other() -> None:
    """Two tasks in directions of their own, one a hundred times weaker: each gets as far as alone."""
    strong, weak = torch.zeros(4, 4), torch.zeros(4, 4)
    strong[0, 0], weak[2, 3] = 1.0, 0.01
    together, alone = orthogonal(strong + weak), orthogonal(weak)
    assert 0.65 < float(together[2, 3]) < 1.25 and 0.65 < float(alone[2, 3]) < 1.25


def test_kernels_and_matrices_take_orthogonal_steps_and_tables_do_not() -> None:
    network = Network(NetworkSettings(vocabulary().size, segmented=(1, 2), segmenter=(8, 16, 24, 32)))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = make_optimiser(network, Optimiser(method="muon", condition_rate=3.0)).param_groups
    turned = {names[id(parameter)] for group in groups if group["orthogonal"] for parameter in group["params"]}
    assert {"encoder.mix.0.first.convolution.weight", "levels.1.gather.weight", "conditions.mix.0.weight"} <= turned
    assert not any(word in name for name in turned for word in ("finder", "anatomy", "queries", "stem", "controller", "bias"))
    # Every weight is moved once, and what the condition alone passes through by its own rate.
    moved = [names[id(parameter)] for group in groups for parameter in group["params"]]
    assert sorted(moved) == sorted(names.values())
    quick = {names[id(parameter)] for group in groups if group["factor"] == 3.0 for parameter in group["params"]}
    assert "levels.0.head.controller.weight" in quick and not quick & turned
    assert not any(group["orthogonal"] for group in make_optimiser(network, Optimiser()).param_groups)


def test_goes_on_from_its_state_and_from_one_that_knew_no_orthogonal_steps() -> None:
    weights = [Parameter(torch.ones(3, 5)) for _ in range(2)]
    first, second = (descent(weight) for weight in weights)
    gradients = torch.randn(3, 3, 5)
    for gradient in gradients[:2]:
        weights[0].grad = gradient.clone()
        first.step()
    weights[1].data.copy_(weights[0].data)
    second.load_state_dict(deepcopy(first.state_dict()))
    for weight, optimiser in zip(weights, (first, second), strict=True):
        weight.grad = gradients[2].clone()
        optimiser.step()
    assert torch.equal(*weights)
    content = first.state_dict()
    del content["param_groups"][0]["orthogonal"]
    second.load_state_dict(content)
    assert second.param_groups[0]["orthogonal"] is False
