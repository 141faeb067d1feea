"""What of a network can be adapted on its own: the tensors that only the condition passes through, laid over those of the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from unireg_cli.errors import WeightsError
from unireg_cli.model.anatomy import AnatomyRequest, Vocabulary
from unireg_cli.model.condition import Condition, encode
from unireg_cli.model.network import Network
from unireg_cli.model.settings import NetworkSettings

CONDITIONAL = ("controller", "modulation", "conditions")
"""What only the condition passes through, by parts of the parameters' names."""

EMBEDDING = "conditions.anatomy"
TABLES = (EMBEDDING, "finder.fine", "finder.context", "finder.bias")
"""Tensors with one row for each id of the vocabulary."""

SEGMENTER_TABLES = ("segmenter.queries", "segmenter.bias", "segmenter.trust")
"""Tensors with one row for each structure that the segmenter tells apart, if there is a segmenter."""

_ROWS = "rows:"


def adaptable(name: str) -> bool:
    """Whether a tensor is part of what is adapted on its own: only the condition passes through it, or it scales or shifts what an
    encoder sees, which is for the images of one request alone then.
    """
    return scaling(name) or any(part in name for part in CONDITIONAL)


def scaling(name: str) -> bool:
    """Whether a tensor scales or shifts features of the encoder."""
    # From the first layer on: torch 2.13 crashes in the gradient of a bfloat16 norm with few voxels if nothing before it has one.
    return name.startswith("encoder.") and (".norm." in name or name.endswith(".bias"))


def rows_asked(request: AnatomyRequest, known: Vocabulary) -> dict[str, list[int]]:
    """Which rows of each table a request reads: all that it adds up of the embeddings, and the structures that it looks for."""
    embedded = encode(Condition(request), known).anatomy.nonzero()[0].tolist()
    sought = [] if request.regions else sorted(request.structures)
    return {name: embedded if name == EMBEDDING else sought for name in TABLES}


def grown(tensors: Mapping[str, Tensor], region: int) -> dict[str, Tensor]:
    """The tensors with one more row in every table, a copy of the ``region``'s."""
    return {name: torch.cat((tensor, tensor[region : region + 1])) if name in TABLES else tensor for name, tensor in tensors.items()}


def with_segmented(tensors: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """The tensors with a segmenter of ``count`` structures: those behind the ones that it knows are seen and relied on nowhere."""
    return {name: _lengthened(tensor, count) if name in SEGMENTER_TABLES else tensor for name, tensor in tensors.items()}


def _lengthened(table: Tensor, count: int) -> Tensor:
    """A table with ``count`` rows, new ones of zeros; itself if it has them."""
    missing = count - len(table)
    return torch.cat((table, table.new_zeros(missing, *table.shape[1:]))) if missing else table


def as_everything(tensors: Mapping[str, Tensor], id: int, region: int, everything: int) -> dict[str, Tensor]:
    """The tensors with the embedding of ``id`` such that asking for it, with its region, says to the network what ``all`` says."""
    table = tensors[EMBEDDING].clone()
    # Two embeddings are summed and divided by the root of two.
    table[id] = 2**0.5 * table[everything] - table[region]
    return {**tensors, EMBEDDING: table}


def overlay(base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], rows: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """What a file must hold beside ``base``: ``rows`` of the tables, and of all other tensors those that differ.

    Raises:
        ValueError: a row that differs and is not among ``rows``.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tuned.items():
        if name not in TABLES:
            if not torch.equal(tensor, base[name]):
                found[name] = tensor
            continue
        own = list(rows.get(name, []))
        others = [row for row in range(len(base[name])) if row not in set(own)]
        if not torch.equal(tensor[others], base[name][others]):
            raise ValueError(f"{name}: rows beside {own} were changed")
        if own:
            found[_ROWS + name] = tensor[own]
    return found


def laid_over(
    base: Mapping[str, Tensor], over: Mapping[str, Tensor], rows: Mapping[str, Sequence[int]], size: int, where: str
) -> dict[str, Tensor]:
    """The whole tensors again: ``base`` with what :func:`overlay` has kept; its tables grow to ``size`` rows.

    Raises:
        WeightsError: tensors or rows that the base has no place for.
    """
    whole = {**base, **{name: _lengthened(base[name], size).clone() for name in TABLES}}
    for name, tensor in over.items():
        target = name.removeprefix(_ROWS)
        places = rows.get(target, []) if name != target else None
        fits = target in whole and (places is None or (len(places) == len(tensor) and all(0 <= row < size for row in places)))
        if not fits or (tensor.shape[1:] != whole[target].shape[1:] if places is not None else tensor.shape != whole[target].shape):
            raise WeightsError(f"{where}: its tensor {name!r} fits no tensor of its base; copy the file anew")
        if places is None:
            whole[target] = tensor
        else:
            whole[target][list(places)] = tensor
    return whole


def named(network: Network, known: Vocabulary) -> Network:
    """A network that understands the names of ``known``: as many as its tables have rows.

    Raises:
        WeightsError: another number.
    """
    if network.settings.vocabulary != known.size:
        raise WeightsError(
            f"the network knows {network.settings.vocabulary} anatomies, its names are {known.size}: made with another table of "
            "anatomies; use the unireg it was made with, or adapt the weights anew"
        )
    network.known = known
    return network


def with_rows(settings: NetworkSettings, count: int) -> NetworkSettings:
    """The settings of a network with another number of ids."""
    return replace(settings, vocabulary=count)
