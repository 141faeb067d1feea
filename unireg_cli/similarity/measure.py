"""What the optimisers need of a similarity: features of an image, and a value with its derivative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from unireg_cli.similarity.lncc import Lncc, Score
from unireg_cli.similarity.mind import DescriptorDistance, descriptors
from unireg_cli.types import Similarity


class Comparison(Protocol):
    """Compares two stacks of feature images (C, D, H, W); higher is better, 1 is equal."""

    def score_and_gradient(self, fixed: Tensor, moved: Tensor, weight: Tensor) -> tuple[Score, Tensor]:
        """Similarity summed over the voxels with ``weight`` (D, H, W), and its derivative by ``moved``."""

    def score(self, fixed: Tensor, moved: Tensor, weight: Tensor) -> Score:
        """The sums alone."""


def divisor(score: Score, possible: float) -> float:
    """What a summed similarity is divided by: what is attainable in the overlap, but at least half of ``possible``.

    A plain sum would reward a larger overlap, a mean over all overlapping voxels would reward losing background.
    The lower bound keeps images from sliding apart until only a few well matched voxels are left; ``possible`` is what
    is attainable over the whole fixed image.
    """
    return max(score.attainable, possible / 2, 1e-6)


@dataclass(frozen=True, slots=True)
class Measure:
    """A named similarity: ``features`` turns a normalised image (D, H, W) into channels, ``comparison`` compares them.

    ``oriented`` says that features depend on the direction of the grid's axes.
    """

    name: str
    features: Callable[[Tensor], Tensor]
    comparison: Comparison
    oriented: bool = False


def measure(similarity: Similarity) -> Measure:
    """The measure of a resolved choice (not ``auto``)."""
    return _MEASURES[similarity]


_MEASURES: dict[Similarity, Measure] = {
    Similarity.LNCC: Measure("LNCC, window 5", lambda values: values[None], Lncc()),
    Similarity.MIND: Measure("MIND-SSC", descriptors, DescriptorDistance(), oriented=True),
}
