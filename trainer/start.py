"""The state that a run begins with: random weights, or given ones."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import torch

from trainer.config import TrainConfig
from trainer.loop import State, new_state
from unireg_cli.errors import UsageError
from unireg_cli.io.weights import read_weights
from unireg_cli.model.network import build_network
from unireg_cli.model.settings import NetworkSettings


def begin(config: TrainConfig, device: torch.device) -> State:
    """A state before its first step; ``config.init`` gives the weights and their average, the optimiser is new.

    Raises:
        WeightsError: weights that are missing, damaged or foreign.
        UsageError: their network has other sizes than the config's.
    """
    state = new_state(config, device)
    if not config.init:
        return state
    file = read_weights(Path(config.init))
    _require_same_sizes(config, build_network(file.config["network"], file.tensors, config.init).settings)
    state.network.load_state_dict(file.tensors)
    for name, tensor in state.average.items():
        tensor.copy_(file.tensors[name])
    state.origin = {"name": file.name, "sha256": file.sha256, "step": file.config["step"], "trained": file.config["trained"]}
    # They are looked at before the first step: what the run keeps is no worse than what it was given.
    state.tuned = -1
    return state


def _require_same_sizes(config: TrainConfig, found: NetworkSettings) -> None:
    pairs = [(entry.name, getattr(config.network, entry.name), getattr(found, entry.name)) for entry in fields(NetworkSettings)]
    other = [f"{name} is {of_file!r}, the config says {of_config!r}" for name, of_config, of_file in pairs if of_config != of_file]
    if other:
        raise UsageError(f"init {config.init}: its network is another one: {'; '.join(other)}; set [network] as these weights have it")
