"""One step of adapting: as in training, but every example is asked for one anatomy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from trainer.augmentation import uniform
from trainer.compute import Compute
from trainer.config import Losses, TrainConfig
from trainer.distributed import Team
from trainer.finetune_data import Pairs
from trainer.finetune_task import Task, What
from trainer.loop import State, descend, move, rate_at, segmentation, step_generator
from trainer.pool import Pool, draw_example
from trainer.sampling import Example, Gallery
from trainer.step import draw_request, measure_loss
from unireg_cli.errors import UniregError

# A single step without a finite gradient is an odd example; so many in a row are a run that is lost.
_MOST_SKIPPED = 20
# Scans that the segmenter learns from in a step. It learns more slowly than the network: of abdominal CTs, of which it had seen none, eight
# scans taught it in 1500 draws what 24 had in the training of the weights beside them, at a third of the time of as many pairs.
_SIGHTS = 4
_ALONE = Team()


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What is learned from: pairs, of which the first so many were ``listed``, the same as the trainer's pool, and which of their labels
    are the anatomy's.
    """

    pairs: Pairs
    listed: int
    pool: Pool
    labels: frozenset[int]
    config: TrainConfig


def learn(state: State, lesson: Lesson, task: Task, gallery: Gallery, compute: Compute) -> float:
    """Take one step: one pair, and where there is a segmenter to teach a few scans, one after the other; returns the pair's loss.

    All random numbers follow from the seed and the step.

    Raises:
        UniregError: too many steps in a row without a finite loss.
    """
    config, again = lesson.config, lesson.config.passes
    generator, rate = step_generator(config.seed, state.step), rate_at(state.step, state.step + 1, config.optimiser)
    if task.taught:
        _learn_to_see(state, lesson, task, gallery, compute, rate, generator)
    state.optimiser.zero_grad(set_to_none=True)
    drawn = draw_example(lesson.pool, config, gallery, config.network.divisor, generator)
    if task.what is What.ALL and uniform(generator) < 0.5:
        # What the weights know of everything else is to stay.
        asked = draw_request(drawn, config.asking, again, task.known, generator)
    else:
        asked = task.draw_request(drawn, lesson.labels, again, generator)
    example, request = compute.moved(drawn), compute.moved(asked)
    losses = _losses(drawn, config.losses)
    with compute.autocast(example.lattices, config.network.divisor):
        loss, _ = measure_loss(state.network, example, request, losses, lesson.pool.source, config.asking, generator)
    loss.backward()  # type: ignore[no-untyped-call]
    _, skipped = descend(state, config.optimiser, rate, loss.detach(), _ALONE)
    state.skipped += int(skipped)
    state.skipped_in_row = (state.skipped_in_row + 1) * int(skipped)
    if state.skipped_in_row >= _MOST_SKIPPED:
        raise UniregError(f"{state.skipped_in_row} steps in a row without a finite loss and gradient: the images cannot be learned from")
    return float(loss.detach())


def _learn_to_see(
    state: State, lesson: Lesson, task: Task, gallery: Gallery, compute: Compute, rate: float, generator: torch.Generator
) -> None:
    """The segmenter's part of a step. A scan without a finite gradient moves nothing, and counts for nothing either."""
    config, scans = lesson.config, lesson.pairs.labelled_scans()
    for _ in range(_SIGHTS):
        state.optimiser.zero_grad(set_to_none=True)
        loss, _ = segmentation(state.network, scans, config, task.known, gallery, compute, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        move(state, config.optimiser, rate, loss.detach(), _ALONE)


def _losses(example: Example, losses: Losses) -> Losses:
    """Without a label in both images, these are compared instead, and nowhere is outside of what counts."""
    return losses if len(example.fixed.structures) else replace(losses, lncc=1.0, elsewhere=1.0)
