"""What the network is asked to do, and the numbers by which it is told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unireg_cli.errors import UsageError
from unireg_cli.model.anatomy import AnatomyRequest, Vocabulary
from unireg_cli.types import Mode


@dataclass(frozen=True, slots=True)
class Condition:
    """Anatomy to favour, registration type, and smoothness: 0 follows every detail, 1 is very regular.

    Raises:
        UsageError: a smoothness out of its range.
        ValueError: no anatomy at all.
    """

    anatomy: AnatomyRequest
    mode: Mode = Mode.INTER
    smoothness: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.smoothness <= 1:
            raise UsageError(f"--smoothness must be between 0 and 1, found {self.smoothness:g}")
        if not self.anatomy.structures:
            raise ValueError("a condition needs at least one structure; ask for all if none matters more than the others")


@dataclass(frozen=True, slots=True, eq=False)
class ConditionVectors:
    """A condition in numbers, float32.

    ``anatomy`` (vocabulary.size,): 1 at the id of every structure meant, of its own region, and of every region asked for.
    ``mode`` (2,): inter, intra. ``smoothness`` (1,).
    """

    anatomy: NDArray[np.float32]
    mode: NDArray[np.float32]
    smoothness: NDArray[np.float32]


def encode(condition: Condition, vocabulary: Vocabulary) -> ConditionVectors:
    """The condition as vectors.

    A structure always brings its own region: that is what an untrained structure falls back on. ``all`` is the one number of
    the region that is everything, so that it means the same whichever structures a data set has labels for.
    """
    asked = condition.anatomy
    ids = set(asked.regions)
    if not asked.everything:
        ids |= asked.structures | {vocabulary.region_of(id) for id in asked.structures}
    anatomy = np.zeros(vocabulary.size, np.float32)
    anatomy[sorted(ids)] = 1
    mode = np.array([condition.mode is kind for kind in Mode], np.float32)
    return ConditionVectors(anatomy, mode, np.array([condition.smoothness], np.float32))
