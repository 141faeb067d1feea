"""Weights of a training run that has not ended, small enough to be kept: how far it moved from the shipped ones, in eight bits a number.

They are not shipped: tables and claims are about the shipped ones. A run goes on from them with ``init = "OUT.safetensors"`` in its TOML;
the state of its optimiser is not kept.

usage: go_on.py OUT.safetensors              whole weights of next.safetensors, for ``init`` or --weights
       go_on.py --keep WEIGHTS.safetensors   keep the weights of a run that began, at first, from the shipped ones
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from unireg_cli.io.weights import find_weights, read_weights, write_weights

NEXT = Path(__file__).resolve().parent / "next.safetensors"
# A tensor's step has its name with this behind it.
_STEP = ":step"
# Key of the kept JSON: SHA-256 of the weights that hold what the run did not move.
_OVER = "over"


def kept(tensors: Mapping[str, Tensor], shipped: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """How far each tensor lies from the shipped one, where it does: whole steps, int8, and the length of a step.

    The largest difference of a row (of a kernel: of an output channel; of what has one axis: of all) is 127 steps.
    """
    found = {}
    for name, tensor in tensors.items():
        apart = tensor - shipped[name]
        if apart.any():
            within_row = tuple(range(1, apart.ndim)) if apart.ndim > 1 else ()
            # A row that did not move has a step too: nothing is divided by 0.
            step = (apart.abs().amax(dim=within_row, keepdim=True) / 127).clamp_min(torch.finfo(torch.float32).tiny)
            found |= {name: (apart / step).round().to(torch.int8), name + _STEP: step}
    return found


def laid_over(moved: Mapping[str, Tensor], shipped: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors, in the shipped types, up to half a step off."""
    return {name: tensor + moved[name] * moved[name + _STEP] if name in moved else tensor for name, tensor in shipped.items()}


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def main(words: Sequence[str] | None = None) -> int:
    """Keep or give back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, metavar="WEIGHTS.safetensors")
    parser.add_argument("--keep", action="store_true")
    chosen = parser.parse_args(words)
    path = find_weights(None)
    assert path is not None  # the repository has some
    shipped, run = read_weights(path), read_weights(chosen.weights if chosen.keep else NEXT)
    if chosen.keep:
        if _shapes(run.tensors) != _shapes(shipped.tensors):
            parser.error(f"{run.path}: another network than that of the shipped weights")
        written, tensors, config = NEXT, kept(run.tensors, shipped.tensors), {**run.config, _OVER: shipped.sha256}
    else:
        if run.config[_OVER] != shipped.sha256:
            parser.error(f"{run.path}: kept beside other weights than the shipped {shipped.sha256[:12]}")
        # The lattices that it is shown are the shipped ones'.
        config = {name: value for name, value in run.config.items() if name != _OVER} | {"network": shipped.config["network"]}
        written, tensors = chosen.weights, laid_over(run.tensors, shipped.tensors)
    write_weights(written, tensors, config)
    print(f"{written}: step {config['step']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
