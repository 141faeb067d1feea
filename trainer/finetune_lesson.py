"""What one adaptation learns from, with which settings, and what it is judged by."""

from __future__ import annotations

import logging
from dataclasses import replace

from trainer.augmentation import Augmentation
from trainer.config import Losses, Optimiser, Passes, Segmenting, Source, TrainConfig
from trainer.finetune_data import Pairs, crossed, hold_out, read_pairs, with_partners
from trainer.finetune_look import Exam, Measure, make_exam
from trainer.finetune_options import Options
from trainer.finetune_recipe import part_of
from trainer.finetune_step import Lesson
from trainer.finetune_task import Task, What
from trainer.pool import Pool
from trainer.prealign import Key, prealign
from unireg_cli.registration.pipeline import Progress
from unireg_cli.spatial import Affine
from unireg_cli.types import Modality

logger = logging.getLogger("unireg")

# In ten minutes on five pairs of a set that weights had not seen, a controller came to 0.696 on the pair held back with 2e-3, to 0.673
# with 5e-4.
_RATES = {What.CONTROLLER: 2e-3, What.ALL: 1e-4}
# Pairs that weights are judged by, at least where so many can be made, for few judge badly: of five pairs of abdominal CTs the one that was
# held back is one of which the affine fails, and no better maps could help it.
_JUDGES = 5
# Pairs that are learned from, where so many can be made of the scans that were listed.
_LEARNED = 28
# What the likeness of the images and the overlap of labels count in the loss. Training gives the images a fifth of what it gives labels,
# for it has many of these. What a few labelled scans say holds for these scans above all; that images are to become alike holds for
# everybody's. On ten pairs of abdominal CTs that were neither learned from nor held back, a controller gained 0.009 of Dice with
# training's weights (0.3 and 1.5; less after more steps) and 0.034 with these in 900 steps, 0.055 in 1700; 4 and 0.3 gained 0.027 in 900.
_LNCC, _OVERLAP = 4.0, 1.0
# How often scans are given another look: a few show few looks, and what is learned from them is to hold for other people's scans. CTs have
# no other: their numbers mean the same everywhere.
_LOOKS = 0.5


def prepare(options: Options, task: Task, pairs: Pairs, progress: Progress) -> tuple[Lesson, Exam, str]:
    """What is learned from and what is judged by, aligned; and the latter in words.

    Raises:
        InputError: pairs to judge by that cannot be read.
    """
    listed, held, unseen, words = _divided(options, task, pairs)
    learned = crossed(listed, held, _LEARNED)
    if len(held.pairs) < _JUDGES:
        held = held.both_ways()
    progress("align", 0, 2)
    # Each way by itself: where one fails, its inverse would as well. With inverses a run like the one of 0.055 above gained 0.038.
    affines = prealign(learned.data, list(learned.both_ways().pairs), options.folder / "learn")
    progress("align", 1, 2)
    theirs = prealign(held.data, list(held.pairs), options.folder / "held")
    progress("align", 2, 2)
    by_images = options.val is None and len(pairs.pairs) == 1
    exam = make_exam(held, theirs, task.own_labels(held), options.voxels[1], unseen, by_images=by_images)
    logger.info("judged by %s (%s)", words, "Dice" if exam.measure is Measure.DICE else "similarity")
    lesson = Lesson(
        learned, len(listed.pairs), _pool(options, learned, affines), task.own_labels(learned), _config(options, task, learned)
    )
    return lesson, exam, words


def _divided(options: Options, task: Task, pairs: Pairs) -> tuple[Pairs, Pairs, range, str]:
    """What is learned from, what is judged by, which scans of the latter were listed for it, and how it was divided in words."""
    if options.val is not None:
        held = task.called(read_pairs(options.val))
        words = f"{len(held.pairs)} pairs of {options.val.name}"
        return pairs, held, range(len(held.data.scans)), words
    learned, kept_back, shared = hold_out(pairs)
    if kept_back is None:
        words = "the one pair itself, which leaves nothing to hold back: the similarity of its images"
        return learned, pairs, range(len(pairs.data.scans)), words
    unseen = range(len(kept_back.data.scans))
    words = f"{len(kept_back.pairs)} of {len(pairs.pairs)} pairs, held back"
    if shared:
        return learned, kept_back, unseen, words + "; pairs that are learned from show some of their scans"
    held = with_partners(kept_back, learned, _JUDGES)
    words += ", and their scans with others" if len(held.pairs) > len(kept_back.pairs) else ""
    return learned, held, unseen, words


def _pool(options: Options, pairs: Pairs, affines: dict[Key, Affine]) -> Pool:
    source = Source(path=str(options.pairs), voxels=options.voxels, synthetic_intra=0.1)
    return Pool(source, pairs.data, pairs.data.subset([]), affines, {})


def _config(options: Options, task: Task, pairs: Pairs) -> TrainConfig:
    """The settings of the trainer, as far as adapting has them too."""
    rate = _RATES[options.what] if options.rate is None else options.rate
    views = part_of(task.base, "augmentation", Augmentation)
    looks = 0.0 if pairs.modality is Modality.CT else max(_LOOKS, views.appearance_probability)
    return TrainConfig(
        (Source(path=str(options.pairs)),),
        seed=options.seed,
        # A label that is adapted must not be left out by chance.
        most_structures=max(48, len(pairs.names)),
        points=200,
        network=task.network(task.tensors).settings,
        losses=replace(part_of(task.base, "losses", Losses), lncc=_LNCC, overlap=_OVERLAP),
        passes=part_of(task.base, "passes", Passes),
        segmenting=part_of(task.base, "segmenting", Segmenting),
        augmentation=replace(views, appearance_probability=looks),
        optimiser=Optimiser(rate=rate, weight_decay=0.0, warmup=20, schedule="constant", average=0.97),
    )
