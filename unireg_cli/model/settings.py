"""Sizes of the network: everything that decides the shape of its weights, and how finely it was taught to see."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unireg_cli.errors import WeightsError


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Channels per level, finest (half the network grid's resolution) first; all tuples have one entry a level.

    Raises:
        WeightsError: tuples of different lengths, fewer than two levels, sizes below 1, or a reach that is not a positive number.
    """

    vocabulary: int
    """Number of ids in the table of anatomies."""
    encoder: tuple[int, ...] = (16, 24, 48, 64)
    match: tuple[int, ...] = (8, 12, 24, 32)
    """Features that are warped and compared."""
    decoder: tuple[int, ...] = (16, 24, 48, 64)
    reach: tuple[float, ...] = (1.0, 2.0, 2.0, 2.0)
    """Longest residual velocity, voxels of the level."""
    neighbours: tuple[int, ...] = (7, 27, 27, 27)
    """How many neighbours (7 or 27) a level is told the match of."""
    condition: int = 64
    embedding: int = 32
    hidden: int = 8
    segmented: tuple[int, ...] = ()
    """Ids of the structures that it tells apart in an image; none for a network without a segmenter."""
    segmenter: tuple[int, ...] = ()
    """Channels per level of the segmenter's own encoder; as ``encoder`` if there are none."""
    pair_voxels: int = 5_000_000
    """Of the finest lattice for a whole pair that it was taught on, about: it is shown none with more."""
    sight_voxels: int = 1_600_000
    """Of the lattice on which its segmenter is shown an image, about.

    It learns on up to 2.5 million. By default two tune pairs of abdomen_ct have 0.668 of Dice at a spread of log |J| of 0.430 with 1.2
    million, five of cardiac_mr 0.839 at 0.451; with 1.6 million 0.672 at 0.419 and 0.839 at 0.438. Two million gain no more.
    """

    def __post_init__(self) -> None:
        lengths = {len(entry) for entry in (self.encoder, self.match, self.decoder, self.reach, self.neighbours)}
        if len(lengths) != 1 or len(self.encoder) < 2:
            raise WeightsError(f"network settings: every level needs one entry in each list, found {self}")
        if len(self.segmenting) < 2:
            raise WeightsError(f"network settings: segmenter needs two levels or more, found {self}")
        sizes = (*self.encoder, *self.match, *self.decoder, *self.segmenter)
        counts = (self.vocabulary, self.condition, self.embedding, self.hidden, self.pair_voxels, self.sight_voxels)
        if min(*sizes, *counts) < 1:
            raise WeightsError(f"network settings: sizes must be positive, found {self}")
        if not all(0 < entry < math.inf for entry in self.reach):
            raise WeightsError(f"network settings: reach must be positive numbers, found {self.reach}")
        if any(not 0 <= id < self.vocabulary for id in self.segmented):
            raise WeightsError(f"network settings: segmented must be ids below {self.vocabulary}, found {self}")
        if not set(self.neighbours) <= {7, 27}:
            raise WeightsError(f"network settings: neighbours must be 7 or 27, found {self.neighbours}")

    @property
    def levels(self) -> int:
        """Number of pyramid levels."""
        return len(self.encoder)

    @property
    def segmenting(self) -> tuple[int, ...]:
        """Channels per level of the segmenter's encoder."""
        return self.segmenter or self.encoder

    @property
    def divisor(self) -> int:
        """Image sizes are padded to multiples of this."""
        return int(2 ** max(self.levels, len(self.segmenting)))
