"""What the optimisers need of a similarity: features of an image, and a value with its derivative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from unireg_cli.similarity.lncc import Lncc
from unireg_cli.similarity.mind import DescriptorDistance, descriptors
from unireg_cli.types import Similarity


class Comparison(Protocol):
    """Compares two stacks of feature images (C, D, H, W); higher is better, 1 is equal."""

    def value_and_gradient(self, fixed: Tensor, moved: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Similarity (scalar) and its derivative by ``moved`` times the number of voxels."""

    def value(self, fixed: Tensor, moved: Tensor, weight: Tensor | None = None) -> float:
        """The similarity alone."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A named similarity: ``features`` turns a normalised image (D, H, W) into channels, ``comparison`` compares them."""

    name: str
    features: Callable[[Tensor], Tensor]
    comparison: Comparison


def measure(similarity: Similarity) -> Measure:
    """The measure of a resolved choice (not ``auto``)."""
    return _MEASURES[similarity]


_MEASURES: dict[Similarity, Measure] = {
    Similarity.LNCC: Measure("LNCC, window 5", lambda values: values[None], Lncc()),
    Similarity.MIND: Measure("MIND-SSC", descriptors, DescriptorDistance()),
}
