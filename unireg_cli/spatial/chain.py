"""Transforms one after the other."""

from __future__ import annotations

from dataclasses import dataclass

from unireg_cli.spatial.affine import Affine
from unireg_cli.spatial.field import DisplacementField
from unireg_cli.spatial.grid import Grid
from unireg_cli.types import AnyArray, FloatArray

Transform = Affine | DisplacementField


@dataclass(frozen=True, slots=True)
class Chain:
    """Maps LPS points through ``steps`` in the order of the tuple: ``steps[0]`` is applied first.

    A registration's forward result T = A o phi is ``Chain((phi, A))``: first the displacement on the fixed side,
    then the affine into the moving image (transforms.md 1).
    """

    steps: tuple[Transform, ...] = ()

    def map(self, points_lps: AnyArray) -> FloatArray:
        """Map points (..., 3) in LPS mm, float64."""
        import numpy as np

        mapped: FloatArray = np.asarray(points_lps, dtype=np.float64)
        for step in self.steps:
            mapped = step.map(mapped)
        return mapped

    def map_slices(self, grid: Grid, start: int, stop: int) -> FloatArray:
        """Map the voxel centres of slices start <= k < stop of a grid: (slices, y, x, 3), LPS mm, float64."""
        if self.steps and isinstance(self.steps[0], DisplacementField):
            return Chain(self.steps[1:]).map(self.steps[0].map_slices(grid, start, stop))
        return self.map(grid.points_lps(start, stop))

    def invert(self) -> Chain:
        """The inverse chain: inverted steps in reverse order; fields are inverted numerically (see spatial.inverse)."""
        return Chain(tuple(step.invert() for step in reversed(self.steps)))

    def then(self, *later: Transform) -> Chain:
        """This chain followed by more steps."""
        return Chain((*self.steps, *later))

    def simplified(self) -> Chain:
        """Neighbouring affines multiplied into one; identities dropped."""
        steps: list[Transform] = []
        for step in self.steps:
            if isinstance(step, Affine):
                if steps and isinstance(steps[-1], Affine):
                    step = step.after(steps.pop())  # type: ignore[arg-type]
                if step.is_identity:
                    continue
            steps.append(step)
        return Chain(tuple(steps))

    def describe(self) -> str:
        """The chain in words, in the order in which a point passes."""
        return " -> ".join(step.describe() for step in self.steps) or "identity"
