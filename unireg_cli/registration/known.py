"""What is known of a pair before its refinement, as a start and as a force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unireg_cli.registration.alignment import View, coarser
from unireg_cli.registration.laying import map_pull
from unireg_cli.registration.maps import StructureMaps
from unireg_cli.registration.prediction import Prediction, displacement_on
from unireg_cli.registration.pull import Pull, Pulls
from unireg_cli.registration.steering import Guide
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.velocity import compose

Before = Callable[[Grid], Tensor]

# Voxels on which a spline through landmarks is made.
_SPLINE_VOXELS = 250_000


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """The network's displacement and structure maps, and the user's own guides; each may be missing."""

    prediction: Prediction | None
    maps: StructureMaps | None
    guide: Guide | None

    @property
    def mapped(self) -> bool:
        """Whether structure maps lead."""
        return self.leaders is not None

    @property
    def leaders(self) -> StructureMaps | None:
        """The structure maps if they lead."""
        return self.maps if self.maps is not None and self.maps.leading else None

    def before(self, fixed: View, affine: Affine) -> Before | None:
        """The displacement to start from, on any grid: the network's, after a spline that the landmarks ask for; None for no start."""
        predicted = None if self.prediction is None else self.prediction.on
        grid = coarser(fixed.grid, _SPLINE_VOXELS)
        start = None if self.guide is None else self.guide.start(affine, predicted, grid, fixed.values.device)
        if start is None:
            return predicted
        if predicted is None:
            return lambda other: displacement_on(start, grid, other)
        return lambda other: compose(predicted(other), displacement_on(start, grid, other))

    def pull(self, affine: Affine, before: Before | None, device: torch.device) -> Callable[[Grid], Pull] | None:
        """Everything but the images that moves the refinement, made for a scale's grid; None if there is nothing."""
        makers: list[Callable[[Grid], Pull]] = []
        if self.maps is not None:
            makers.append(map_pull(self.maps, affine, before))
        if self.guide is not None:
            makers.append(self.guide.pull(affine, before, device))
        return (lambda grid: Pulls([make(grid) for make in makers])) if makers else None
