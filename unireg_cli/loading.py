"""The network of a run: chosen from what was asked, read once, handed to every pair."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unireg_cli.io.adapter import find_base
from unireg_cli.io.weights import find_weights, read_weights
from unireg_cli.io.weights_config import config_path, is_adapter, own_smoothness, read_config, weights_summary
from unireg_cli.model.added import added_of, is_asked, vocabulary_of
from unireg_cli.model.training import Training
from unireg_cli.types import Mode, TransformKind

if TYPE_CHECKING:
    from torch import Tensor

    from unireg_cli.io.weights import WeightsFile
    from unireg_cli.model.anatomy import Vocabulary
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
    """Weights in memory, what they were trained on, and the network made of them, on the CPU in inference mode.

    ``vocabulary`` has the names that the weights bring along. For an adapter ``network`` is its base, untouched, and ``tuned`` what it
    makes of the base for requests that name ``anatomy``.
    """

    weights: WeightsFile
    training: Training
    network: Network
    vocabulary: Vocabulary
    tuned: Network | None = None
    anatomy: str = ""

    def network_for(self, anatomy: Sequence[str]) -> Network:
        """The network that answers a request: words of the vocabulary, none for all."""
        if self.tuned is not None and is_asked(self.anatomy, self.vocabulary.resolve(anatomy)):
            return self.tuned
        return self.network


def choose_weights(options: Iterable[RegisterOptions]) -> FoundWeights | None:
    """The weights that all of these runs use; None if they were told to use none, if none are shipped, or if none bends anything.

    Raises:
        WeightsError: weights that are not there, whose JSON cannot be used, or whose base is not there.
    """
    asked = [one.weights for one in options if one.settings.transform is TransformKind.DEFORMABLE]
    path = find_weights(asked[0]) if asked else None
    if path is None:
        return None
    config = read_config(path)
    if is_adapter(config):
        find_base(path, config)
    return FoundWeights(path, config)


def complete(options: RegisterOptions, found: FoundWeights | None) -> RegisterOptions:
    """The options with what the weights decide: their own smoothness, where none was asked for."""
    bends = options.settings.transform is TransformKind.DEFORMABLE
    if found is None or options.smoothness is not None or not bends:
        return options
    return replace(options, settings=replace(options.settings, smoothness=own_smoothness(found.config, options.settings.mode)))


def load_network(found: FoundWeights | None) -> Model | None:
    """What was found, see :func:`load_model`; None stays None."""
    return None if found is None else load_model(found.path)


def load_model(path: Path) -> Model:
    """Read weights, ready to register many pairs.

    Raises:
        WeightsError: the files are damaged, do not fit this version's network, or were trained on structures that it does not know.
    """
    weights = read_weights(path)
    where = config_path(weights.path)
    known = vocabulary_of(weights.config, where)
    training = Training.from_names(weights.config["trained"], known, where, [one.name for one in added_of(weights.config)])
    if is_adapter(weights.config):
        return _load_adapted(weights, training, known)
    return Model(weights, training, _build(weights.config["network"], weights.tensors, known, str(weights.path)), known)


def _load_adapted(weights: WeightsFile, training: Training, known: Vocabulary) -> Model:
    """The base of an adapter, and what the adapter makes of it."""
    from unireg_cli.model.adapter import laid_over

    adapter = weights.config["adapter"]
    base = read_weights(find_base(weights.path, weights.config))
    network = _build(base.config["network"], base.tensors, vocabulary_of(base.config, base.path), str(base.path))
    whole = laid_over(base.tensors, weights.tensors, adapter["rows"], known.size, str(weights.path))
    # Everything else of the network is the base's; only its vocabulary may have become longer.
    sizes = {**base.config["network"], "vocabulary": known.size}
    tuned = _build(sizes, whole, known, str(weights.path))
    return Model(weights, training, network, known, tuned, adapter["anatomy"])


def _build(sizes: Mapping[str, Any], tensors: Mapping[str, Tensor], known: Vocabulary, where: str) -> Network:
    from unireg_cli.model.adapter import named
    from unireg_cli.model.network import build_network

    return named(build_network(sizes, tensors, where), known)


def weights_of(options: RegisterOptions, config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a record says of the weights described by ``config``; None if the run bends nothing.

    Of an adapter also whether the run asked for its anatomy: if not, the base alone was used.
    """
    if options.settings.transform is not TransformKind.DEFORMABLE or config is None:
        return None
    summary = weights_summary(config)
    if is_adapter(config):
        words = vocabulary_of(config).resolve(options.settings.anatomy)
        summary["applied"] = is_asked(config["adapter"]["anatomy"], words)
    return summary


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
        gaps = model.training.gaps(word, model.vocabulary)
        if gaps:
            what = "it" if gaps == [word] else ", ".join(gaps)
            text = "--anatomy %s: the weights %s were not trained on %s; expect no more than for the region"
            logger.warning(text, word, model.weights.name, what)
