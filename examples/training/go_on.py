"""Weights of a training run that has not ended, small enough to be kept: what it moved, in half precision, laid over the shipped ones.

They are not shipped: tables and claims are about the shipped ones. A run goes on from them with ``init = "OUT.safetensors"`` in its TOML;
the state of its optimiser is not kept.

usage: go_on.py OUT.safetensors              whole weights of next.safetensors, for ``init`` or --weights
       go_on.py --keep WEIGHTS.safetensors   keep the weights of a run, which began from the shipped ones and left the segmenter alone
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from unireg_cli.io.weights import find_weights, read_weights, write_weights

NEXT = Path(__file__).resolve().parent / "next.safetensors"


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
    shipped = read_weights(path)
    if chosen.keep:
        run = read_weights(chosen.weights)
        if dict(run.config["init"])["sha256"] != shipped.sha256:
            parser.error(f"{chosen.weights}: began from other weights than the shipped {shipped.sha256[:12]}")
        save_file(kept(run.tensors, shipped.tensors), NEXT)
        NEXT.with_suffix(".json").write_text(json.dumps(run.config, indent=1) + "\n", "utf-8")
        print(f"{NEXT}: step {run.config['step']}")
        return 0
    config: dict[str, Any] = json.loads(NEXT.with_suffix(".json").read_text("utf-8"))
    if dict(config["init"])["sha256"] != shipped.sha256:
        parser.error(f"{NEXT}: began from other weights than the shipped {shipped.sha256[:12]}")
    # The lattices that it is shown are the shipped ones'.
    config |= {"network": shipped.config["network"]}
    write_weights(chosen.weights, laid_over(load_file(NEXT), shipped.tensors), config)
    print(f"{chosen.weights}: step {config['step']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
