"""The state that a run begins with: random weights, or given ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.checkpoint import network_of
from trainer.config import LEARNERS, TrainConfig
from trainer.loop import State, new_state
from trainer.pool import Pool
from trainer.segmenting import segmentable
from trainer.widening import SEGMENTER, widened
from unireg_cli.errors import UsageError
from unireg_cli.io.weights import read_weights
from unireg_cli.model.adapter import SEGMENTER_TABLES
from unireg_cli.model.network import build_network
from unireg_cli.model.settings import NetworkSettings


def network_before(config: TrainConfig, checkpoint: Path) -> Mapping[str, Any]:
    """Settings of the network that a run goes on with: its checkpoint's, or else those of the weights it begins as; nothing if it has none.

    Raises:
        WeightsError: weights to begin with that are missing or damaged.
        InputError: a checkpoint that cannot be read.
    """
    if checkpoint.exists():
        return network_of(checkpoint)
    return read_weights(Path(config.init)).config["network"] if config.init else {}


def settled(config: TrainConfig, pools: Sequence[Pool], before: Mapping[str, Any], *, resumed: bool = False) -> TrainConfig:
    """The config with what its network is for: structures that it tells apart, and how finely it is shown images.

    The structures are those of the settings ``before``, see :func:`network_before`, and all others that it is taught; a ``resumed`` run
    stays as it was. Lattices are no finer than those that it is taught on, or was.

    Raises:
        UsageError: no source has labels on real images.
    """
    pair_voxels, sight_voxels = _finest(config, before)
    network = replace(config.network, pair_voxels=pair_voxels, sight_voxels=sight_voxels)
    if network.segmented:
        return replace(config, network=network)
    given = tuple(before.get("segmented", ()))
    learned = [pool.learn for pool in pools if "segmentation" in config.learns and pool.source.segmented]
    ids = given if resumed and given else given + tuple(id for id in segmentable(learned) if id not in given)
    if not ids and "segmentation" in config.learns:
        raise UsageError("learns: no source has labels on real images that segmentation could be learned from; leave it out")
    return replace(config, network=replace(network, segmented=ids))


def _finest(config: TrainConfig, before: Mapping[str, Any]) -> tuple[int, int]:
    """Voxels of the finest lattices of a pair and of an image: of what is taught now, else as before, never more than the config says."""
    registration, segmentation = (learner in config.learns for learner in LEARNERS)
    most = config.network.pair_voxels, config.network.sight_voxels
    pair, sight = before.get("pair_voxels", most[0]), before.get("sight_voxels", most[1])
    if registration:
        pair = max(source.fine_voxels[1] if source.fine else source.voxels[1] for source in config.sources if source.weight)
    if segmentation:
        sight = config.segmenting.voxels[1]
    return min(most[0], pair), min(most[1], sight)


def begin(config: TrainConfig, device: torch.device) -> State:
    """A state before its first step; ``config.init`` gives the weights and their average, the optimiser is new.

    Weights without a segmenter may be begun with where one is to be taught: it begins as the registration's encoder. So may weights
    whose segmenter knows fewer structures: it keeps what it knows, and does not rely on the new ones before they have been looked at;
    and weights whose segmenter has fewer channels: it goes on from what it sees with them.

    Raises:
        WeightsError: weights that are missing, damaged or foreign.
        UsageError: their network has other sizes than the config's.
    """
    state = new_state(config, device)
    if not config.init:
        return state
    file = read_weights(Path(config.init))
    _require_same_sizes(config, build_network(file.config["network"], file.tensors, config.init).settings)
    fresh = state.network.state_dict()
    tensors = {**fresh, **file.tensors}
    before, now = tuple(file.config["network"].get("segmented", ())), config.network.segmented
    if now:
        known = {name: tensor for name, tensor in file.tensors.items() if name.startswith(SEGMENTER)}
        tensors |= with_more(widened(known or as_segmenter(file.tensors, now), fresh), before or now, fresh, now)
    state.network.load_state_dict(tensors)
    for name, tensor in tensors.items():
        state.average[name].copy_(tensor)
    state.origin = {"name": file.name, "sha256": file.sha256, "step": file.config["step"], "trained": file.config["trained"]}
    # They are looked at before the first step: what the run keeps is no worse than what it was given.
    state.tuned = -1
    return state


def as_segmenter(tensors: Mapping[str, Tensor], segmented: Sequence[int]) -> dict[str, Tensor]:
    """A segmenter that begins as the registration's encoder and finder."""
    own = [name for name in tensors if name.startswith("encoder.") and not name.startswith("encoder.match.")]
    encoder = {f"{SEGMENTER}{name}": tensors[name] for name in own}
    rows = torch.tensor(segmented)
    queries, bias = torch.cat((tensors["finder.fine"][rows], tensors["finder.context"][rows]), dim=1), tensors["finder.bias"][rows]
    return {**encoder, "segmenter.queries": queries, "segmenter.bias": bias, "segmenter.trust": torch.zeros_like(bias)}


def with_more(tensors: Mapping[str, Tensor], before: Sequence[int], fresh: Mapping[str, Tensor], now: Sequence[int]) -> dict[str, Tensor]:
    """A segmenter of the structures ``before`` as one of those ``now``, ``fresh`` where it knew none; they are not relied on yet."""
    rows = torch.tensor([now.index(id) for id in before])
    found = dict(tensors)
    for name in SEGMENTER_TABLES:
        found[name] = fresh[name].index_copy(0, rows, tensors[name].to(fresh[name]))
    return found


def _require_same_sizes(config: TrainConfig, found: NetworkSettings) -> None:
    pairs = [(entry.name, getattr(config.network, entry.name), getattr(found, entry.name)) for entry in fields(NetworkSettings)]
    own, given = config.network.segmenting, found.segmenting
    wider = len(own) == len(given) and all(one >= other for one, other in zip(own, given, strict=True))
    free = dict.fromkeys(("pair_voxels", "sight_voxels"), True)
    free |= {"segmented": set(found.segmented) <= set(config.network.segmented), "segmenter": wider or not found.segmented}
    pairs = [pair for pair in pairs if not free.get(pair[0])]
    other = [f"{name} is {of_file!r}, the config says {of_config!r}" for name, of_config, of_file in pairs if of_config != of_file]
    if other:
        raise UsageError(f"init {config.init}: its network is another one: {'; '.join(other)}; set [network] as these weights have it")
