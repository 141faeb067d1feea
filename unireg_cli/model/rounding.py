"""Where a network's convolutions may be done in bfloat16."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

# So many voxels deep must a network's coarsest lattice be at least: on CPUs with instructions for bfloat16 torch 2.13's convolutions
# give any value, now and then NaN, where it is one voxel deep, and any gradient of the weights where it is two deep.
_LEAST_DEEP, _LEAST_DEEP_TAUGHT = 2, 3


def gains_from_bfloat16(device: torch.device) -> bool:
    """Whether convolutions in bfloat16 are faster: on CUDA, and on CPUs with instructions for it (AVX-512 BF16, AMX); others imitate it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Private names of torch, so that a version without them falls back to float32.
    known = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return device.type == "cpu" and any(supported() for supported in known if supported is not None)


def is_sound(device: torch.device, shapes: Iterable[Sequence[int]], divisor: int, *, taught: bool) -> bool:
    """Whether bfloat16 gives right values there, and right gradients if the network is ``taught``.

    Args:
        device: where it is computed.
        shapes: of the lattices that images are shown on, in any order of the axes.
        divisor: what the network divides an image by on its coarsest lattice.
        taught: whether gradients are asked for.
    """
    deep = (_LEAST_DEEP_TAUGHT if taught else _LEAST_DEEP) - 1
    return device.type != "cpu" or all(min(shape) > deep * divisor for shape in shapes)
