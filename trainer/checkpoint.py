"""Checkpoints: everything that a run needs to go on as if it had never stopped, written atomically."""

from __future__ import annotations

import tomllib
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from trainer.loop import State
from unireg_cli.errors import InputError
from unireg_cli.io.atomic import atomic_path

_DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, EOFError, UnpicklingError)
_COUNTS = ("step", "tuned", "skipped", "skipped_in_row")


def save(state: State, path: Path, config: str) -> None:
    """Weights, their average, the optimiser, the counts and the best result, with the TOML they belong to.

    Random numbers need no place here: those of a step follow from the seed and the step alone.
    """
    content = {
        "network": state.network.state_dict(),
        "average": state.average,
        "optimiser": state.optimiser.state_dict(),
        "best": state.best,
        "results": state.results,
        "origin": state.origin,
        "config": config,
        **{name: getattr(state, name) for name in _COUNTS},
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def restore(state: State, path: Path) -> str:
    """Bring ``state`` to where ``path`` was written; returns the TOML of that run.

    Raises:
        InputError: a file that is damaged, foreign, or of another network.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state.network.load_state_dict(content["network"])
        for name, tensor in state.average.items():
            tensor.copy_(content["average"][name])
        state.optimiser.load_state_dict(content["optimiser"])
        state.best, state.results, state.origin = float(content["best"]), dict(content["results"]), dict(content["origin"])
        for name in _COUNTS:
            setattr(state, name, int(content[name]))
        return str(content["config"])
    except _DAMAGED as error:
        raise _refused(path, error) from None


def network_of(path: Path) -> dict[str, Any]:
    """The network's settings in the TOML of a checkpoint; nothing if it has none.

    Raises:
        InputError: as :func:`restore`.
    """
    try:
        text = torch.load(path, map_location="cpu", weights_only=True)["config"]
        return dict(tomllib.loads(text)["network"]) if text else {}
    except _DAMAGED as error:
        raise _refused(path, error) from None


def _refused(path: Path, error: Exception) -> InputError:
    words = (str(error).splitlines() or [""])[0]
    return InputError(
        f"{path}: not a checkpoint of this network ({type(error).__name__}: {words}); "
        "name another output, or move it away and start anew"
    )
