"""Several processes that train one network: each draws its own examples, all take the same steps."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

# The others wait at the next step while one aligns pairs or looks at the tune split.
_PATIENCE = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Team:
    """This process among ``size``: ``rank`` counts through all machines, ``local_rank`` through the processes of this one."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the one process that writes and evaluates."""
        return self.rank == 0

    def sum_gradients(self, parameters: Sequence[Parameter], loss: Tensor) -> Tensor:
        """Add the gradients up over all processes, in place; returns the sum of their losses.

        A parameter that no process has a gradient of keeps none.
        """
        if self.size == 1:
            return loss
        present = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32)
        dist.all_reduce(present)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        # One message instead of one for each parameter.
        message = torch.cat([*(gradient.reshape(-1) for gradient in gradients), loss.reshape(1)])
        dist.all_reduce(message)
        sums = torch.split(message, [*(p.numel() for p in parameters), 1])
        for parameter, gradient, total, flag in zip(parameters, gradients, sums[:-1], present.tolist(), strict=True):
            # Copied, not replaced: the fused optimiser wants the parameter's own order in memory, channels last.
            parameter.grad = gradient.copy_(total.view_as(gradient)) if flag else None
        return message[-1]

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        if self.size == 1:
            return flag
        raised = torch.tensor([float(flag)])
        dist.all_reduce(raised)
        return bool(raised[0] > 0)

    def gathered(self, rows: list[Any]) -> list[Any]:
        """The rows of all processes, in the order of their ranks; to the others than the first, nothing."""
        if self.size == 1:
            return rows
        parts: list[Any] | None = [None] * self.size if self.first else None
        dist.gather_object(rows, parts)
        return [row for part in parts or [] for row in part]

    def wait(self) -> None:
        """Go on when all have come here."""
        self.any(False)


@contextmanager
def joined() -> Iterator[Team]:
    """The team that ``torchrun`` started this process for, or a team of one where nobody did."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team()
        return
    team = Team(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    # Gradients travel on the devices they lie on, flags and rows between the processors.
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)
    try:
        yield team
    finally:
        dist.destroy_process_group()
