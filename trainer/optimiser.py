"""The optimiser: AdamW, and for kernels and matrices, where asked for, steps that are orthogonal matrices (Muon).

A step of AdamW is about as long whatever its gradient consists of, so that data sets which pull a matrix into different directions share
its length. An orthogonal step goes as far into each of these directions as into a single one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from trainer.config import Optimiser
from unireg_cli.model.adapter import CONDITIONAL
from unireg_cli.model.network import Network

# Tables with a row for each structure, most of which a step has nothing to say about; what images enter by; what writes the heads.
_ROW_BY_ROW = ("finder.", "conditions.anatomy", "segmenter.queries", "stem.", "controller.")
# Newton-Schulz steps x -> a x + b (x x') x + c (x x')^2 x, chosen for speed: singular values come to lie between 0.7 and 1.2. From
# K. Jordan et al., Muon, 2024.
_A, _B, _C, _ROUNDS = 3.4445, -4.7750, 2.0315, 5
# How long an orthogonal step is at a rate of 1, root mean square over its numbers: about as long as one of AdamW, so that one rate fits
# both. From J. Liu et al., Muon is scalable for LLM training, arXiv 2502.16982.
_LENGTH = 0.2


class Descent(torch.optim.AdamW):
    """AdamW whose groups with ``orthogonal`` set move their kernels (out, in, ...) as matrices (out, in x ...) by orthogonal steps.

    ``found_inf``, a scalar that may lie on the device: 1 leaves weights, moments and step counts as they are.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], settings: Optimiser) -> None:
        """``groups`` have ``params``, ``factor`` on the rate and ``orthogonal``."""
        # The fused one can skip a step without asking the device whether it should.
        super().__init__(groups, lr=settings.rate, weight_decay=settings.weight_decay, fused=True)
        self.found_inf: Tensor | None = None
        self._momentum = settings.momentum

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Groups of checkpoints from before there were orthogonal steps had none."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        for group in self.param_groups:
            group.setdefault("orthogonal", False)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """As an optimiser's; gradients of what took an orthogonal step are gone after it."""
        for group in self.param_groups:
            if group["orthogonal"]:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._turn(parameter, group)
                        parameter.grad = None
        return super().step(closure)

    def _turn(self, parameter: Parameter, group: dict[str, Any]) -> None:
        """One orthogonal step, along the gradient and what is left of those before (Nesterov)."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["momentum"] = torch.zeros_like(parameter)
        good = torch.ones_like(state["step"]) if self.found_inf is None else 1 - self.found_inf.to(state["step"])
        # A gradient that is not finite times 0 would still be none.
        gradient = torch.where(good > 0, parameter.grad, 0.0)
        momentum = torch.where(good > 0, self._momentum * state["momentum"] + gradient, state["momentum"])
        state["momentum"].copy_(momentum)
        state["step"] += good
        matrix = orthogonal((gradient + self._momentum * momentum).reshape(len(parameter), -1))
        rate = good * group["lr"]
        parameter.mul_(1 - rate * group["weight_decay"])
        parameter.sub_(rate * _LENGTH * max(matrix.shape) ** 0.5 * matrix.view(parameter.shape))


def orthogonal(matrix: Tensor) -> Tensor:
    """About the orthogonal matrix nearest to (rows, columns): its singular vectors, all singular values brought near to 1."""
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = (matrix.T if tall else matrix).float()
    x = x / x.norm().clamp_min(torch.finfo(x.dtype).tiny)
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = _A * x + (_B * square + _C * square @ square) @ x
    return x.T if tall else x


def make_optimiser(network: Network, settings: Optimiser) -> Descent:
    """What only the condition passes through has a rate of its own, for it gets its gradient through a narrow door."""
    groups: dict[tuple[float, bool], list[Parameter]] = {}
    for name, parameter in network.named_parameters():
        turned = settings.method == "muon" and parameter.ndim > 1 and not any(part in name for part in _ROW_BY_ROW)
        factor = settings.condition_rate if not turned and any(part in name for part in CONDITIONAL) else 1.0
        groups.setdefault((factor, turned), []).append(parameter)
    return Descent([{"params": own, "factor": factor, "orthogonal": turned} for (factor, turned), own in groups.items()], settings)
