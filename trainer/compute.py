"""Where a run computes and how exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from unireg_cli.errors import UsageError
from unireg_cli.model.rounding import gains_from_bfloat16, is_sound

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Compute:
    """A device, and whether convolutions run in bfloat16 there."""

    device: torch.device
    reduced: bool = False

    def autocast(self, images: Sequence[Tensor], divisor: int) -> torch.autocast:
        """The context of a forward pass of a network with this ``divisor`` on ``images`` (..., D, H, W); float32 on CPUs if one is thin."""
        sound = is_sound(self.device, [image.shape[-3:] for image in images], divisor, taught=True)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.reduced and sound)

    def moved(self, value: T) -> T:
        """A dataclass, or a tuple, with all tensors in it on the device; what needs no move is not copied."""
        if self.device.type == "cpu":
            return value
        moved: T = each_tensor(value, lambda tensor: tensor.to(self.device, non_blocking=True))
        return moved

    def __str__(self) -> str:
        return f"{self.device}, {'bfloat16' if self.reduced else 'float32'}"


def choose_compute(device: str, precision: str, local_rank: int = 0) -> Compute:
    """Read the two settings: ``auto`` is a CUDA device where there is one, and bfloat16 where the processor has units for it.

    Raises:
        UsageError: a CUDA device was asked for and there is none, or fewer than processes.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" or (device == "auto" and count):
        if local_rank >= count:
            raise UsageError(f"device {device}: process {local_rank + 1} here finds {count} CUDA devices; use cpu, or start fewer")
        place = torch.device("cuda", local_rank)
    else:
        place = torch.device("cpu")
    return Compute(place, precision == "bfloat16" or (precision == "auto" and gains_from_bfloat16(place)))


def each_tensor(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nest of dataclasses and tuples with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{entry.name: each_tensor(getattr(value, entry.name), change) for entry in fields(value)})
    if type(value) is tuple:
        return tuple(each_tensor(entry, change) for entry in value)
    return value
