"""A pair with its affine, between the two halves of a registration."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unireg_cli.registration.preparation import Prepared
from unireg_cli.registration.result import Stage
from unireg_cli.registration.steering import Steering
from unireg_cli.spatial import Affine, Chain, Image


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """A pair with its affine, from which any number of deformable registrations can start."""

    fixed: Image
    pair: Prepared
    affine: Affine
    reference: Affine
    """The start, for the similarity before."""
    later: Chain
    """The non-affine initial transform, or nothing."""
    steering: Steering | None
    moving: Image
    stages: tuple[Stage, ...]

    def undecided(self) -> Aligned:
        """The same with a list of decisions of its own: what one answer decides is not decided for the next one of this pair."""
        return replace(self, pair=replace(self.pair, decisions=dict(self.pair.decisions)))
