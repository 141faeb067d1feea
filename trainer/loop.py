"""One step of training: draw, descend, average; and a look at the tune split."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from trainer.compute import Compute
from trainer.config import Optimiser, TrainConfig
from trainer.datasets import DataSet
from trainer.distributed import Team
from trainer.optimiser import make_optimiser
from trainer.pool import Pool, draw_example
from trainer.sampling import Gallery
from trainer.segmenting import classes_of, draw_sight, segmentation_dice, segmentation_loss, trust
from trainer.step import draw_request, measure_loss
from trainer.tune import NOTHING_SEEN, TuneResult, evaluate
from unireg_cli.model.anatomy import Vocabulary, vocabulary
from unireg_cli.model.network import Network


@dataclass(slots=True, eq=False)
class State:
    """What changes while training.

    ``average`` are the smoothed weights, what is shipped; ``tuned`` the last step at which they were looked at, ``best`` the best mean
    score so far, ``results`` what was seen of each set the last time; ``skipped`` counts steps without a finite gradient,
    ``skipped_in_row`` those at the end. ``origin`` says which weights it began as, nothing if it began at random.
    """

    network: Network
    average: dict[str, Tensor]
    optimiser: torch.optim.AdamW
    step: int = 0
    tuned: int = 0
    best: float = -1.0
    results: dict[str, dict[str, float]] = field(default_factory=dict)
    skipped: int = 0
    skipped_in_row: int = 0
    origin: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """What one example said at one step: parts of its loss, and facts of the step, scalars that may still lie on the device."""

    step: int
    example: int
    source: int
    rate: float
    parts: dict[str, Tensor]


def new_state(config: TrainConfig, device: torch.device | None = None) -> State:
    """Fresh weights from the config's seed, the same on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = Network(config.network)
    network.to(device or torch.device("cpu"))
    average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    return State(network, average, make_optimiser(network, config.optimiser))


def rate_at(step: int, steps: int, settings: Optimiser) -> float:
    """Learning rate of one step."""
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    if settings.schedule == "constant":
        return settings.rate
    begin = max(settings.warmup, settings.decay_from)
    if step < begin:
        return settings.rate
    part = (step - begin) / max(1, steps - begin)
    return settings.rate * (settings.final + (1 - settings.final) * 0.5 * (1 + math.cos(math.pi * min(part, 1.0))))


def step_generator(seed: int, step: int, example: int = 0) -> torch.Generator:
    """The random numbers of one example of a step.

    They depend on nothing before it, so a resumed run draws the same, and so do several processes that share the examples of a step.
    """
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 1_009 + example)


def train_step(state: State, pools: list[Pool], config: TrainConfig, gallery: Gallery, compute: Compute, team: Team) -> list[Row]:
    """One step; a row for each example that this process drew. Nothing is read back from the device here."""
    useful = ["registration" in config.learns or not pool.learn.painted for pool in pools]
    weights = torch.tensor([pool.source.weight * use for pool, use in zip(pools, useful, strict=True)])
    rate = rate_at(state.step, config.steps, config.optimiser)
    state.optimiser.zero_grad(set_to_none=True)
    rows, total = [], torch.zeros((), device=compute.device)
    for number in range(team.rank * config.batch, (team.rank + 1) * config.batch):
        generator = step_generator(config.seed, state.step, number)
        place = int(torch.multinomial(weights, 1, generator=generator))
        loss, parts = torch.zeros((), device=compute.device), dict[str, Tensor]()
        if "registration" in config.learns:
            drawn = draw_example(pools[place], config, gallery, config.network.divisor, generator)
            asked = draw_request(drawn, config.asking, config.passes, vocabulary(), generator)
            example, request = compute.moved(drawn), compute.moved(asked)
            with compute.autocast(example.lattices, config.network.divisor):
                loss, parts = measure_loss(state.network, example, request, config.losses, pools[place].source, config.asking, generator)
        if "segmentation" in config.learns and not pools[place].learn.painted:
            missed, found = segmentation(state.network, pools[place].learn, config, vocabulary(), gallery, compute, generator)
            loss = loss + missed
            parts = {**parts, **found, "loss": loss}
        loss = loss / (config.batch * team.size)
        loss.backward()  # type: ignore[no-untyped-call]
        total = total + loss.detach()
        rows.append(Row(state.step + 1, number, place, rate, {name: value.detach() for name, value in parts.items()}))
    norm, skipped = descend(state, config.optimiser, rate, total, team)
    for row in rows:
        row.parts.update(norm=norm, skipped=skipped)
    return rows


def segmentation(
    network: Network, data: DataSet, config: TrainConfig, known: Vocabulary, gallery: Gallery, compute: Compute, generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted loss of the segmenter on one scan of a data set, whose structures are ids of ``known``, and its parts."""
    assert network.segmenter is not None  # the config was checked
    sight = compute.moved(draw_sight(data, config.segmenting, config.augmentation, gallery, config.network.divisor, generator))
    classes = classes_of(data, config.network.segmented, known)
    with compute.autocast((sight.image,), config.network.divisor):
        parts = segmentation_loss(network.segmenter, sight, classes, config.segmenting.strangers, generator)
        return config.segmenting.weight * (parts["crossed"] + parts["lost"]), parts


def descend(state: State, settings: Optimiser, rate: float, loss: Tensor, team: Team) -> tuple[Tensor, Tensor]:
    """Take the step: move the weights and their average; returns what :func:`move` does."""
    norm, skipped = move(state, settings, rate, loss, team)
    state.step += 1
    # Random weights are soon forgotten; given ones are as good as any average.
    keep = settings.average if state.origin else min(settings.average, state.step / (state.step + 10))
    with torch.no_grad():
        for name, tensor in state.network.state_dict().items():
            state.average[name].lerp_(tensor, 1 - keep)
    return norm, skipped


def move(state: State, settings: Optimiser, rate: float, loss: Tensor, team: Team) -> tuple[Tensor, Tensor]:
    """Move the weights; returns the gradient's length and 1 if it was not finite and the weights stayed, else 0."""
    parameters = list(state.network.parameters())
    total = team.sum_gradients(parameters, loss)
    norm = torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
    skipped = 1 - (torch.isfinite(norm) & torch.isfinite(total)).float()
    for group in state.optimiser.param_groups:
        group["lr"] = rate * group["factor"]
    # A tensor that the fused kernel reads on the device: 1 leaves weights, moments and step counts as they are.
    state.optimiser.found_inf = skipped  # type: ignore[attr-defined]
    state.optimiser.step()
    return norm, skipped


def pool_names(pools: list[Pool]) -> list[str]:
    """A name for each source: its data set's, numbered where it is used more than once."""
    names = [pool.learn.name for pool in pools]
    return [name if names.count(name) == 1 else f"{name}_{names[:k].count(name) + 1}" for k, name in enumerate(names)]


def helps_to_choose(pool: Pool) -> bool:
    """Whether a source has a tune split to look at; label maps have no images of their own."""
    there = pool.source.tune is not False and bool(pool.tune.scans) and not pool.tune.painted
    # Without aligned pairs, scans are looked at one by one.
    return there and bool(pool.tune_pairs() or not pool.learn_affines)


def tune(
    state: State, pools: list[Pool], config: TrainConfig, gallery: Gallery, stopped: Callable[[], bool] = lambda: False
) -> dict[str, TuneResult] | None:
    """The averaged weights on the tune split of every source that has one, on the CPU; None if ``stopped`` in between.

    What was seen of the segmenter decides how far each of its structures is relied on; those that none of these scans shows stay as they
    were, in a new segmenter not relied on.
    """
    network = Network(state.network.settings)
    network.load_state_dict(state.average)
    network.eval()
    results: dict[str, TuneResult] = {}
    seen: dict[int, list[float]] = {}
    for name, pool in zip(pool_names(pools), pools, strict=True):
        if stopped():
            return None
        if not helps_to_choose(pool):
            continue
        result = NOTHING_SEEN
        if "registration" in config.learns:
            pairs, voxels = pool.tune_pairs(), pool.source.voxels[1]
            result = evaluate(network, pool.tune, pairs, pool.tune_affines, gallery, vocabulary(), voxels=voxels)
        if "segmentation" in config.learns and network.segmenter is not None:
            classes = classes_of(pool.tune, config.network.segmented, vocabulary())
            # On a lattice as registrations have it, for that is what the trust is about.
            voxels, divisor = network.settings.sight_voxels, network.settings.divisor
            found = segmentation_dice(network.segmenter, pool.tune, classes, gallery, voxels, divisor)
            result = replace(result, segmented=sum(found.values()) / len(found) if found else math.nan)
            for place, dice in found.items():
                seen.setdefault(place, []).append(dice)
        results[name] = result
    for place, rows in seen.items():
        for tensors in (state.average, state.network.state_dict()):
            tensors["segmenter.trust"][place] = trust(sum(rows) / len(rows))
    return results
