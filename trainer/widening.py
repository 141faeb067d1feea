"""A segmenter of few channels as one of more: it sees what it saw, and has room to learn."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

SEGMENTER = "segmenter."
"""What the names of its tensors begin with."""
# One row or number for each structure, not for each channel.
_QUERIES, _OF_STRUCTURES = "segmenter.queries", ("segmenter.bias", "segmenter.trust")
_STEM = "segmenter.encoder.stem.weight"


def widened(tensors: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a segmenter with its channels as the first ones of a wider one, whose others begin as ``fresh`` has them.

    What there was reads nothing of the new channels yet, so that logits are the same, normalisation included where its groups of 8
    channels are whole. Structures may be others in ``fresh``; those of ``tensors`` are kept.

    Source:
        Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016: starts that preserve the function.
    """
    fine, wide_fine = len(tensors[_STEM]), len(fresh[_STEM])
    found = {}
    for name, own in tensors.items():
        wide = fresh[name]
        if name in _OF_STRUCTURES or (name != _QUERIES and own.shape == wide.shape):
            found[name] = own
        elif name == _QUERIES:
            # Channels of the finest level, then those of the next.
            found[name] = own.new_zeros(len(own), wide.shape[1])
            found[name][:, :fine] = own[:, :fine]
            found[name][:, wide_fine : wide_fine + own.shape[1] - fine] = own[:, fine:]
        else:
            found[name] = wide.clone().to(own)
            found[name][: len(own)] = 0
            found[name][tuple(slice(n) for n in own.shape)] = own
    return found
