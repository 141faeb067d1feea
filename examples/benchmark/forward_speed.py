"""Seconds and memory of one forward pass of the shipped network, one way, in float32 and bfloat16.

usage: forward_speed.py [--size 160 192 160] [--rounds 5] [--threads 2] [-o OUT.csv]

The two types take turns and the median of the rounds counts; one pass of each goes before that. Registration takes float32 where bfloat16
does not pay (``unireg doctor`` tells which); below a million voxels it passes both ways, so twice.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Sequence

import costs
import torch
from torch import Tensor

from unireg_cli.commands.resources import Threads, apply_threads
from unireg_cli.io.weights import find_weights
from unireg_cli.loading import load_model
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.condition import Condition
from unireg_cli.model.network import Ask, Network
from unireg_cli.registration.prediction import as_ask
from unireg_cli.types import Mode

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = costs.arguments(__doc__, "forward_speed")
    parser.add_argument("--size", type=int, nargs=3, default=[160, 192, 160], metavar=("X", "Y", "Z"))
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(words)
    # As the command does: freed memory is kept, which the first pass then no longer pays for.
    apply_threads(Threads(chosen.threads, "--threads"))
    network, ask = shipped()
    divisor, size = network.settings.divisor, chosen.size
    if any(edge % (2 * divisor) for edge in size):
        parser.error(f"--size: multiples of {2 * divisor}; registration pads to them")
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(2, 1, *reversed(size), generator=draw)
    known = torch.ones(2, 1, *(edge // 2 for edge in reversed(size)))
    seconds: dict[str, list[float]] = {name: [] for name in TYPES}
    for number in range(chosen.rounds + 1):
        for name, of in TYPES.items():
            taken = one_pass(network, images, known, ask, of)
            if number:
                seconds[name].append(taken)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    rows = [
        {"size": "x".join(map(str, size)), "type": name, "seconds": statistics.median(of), "peak_memory_gb": memory}
        for name, of in seconds.items()
    ]
    costs.write_rows(chosen.output, rows, chosen.threads)
    print(told(costs.read_rows(chosen.output)))
    return 0


def shipped() -> tuple[Network, Ask]:
    """The shipped network, and the request that is made by default.

    Raises:
        SystemExit: this installation has no weights.
    """
    path = find_weights(None)
    if path is None:
        raise SystemExit("no weights in this installation")
    known = vocabulary()
    return load_model(path).network, as_ask(Condition(known.everything(), Mode.INTER, 0.5), known)


@torch.inference_mode()
def one_pass(network: Network, images: Tensor, known: Tensor, ask: Ask, of: torch.dtype) -> float:
    """Seconds of one pass with convolutions in this type."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=of is torch.bfloat16):
        begin = time.perf_counter()
        network(images, known, ask)
        return time.perf_counter() - begin


def told(rows: Sequence[dict[str, str]]) -> str:
    """The rows as a table."""
    heads = ("voxels", "type", "s per pass", "peak memory of the process, GB")
    return costs.markdown(
        heads, [(row["size"], row["type"], f"{float(row['seconds']):.3g}", f"{float(row['peak_memory_gb']):.2f}") for row in rows]
    )


if __name__ == "__main__":
    sys.exit(main())
