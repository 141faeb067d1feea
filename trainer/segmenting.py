"""What the segmenter learns from: one scan under a random view, and which structure each of its voxels shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.augmentation import Augmentation, Views, random_affine, random_bend, uniform
from trainer.config import Segmenting
from trainer.datasets import NOT_ASKABLE, DataSet
from trainer.lattices import lattice_of, padded, random_box
from trainer.pool import log_uniform
from trainer.sampling import Gallery, draw_image, halved, nearest
from unireg_cli.evaluation.overlap import dice_per_label
from unireg_cli.model.anatomy import Vocabulary
from unireg_cli.model.segmenter import Segmenter
from unireg_cli.spatial.drawing import map_lattice
from unireg_cli.spatial.sampling import index_lattice

# Dice of a structure below which its map says nothing, and from which on it is relied on altogether.
_USELESS, _SURE = 0.5, 0.9
# Keeps the overlap of a structure of few voxels from jumping.
_SOFTENING = 1.0
# Classes times voxels that are looked at in one step; of many classes, only every so many slices.
_MOST_NUMBERS = 6_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """One image as the segmenter sees it: ``image`` (1, 1, D, H, W), ``known`` (1, 1, D/2, H/2, W/2).

    ``labels`` (D, H, W), positions in the data set's list of structures.
    """

    image: Tensor
    known: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """What may be told apart on a data set, by positions in the segmenter's list.

    ``label_class`` (labels of the data set,): 0 for the background, 1 + k for the k-th of ``taught``. ``hidden``: structures that its
    images may show and that it has no labels for; they are no mistake where it says background. ``strangers`` are of other regions.
    """

    taught: Tensor
    hidden: Tensor
    strangers: Tensor
    label_class: Tensor


def classes_of(data: DataSet, segmented: Sequence[int], known: Vocabulary) -> Classes:
    """How the labels of a data set are read by a segmenter that was taught ``segmented``."""
    place = {id: k for k, id in enumerate(segmented)}
    own = sorted({id for id in data.structures if id in place})
    regions = {known.region_of(id) for id in data.structures if id != NOT_ASKABLE}
    others = [id for id in segmented if id not in own]
    hidden = [id for id in others if known.region_of(id) in regions]
    order = {id: 1 + k for k, id in enumerate(own)}
    table = torch.zeros(data.label_count, dtype=torch.long)
    for label, id in enumerate(data.structures):
        table[label] = order.get(id, 0)
    as_places = [torch.tensor([place[id] for id in ids], dtype=torch.long) for ids in (own, hidden)]
    strangers = torch.tensor([place[id] for id in others if id not in hidden], dtype=torch.long)
    return Classes(as_places[0], as_places[1], strangers, table)


def segmentable(sets: Sequence[DataSet]) -> tuple[int, ...]:
    """Ids of all structures with labels on real images."""
    return tuple(sorted({id for data in sets if not data.painted for id in data.structures if id != NOT_ASKABLE}))


def draw_sight(
    data: DataSet, settings: Segmenting, views: Augmentation, gallery: Gallery, divisor: int, generator: torch.Generator
) -> Sight:
    """A random scan, turned, scaled, bent and with another look and other intensities."""
    scan = data.scans[int(uniform(generator) * len(data.scans))]
    whole = lattice_of(scan, scan, log_uniform(settings.voxels, generator)).upright()
    grid = padded(random_box(whole, settings.box, divisor, generator), divisor)
    middle = whole.lps_from_index @ np.append((np.asarray(whole.size) - 1) / 2, 1.0)
    extent = float(np.min(whole.extent_mm))
    view = random_affine(settings.angle, settings.scale, settings.shift * extent, middle[:3], generator)
    points = index_lattice(grid.shape)
    if uniform(generator) < settings.bent:
        points = points + random_bend(grid.shape, settings.bend, generator).permute(1, 2, 3, 0)
    spacing, lps_from_lattice = grid.spacing, view @ grid.lps_from_index
    labels = nearest(scan.labels, map_lattice(points, scan.grid.index_from_lps @ lps_from_lattice))
    image, inside = draw_image(scan, gallery, float(np.prod(spacing)) ** (1 / 3), points, lps_from_lattice)
    drawn = Views(views)
    return Sight(drawn.seen(image, generator, drawn.looks(generator)[0])[None, None], halved(inside[None, None]), labels)


def segmentation_loss(
    segmenter: Segmenter, sight: Sight, classes: Classes, strangers: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Cross-entropy and 1 - soft Dice, each a scalar, over the structures of a data set.

    Every half-resolution voxel is asked about the eight voxels that it covers, so that its probabilities are shares of its volume.
    """
    some = classes.strangers[torch.randperm(len(classes.strangers), generator=generator)[:strangers]]
    asked = torch.cat((classes.taught, classes.hidden, some)).to(sight.image.device)
    features = segmenter(sight.image, sight.known)
    thinner = math.ceil(len(asked) * features[0, 0].numel() / _MOST_NUMBERS)
    slices = slice(int(uniform(generator) * thinner), None, thinner)
    logits = segmenter.logits(features[:, :, slices], asked)[0]
    logp = torch.log_softmax(logits, dim=0)
    own, hidden = len(classes.taught), len(classes.hidden)
    background = torch.logsumexp(torch.cat((logp[:1], logp[1 + own : 1 + own + hidden])), dim=0, keepdim=True)
    logp = torch.cat((background, logp[1 : 1 + own]))
    d, h, w = logp.shape[1:]
    blocks = sight.labels.view(-1, 2, h, 2, w, 2).permute(1, 3, 5, 0, 2, 4)[:, :, :, slices].reshape(8, d, h, w)
    blocks = classes.label_class.to(blocks.device)[blocks.long()]
    known = sight.known[0, 0, slices]
    crossed = -(logp.gather(0, blocks).mean(dim=0) * known).sum() / known.sum().clamp_min(1)
    share = torch.zeros_like(logp).scatter_add_(0, blocks, torch.full_like(logp[:1], 1 / 8).expand(8, d, h, w)) * known
    guess = logp.exp() * known
    sizes = share.sum(dim=(1, 2, 3))
    common = (guess * share).sum(dim=(1, 2, 3))
    dice = (2 * common + _SOFTENING) / (guess.sum(dim=(1, 2, 3)) + sizes + _SOFTENING)
    there = (sizes > 0).float()
    there[0] = 0
    return {"crossed": crossed, "lost": ((1 - dice) * there).sum() / there.sum().clamp_min(1)}


@torch.no_grad()
def segmentation_dice(
    segmenter: Segmenter, data: DataSet, classes: Classes, gallery: Gallery, voxels: int, divisor: int
) -> dict[int, float]:
    """Mean Dice over the scans of a data set by place in the segmenter's list, each voxel being what it most likely is."""
    rows: dict[int, list[float]] = {}
    for scan in data.scans:
        grid = padded(lattice_of(scan, scan, voxels).upright(), divisor)
        lattice, spacing = index_lattice(grid.shape), float(np.prod(grid.spacing)) ** (1 / 3)
        image, inside = draw_image(scan, gallery, spacing, lattice, grid.lps_from_index)
        features = segmenter(image[None, None], halved(inside[None, None]))
        likely = segmenter.logits(features, torch.cat((classes.taught, classes.hidden)))[0].argmax(dim=0)
        likely = torch.where(likely > len(classes.taught), 0, likely)
        full = likely.repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2)
        truth = classes.label_class[nearest(scan.labels, map_lattice(lattice, scan.grid.index_from_lps @ grid.lps_from_index)).long()]
        for label, dice in dice_per_label(truth.numpy(), full.numpy()).items():
            rows.setdefault(int(classes.taught[label - 1]), []).append(dice)
    return {place: float(np.mean(found)) for place, found in rows.items()}


def trust(dice: float, useless: float = _USELESS, sure: float = _SURE) -> float:
    """How far a structure that was found with this Dice in people who were not learned from may be relied on, 0 to 1.

    Up to a Dice of ``useless`` not at all, from ``sure`` on altogether.
    """
    return min(1.0, max(0.0, (dice - useless) / (sure - useless)))
