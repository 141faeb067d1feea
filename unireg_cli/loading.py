"""The network of a run: chosen from what was asked, read once, handed to every pair."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unireg_cli.io.weights import find_weights, read_weights
from unireg_cli.io.weights_config import config_path, read_config, weights_summary
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.training import Training
from unireg_cli.types import Mode, TransformKind

if TYPE_CHECKING:
    from unireg_cli.io.weights import WeightsFile
    from unireg_cli.model.network import Network
    from unireg_cli.options import RegisterOptions

logger = logging.getLogger("unireg")


@dataclass(frozen=True, slots=True, eq=False)
class FoundWeights:
    """Weights that were found, and their JSON; no tensor has been read yet."""

    path: Path
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Weights in memory, what they were trained on, and the network made of them, on the CPU in inference mode."""

    weights: WeightsFile
    training: Training
    network: Network


def choose_weights(options: Iterable[RegisterOptions]) -> FoundWeights | None:
    """The weights that all of these runs use; None if they were told to use none, if none are shipped, or if none bends anything.

    Raises:
        WeightsError: weights that are not there, or whose JSON cannot be used.
    """
    asked = [one.weights for one in options if one.settings.transform is TransformKind.DEFORMABLE]
    path = find_weights(asked[0]) if asked else None
    return None if path is None else FoundWeights(path, read_config(path))


def complete(options: RegisterOptions, found: FoundWeights | None) -> RegisterOptions:
    """The options with what the weights decide: their own smoothness, where none was asked for."""
    bends = options.settings.transform is TransformKind.DEFORMABLE
    if found is None or options.smoothness is not None or not bends:
        return options
    return replace(options, settings=replace(options.settings, smoothness=float(found.config["smoothness"])))


def load_network(found: FoundWeights | None) -> Model | None:
    """Read weights, ready to register many pairs; None stays None.

    Raises:
        WeightsError: the files are damaged, do not fit this version's network, or were trained on structures that it does not know.
    """
    if found is None:
        return None
    from unireg_cli.model.network import build_network

    weights = read_weights(found.path)
    training = Training.from_names(weights.config["trained"], vocabulary(), config_path(weights.path))
    return Model(weights, training, build_network(weights.config["network"], weights.tensors, str(weights.path)))


def weights_of(options: RegisterOptions, config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a record says of the weights described by ``config``; None if the run bends nothing."""
    bends = options.settings.transform is TransformKind.DEFORMABLE
    return weights_summary(config) if bends and config is not None else None


def warn_of_gaps(options: RegisterOptions, model: Model | None) -> None:
    """Say which of the things asked for the network of this run does not know."""
    settings = options.settings
    if settings.transform is not TransformKind.DEFORMABLE:
        return
    if model is None:
        given = [*(["--anatomy"] if settings.anatomy else []), *(["--mode"] if settings.mode is not Mode.INTER else [])]
        if given:
            logger.warning("there are no network weights to follow %s; name some with --weights", " and ".join(given))
        return
    for word in settings.anatomy:
        gaps = model.training.gaps(word, vocabulary())
        if gaps:
            what = "it" if gaps == [word] else ", ".join(gaps)
            text = "--anatomy %s: the weights %s were not trained on %s; expect no more than for the region"
            logger.warning(text, word, model.weights.name, what)
