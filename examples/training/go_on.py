"""Weights of a training run that has not ended, small enough to be kept: what it moved, in half precision, laid over the shipped ones.

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
# Key of the kept JSON: SHA-256 of the weights that hold what the run did not move.
_OVER = "over"


def kept(tensors: Mapping[str, Tensor], shipped: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that are not those of the shipped weights, float16."""
    moved = {name: tensor for name, tensor in tensors.items() if name not in shipped or not torch.equal(tensor, shipped[name])}
    return {name: tensor.half().contiguous() for name, tensor in moved.items()}


def laid_over(moved: Mapping[str, Tensor], shipped: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors, in the shipped types."""
    return {name: moved.get(name, tensor).to(tensor.dtype) for name, tensor in shipped.items()}


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
        if run.tensors.keys() != shipped.tensors.keys():
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
