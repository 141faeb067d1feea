"""How good weights are on the pairs that were held back, and which of two looks is the better one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from trainer.finetune_data import Pairs
from trainer.losses import dissimilarity
from trainer.prealign import Key
from trainer.sampling import Gallery, Shown
from trainer.tune import predict, structure_dice, tune_pair
from unireg_cli.model.anatomy import AnatomyRequest
from unireg_cli.model.network import Network
from unireg_cli.spatial import Affine
from unireg_cli.spatial.filters import resize_displacement
from unireg_cli.spatial.jacobian import index_determinant, regularity
from unireg_cli.spatial.sampling import index_lattice, sample_index
from unireg_cli.types import Mode

# Voxels of the lattice of the first pass.
_COARSE = 140_000
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
    """The pairs that weights are judged by; ``labels`` are those of the anatomy, nothing where the images are compared."""

    pairs: Pairs
    affines: Mapping[Key, Affine]
    labels: frozenset[int]
    measure: Measure
    voxels: int

    @torch.no_grad()
    def look(self, network: Network, request: AnatomyRequest, step: int, gallery: Gallery) -> Look:
        """A network in inference mode, on the CPU, asked for ``request``."""
        scans, rows = self.pairs.data.scans, []
        lattices = (_COARSE, self.voxels) if self.voxels > _COARSE else (self.voxels,)
        for fixed, moving in self.chosen:
            mode = Mode.INTRA if scans[fixed].person == scans[moving].person else Mode.INTER
            affine = self.affines[fixed, moving]
            pair = tune_pair(scans[fixed], scans[moving], affine, gallery, lattices, network.settings.divisor)
            displacement = predict(network, pair, request, mode, network.known)
            if self.measure is Measure.DICE:
                found = structure_dice(pair, displacement)
                # What is too small to be met by a coarse look counts for nothing, before as after.
                quality = float(np.mean([value for label, value in found.items() if label in self.labels] or [0.0]))
            else:
                quality = similarity(pair.shown[-1], displacement)
            x, y, z = (n // 2 for n in pair.size)
            summary = regularity(index_determinant(displacement[:, :z, :y, :x]).numpy())
            rows.append((quality, summary.sdlogj, summary.folding_percent))
        quality, sdlogj, folding = (float(value) for value in np.mean(np.asarray(rows, float), axis=0))
        return Look(step, quality, sdlogj, folding)

    @property
    def chosen(self) -> list[Key]:
        """Pairs that can be judged: by Dice those of which the fixed scan shows any of the labels."""
        if self.measure is Measure.SIMILARITY:
            return list(self.pairs.pairs)
        return [pair for pair in self.pairs.pairs if self.pairs.has_labels(pair) and shows(self.pairs, pair[0], self.labels)]


def shows(pairs: Pairs, scan: int, labels: frozenset[int]) -> bool:
    """Whether a scan has any of these labels."""
    return bool(labels & set(np.unique(pairs.data.scans[scan].labels.numpy()).tolist()))


def make_exam(pairs: Pairs, affines: Mapping[Key, Affine], labels: frozenset[int], voxels: int, *, by_images: bool = False) -> Exam:
    """By Dice where any pair shows the anatomy's labels, else, or if ``by_images``, by the similarity of the images."""
    exam = Exam(pairs, affines, labels, Measure.DICE, voxels)
    return exam if exam.chosen and not by_images else Exam(pairs, affines, frozenset(), Measure.SIMILARITY, voxels)


def similarity(shown: Shown, displacement: Tensor) -> float:
    """Mean squared local correlation of a pair under a displacement (3, D/2, H/2, W/2), where both images are known."""
    shape = (shown.images.shape[2], shown.images.shape[3], shown.images.shape[4])
    full = resize_displacement(displacement, shape)
    moved = sample_index(shown.images[1], index_lattice(shape) + full.permute(1, 2, 3, 0))[0]
    weight = torch.nn.functional.interpolate(shown.known.amin(dim=0, keepdim=True), scale_factor=2)[0, 0]
    return 1 - float(dissimilarity(shown.images[0, 0], moved, weight))
