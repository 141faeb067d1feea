"""Where tensors live."""

from __future__ import annotations

import torch

from unireg_cli.errors import UsageError


def choose_device(asked: str) -> tuple[torch.device, str]:
    """The device of ``auto``, ``cpu``, ``cuda``, ``cuda:n`` or ``mps``, and the reason in words.

    Raises:
        UsageError: an unknown name, or a device that this machine or this build of PyTorch does not have.
    """
    if asked == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), "cuda (auto: a CUDA device is available)"
        return torch.device("cpu"), "cpu (auto: no CUDA device)"
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise UsageError(f"--device must be auto, cpu, cuda, cuda:N or mps, found {asked!r}") from None
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if not torch.cuda.is_available() or (device.index or 0) >= count:
            raise UsageError(f"--device {asked}: PyTorch sees {count} CUDA devices here; use --device cpu or auto")
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise UsageError("--device mps: PyTorch sees no Metal device here; use --device cpu or auto")
    elif device.type != "cpu":
        raise UsageError(f"--device must be auto, cpu, cuda, cuda:N or mps, found {asked!r}")
    return device, f"{asked} (asked for)"
