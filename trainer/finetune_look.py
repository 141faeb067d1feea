"""How good weights are on the pairs that were held back, and which of two looks is the better one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from trainer.datasets import Scan
from trainer.finetune_data import Pairs
from trainer.prealign import Key
from trainer.sampling import Gallery, nearest
from trainer.segmenting import classes_of, segmentation_dice, trust
from unireg_cli.evaluation.overlap import dice_per_label
from unireg_cli.model.anatomy import AnatomyRequest
from unireg_cli.model.network import Network
from unireg_cli.registration.aligned import Aligned
from unireg_cli.registration.alignment import View
from unireg_cli.registration.expectation import expect
from unireg_cli.registration.judging import JUDGE_VOXELS, likeness
from unireg_cli.registration.prediction import Prediction
from unireg_cli.registration.preparation import Prepared
from unireg_cli.registration.settings import Settings
from unireg_cli.similarity.measure import measure
from unireg_cli.spatial import Affine, Chain, Image
from unireg_cli.spatial.drawing import map_lattice
from unireg_cli.spatial.jacobian import index_determinant, regularity
from unireg_cli.spatial.sampling import index_lattice, sample_index
from unireg_cli.types import Effort, Mode, Similarity

# Voxels of the fixed image that labels are compared at, about.
_VOXELS = 1_000_000
# Dice of a structure in the scans held back, up to which its map says nothing, and from which on it is relied on altogether. Lower than in
# training, where many scans teach and many judge: on abdominal CTs that were neither learned from nor held back, maps of a segmenter that
# ten minutes had taught gave 0.384 of Dice like this, 0.373 by training's 0.5 and 0.9, and 0.339 without any.
_USELESS, _SURE = 0.3, 0.8
# What a unit of roughness costs: overlap or similarity that is bought with it does not count.
_PRICE = 0.2


class Measure(StrEnum):
    """What weights are judged by."""

    DICE = "dice"
    SIMILARITY = "similarity"


@dataclass(frozen=True, slots=True)
class Look:
    """Means over the pairs held back: ``quality`` is Dice of the anatomy's labels, or the images' LNCC."""

    step: int
    quality: float
    sdlogj: float
    folding_percent: float

    @property
    def score(self) -> float:
        """What weights are chosen by."""
        return self.quality - _PRICE * self.sdlogj

    def beats(self, best: Look, before: Look) -> bool:
        """Whether it is the better one, and no worse in what is measured than what there was before."""
        return self.score > best.score and self.quality >= before.quality


@dataclass(frozen=True, slots=True, eq=False)
class Exam:
    """The pairs that weights are judged by; ``labels`` are those of the anatomy, nothing where the images are compared.

    ``unseen``: positions of the scans held back, by which structures are relied on or not; those of one pair, or of pairs that share scans
    with what is learned from, for there is nothing better.
    """

    pairs: Pairs
    affines: Mapping[Key, Affine]
    labels: frozenset[int]
    measure: Measure
    voxels: int
    unseen: frozenset[int]

    @torch.no_grad()
    def look(self, network: Network, request: AnatomyRequest, smoothness: Mapping[Mode, float], step: int) -> Look:
        """A network in inference mode, on the CPU, asked for ``request``: what ``unireg register --fast`` makes of the pairs.

        On lattices of no more than ``voxels``, to be quick.
        """
        scans, rows = self.pairs.data.scans, []
        for fixed, moving in self.chosen:
            mode = Mode.INTRA if scans[fixed].person == scans[moving].person else Mode.INTER
            settings = Settings(anatomy=request.words, mode=mode, smoothness=smoothness[mode], effort=Effort.FAST)
            found = expect(network, aligned(scans[fixed], scans[moving], self.affines[fixed, moving]), None, settings, self.voxels)
            affine, prediction = found.aligned.affine, found.prediction
            if self.measure is Measure.DICE:
                overlaps = overlap(scans[fixed], scans[moving], affine, prediction)
                # What is too small to be met by a coarse look counts for nothing, before as after.
                quality = float(np.mean([value for label, value in overlaps.items() if label in self.labels] or [0.0]))
            else:
                quality = likeness(found.aligned.pair, affine, prediction, JUDGE_VOXELS)
            summary = regularity(index_determinant(prediction.displacement).numpy())
            rows.append((quality, summary.sdlogj, summary.folding_percent))
        quality, sdlogj, folding = (float(value) for value in np.mean(np.asarray(rows, float), axis=0))
        return Look(step, quality, sdlogj, folding)

    @torch.no_grad()
    def trust(self, network: Network, taught: Collection[int], gallery: Gallery) -> dict[int, float]:
        """How far the segmenter's places of the ``taught`` ids may be relied on, by how well they are found in scans not learned from.

        Only those that these scans show.
        """
        data, segmented = self.pairs.labelled_scans(self.unseen), network.settings.segmented
        if network.segmenter is None or not taught or not data.scans:
            return {}
        classes = classes_of(data, segmented, network.known)
        found = segmentation_dice(network.segmenter, data, classes, gallery, network.settings.sight_voxels, network.settings.divisor)
        return {place: trust(dice, _USELESS, _SURE) for place, dice in found.items() if segmented[place] in taught}

    @property
    def chosen(self) -> list[Key]:
        """Pairs that can be judged: by Dice those of which the fixed scan shows any of the labels."""
        if self.measure is Measure.SIMILARITY:
            return list(self.pairs.pairs)
        return [pair for pair in self.pairs.pairs if self.pairs.has_labels(pair) and shows(self.pairs, pair[0], self.labels)]


def shows(pairs: Pairs, scan: int, labels: frozenset[int]) -> bool:
    """Whether a scan has any of these labels."""
    return bool(labels & set(np.unique(pairs.data.scans[scan].labels.numpy()).tolist()))


def make_exam(
    pairs: Pairs, affines: Mapping[Key, Affine], labels: frozenset[int], voxels: int, unseen: Collection[int], *, by_images: bool = False
) -> Exam:
    """By Dice where any pair shows the anatomy's labels, else, or if ``by_images``, by the similarity of the images."""
    exam = Exam(pairs, affines, labels, Measure.DICE, voxels, frozenset(unseen))
    return exam if exam.chosen and not by_images else replace(exam, labels=frozenset(), measure=Measure.SIMILARITY)


def aligned(fixed: Scan, moving: Scan, affine: Affine) -> Aligned:
    """Two scans as a registration has them after its affine."""
    views, bodies = [], []
    for scan in (fixed, moving):
        assert scan.values is not None  # users' pairs are images
        views.append(View(scan.values.float(), scan.grid))
        bodies.append(_filled(scan))
    pair = Prepared(views[0], views[1], measure(Similarity.LNCC), {}, bodies[0], bodies[1])
    images = [Image(view.values.numpy(), view.grid, scan.name) for view, scan in zip(views, (fixed, moving), strict=True)]
    return Aligned(images[0], pair, affine, affine, Chain(), None, images[1], ())


def _filled(scan: Scan) -> Tensor:
    """1 in the box of a scan's body."""
    inside, (low, high) = torch.zeros(scan.grid.shape), scan.body
    inside[low[2] : high[2] + 1, low[1] : high[1] + 1, low[0] : high[0] + 1] = 1
    return inside


def overlap(fixed: Scan, moving: Scan, affine: Affine, prediction: Prediction) -> dict[int, float]:
    """Dice of every label of the fixed scan, by its own voxels, every so many along each axis; one that the moving scan lacks scores 0."""
    step = max(1, round((fixed.labels.numel() / _VOXELS) ** (1 / 3)))
    thin = (slice(None, None, step),) * 3
    points = map_lattice(index_lattice(fixed.grid.shape)[thin].reshape(-1, 3), prediction.grid.index_from_lps @ fixed.grid.lps_from_index)
    points = points + sample_index(prediction.displacement, points).T
    seen = nearest(moving.labels, map_lattice(points, moving.grid.index_from_lps @ affine.matrix @ prediction.grid.lps_from_index))
    return dice_per_label(fixed.labels[thin].reshape(-1).numpy().astype(np.int64), seen.numpy().astype(np.int64))
