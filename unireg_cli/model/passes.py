"""The network applied several times: each pass sees the moving image as the passes before it have moved it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unireg_cli.model.network import Ask, Network, Output
from unireg_cli.spatial.filters import resize_displacement
from unireg_cli.spatial.sampling import index_lattice, sample_index
from unireg_cli.spatial.velocity import compose


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """Where earlier passes have led: (3, D/2, H/2, W/2) forward and back, voxels of the half-resolution lattice."""

    displacement: Tensor
    inverse: Tensor | None

    def swapped(self) -> Moved:
        """The same for the pair in the other order.

        Raises:
            ValueError: the inverse is not known.
        """
        if self.inverse is None:
            raise ValueError("without its inverse a displacement cannot be swapped")
        return Moved(self.inverse, self.displacement)


def repeat(
    network: Network,
    images: Tensor,
    known: Tensor,
    ask: Ask,
    passes: int,
    *,
    inverse: bool = False,
    start: Moved | None = None,
    window: Tensor | None = None,
) -> Output:
    """As ``network(images, known, ask)``, with the displacements of all ``passes`` composed; the last pass's other results.

    Every pass is invertible, so their composition is too. Gradients flow through the last pass alone: the ones before it only set
    the scene.

    Args:
        network: see :class:`Network`.
        images: (2, 1, D, H, W), fixed and moving.
        known: (2, 1, D/2, H/2, W/2).
        ask: the condition, the same for all passes.
        passes: at least 1.
        inverse: also compose the inverse; ``start`` must have one then.
        start: what earlier passes have found, on this lattice.
        window: see :meth:`Network.forward`.
    """
    displacement = None if start is None else start.displacement
    backward = None if start is None else start.inverse
    for number in range(passes):
        seen, there = (images, known) if displacement is None else moved(images, known, displacement)
        with torch.set_grad_enabled(torch.is_grad_enabled() and number == passes - 1):
            output: Output = network(seen, there, ask, inverse=inverse, window=window)
            displacement = output.displacement if displacement is None else compose(displacement, output.displacement)
            if output.inverse is not None:
                backward = output.inverse if backward is None else compose(output.inverse, backward)
    assert displacement is not None  # there is at least one pass
    return replace(output, displacement=displacement, inverse=backward)


def moved(images: Tensor, known: Tensor, displacement: Tensor) -> tuple[Tensor, Tensor]:
    """``images`` and ``known`` with the moving one read at x + u(x); ``displacement`` in voxels of the half-resolution lattice."""
    shape = (images.shape[2], images.shape[3], images.shape[4])
    half = (known.shape[2], known.shape[3], known.shape[4])
    full = resize_displacement(displacement, shape)
    image = sample_index(images[1], index_lattice(shape, device=images.device) + full.permute(1, 2, 3, 0))
    there = sample_index(known[1], index_lattice(half, device=known.device) + displacement.permute(1, 2, 3, 0))
    return torch.stack((images[0], image)), torch.stack((known[0], there))
