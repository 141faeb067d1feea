"""The loss of one example: ask, run the network, measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from trainer.augmentation import uniform
from trainer.config import Asking, Losses, Passes, Source
from trainer.datasets import NOT_ASKABLE
from trainer.losses import displacement_at, dissimilarity, finding, nearly_folded, overlap, roughness, volume_change
from trainer.sampling import Example, Labelled, Shown
from unireg_cli.model.anatomy import Vocabulary
from unireg_cli.model.condition import Condition
from unireg_cli.model.network import Ask, Network, Output, surroundings
from unireg_cli.model.passes import Moved, repeat
from unireg_cli.registration.prediction import as_ask, displacement_on
from unireg_cli.spatial.filters import resize_displacement
from unireg_cli.spatial.jacobian import index_determinant
from unireg_cli.spatial.sampling import index_lattice, sample_index
from unireg_cli.types import Mode


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A drawn condition: what the network is told, and which labels of the example it favours (K,) bool, all of them for ``all``."""

    ask: Ask
    favoured: Tensor
    smoothness: float
    passes: int = 1


def draw_request(example: Example, asking: Asking, again: Passes, known: Vocabulary, generator: torch.Generator) -> Request:
    """A random condition that fits an example."""
    ids = torch.tensor([example.names[int(k)] for k in example.fixed.structures])
    seen = example.fixed.valid.any(dim=1) & example.moving.valid.any(dim=1) & (ids != NOT_ASKABLE)
    choice = uniform(generator)
    smoothness = round(uniform(generator) * 20) / 20 if uniform(generator) < 0.5 else 0.5
    anatomy, favoured = known.everything(), torch.ones_like(seen)
    if choice > asking.all and seen.any():
        if choice < asking.all + asking.region:
            anatomy = known.request([known.region_of(int(ids[seen][0]))])
            favoured = torch.tensor([int(id) in anatomy.structures for id in ids])
        else:
            count = 1 + int(uniform(generator) * asking.most)
            places = seen.nonzero()[:, 0]
            picked = places[torch.randperm(len(places), generator=generator)[:count]]
            anatomy = known.request([int(ids[k]) for k in picked])
            favoured = torch.zeros_like(seen)
            favoured[picked] = True
    condition = Condition(anatomy, example.mode, smoothness)
    passes = 1 + (bool(example.before) and uniform(generator) < again.second)
    return Request(as_ask(condition, known), favoured, smoothness, passes)


def measure_loss(
    network: Network, example: Example, request: Request, losses: Losses, source: Source, asking: Asking, generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted loss and its parts, each a scalar tensor; nothing is read back from the device here."""
    shown = example.shown
    start = begin_at(network, (*example.before, shown), request.ask)
    output = repeat(network, shown.images, shown.known, request.ask, request.passes, inverse=True, start=start)
    determinants = index_determinant(output.displacement)
    where = _where_regular(output, example, request, losses)
    parts = {
        "roughness": roughness(output.displacement, where),
        "volume": volume_change(determinants, where),
        "folding": nearly_folded(determinants),
    }
    strength = source.roughness * 10 ** (2 * (request.smoothness - 0.5)) * (losses.intra_roughness if example.mode is Mode.INTRA else 1.0)
    total = strength * (losses.roughness * parts["roughness"] + losses.volume * parts["volume"]) + losses.folding * parts["folding"]
    if example.alike and losses.lncc * source.lncc:
        parts["lncc"] = _unlike(output, example)
        total = total + losses.lncc * source.lncc * parts["lncc"]
    parts["overlap"], parts["asked"] = _missed(output, example, request, losses, generator)
    total = total + losses.overlap * source.overlap * parts["overlap"]
    if example.motion is not None:
        points, truth = example.motion
        parts["motion"] = (displacement_at(output.displacement, points) - truth).square().sum(dim=-1).add(1e-4).sqrt().mean()
        total = total + losses.motion * parts["motion"]
    # The features of a later pass are of an image that has moved away from its labels.
    sides = (example.fixed, example.moving) if request.passes == 1 and start is None else (example.fixed,)
    parts["finding"] = _not_found(network, output, example, sides, asking)
    return total + losses.finding * parts["finding"], {"loss": total, **parts}


@torch.no_grad()
def begin_at(network: Network, lattices: Sequence[Shown], ask: Ask) -> Moved | None:
    """What a pass on each of the lattices but the last finds, on the last; nothing if there is only one."""
    found: Moved | None = None
    for shown, following in pairwise(lattices):
        output = repeat(network, shown.images, shown.known, ask, 1, inverse=True, start=found)
        assert output.inverse is not None  # it was asked for
        found = Moved(*(displacement_on(part, shown.half, following.half) for part in (output.displacement, output.inverse)))
    return found


def _where_regular(output: Output, example: Example, request: Request, losses: Losses) -> Tensor:
    """How much the regularity of each voxel counts (D/2, H/2, W/2)."""
    shape = output.displacement.shape[1:]
    lattice = index_lattice((shape[0], shape[1], shape[2]), device=output.displacement.device) * 2 + 0.5
    weight = torch.where(example.fixed.at(lattice) > 0, 1.0, losses.elsewhere)
    if not len(request.ask.structures):
        return weight
    return weight * (1 + (losses.asked_roughness - 1) * surroundings(output.asked[0, 0]))


def _unlike(output: Output, example: Example) -> Tensor:
    shape = example.shown.images.shape[2:]
    full = resize_displacement(output.displacement, (shape[0], shape[1], shape[2]))
    lattice = index_lattice((shape[0], shape[1], shape[2]), device=full.device)
    weight = torch.nn.functional.interpolate(example.shown.known.amin(dim=0, keepdim=True), scale_factor=2)[0, 0]
    moved = sample_index(example.shown.images[1], lattice + full.permute(1, 2, 3, 0))[0]
    return dissimilarity(example.shown.images[0, 0], moved, weight)


def _missed(output: Output, example: Example, request: Request, losses: Losses, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Weighted mean over structures of the share that is not covered, both ways; and of the favoured ones alone."""
    assert output.inverse is not None
    reach = (1.0, 2.0, 4.0)[int(uniform(generator) * 3)]
    there, fixed_has = overlap(example.fixed, example.moving, output.displacement, _stride(example.moving, reach))
    back, moving_has = overlap(example.moving, example.fixed, output.inverse, _stride(example.fixed, reach))
    both = fixed_has & moving_has
    missed = 1 - 0.5 * (there + back)
    favoured = both * request.favoured
    # The favoured mean, plus the others' mean at their lower weight.
    others = both * ~request.favoured
    mean = (missed * favoured).sum() / favoured.sum().clamp_min(1)
    rest = (missed * others).sum() / others.sum().clamp_min(1)
    return mean + losses.rest * rest, mean.detach()


def _stride(side: Labelled, reach: float) -> tuple[int, int, int]:
    """Cells of about ``reach`` lattice voxels, in whole voxels of the label map; never below one."""
    edges = np.abs(side.index_from_lattice[:3, :3]).sum(axis=1)
    x, y, z = (max(1, round(reach * float(edge))) if reach > 1 else 1 for edge in edges)
    return x, y, z


def _not_found(network: Network, output: Output, example: Example, sides: tuple[Labelled, ...], asking: Asking) -> Tensor:
    """Loss of the finder over a few structures of the fixed image, and of the moving one if it is among ``sides``."""
    shape = tuple(n // 2 for n in example.shown.images.shape[2:])
    total = output.displacement.new_zeros(())
    for image, side in enumerate(sides):
        ids = torch.tensor([example.names[int(k)] for k in side.structures])
        use = (ids != NOT_ASKABLE).nonzero()[:, 0][: asking.finder_structures]
        if not len(use):
            continue
        lattice = index_lattice((shape[0], shape[1], shape[2]), device=side.labels.device) * 2 + 0.5
        present = side.at(lattice)[None] == side.structures[use][:, None, None, None].to(side.labels.dtype)
        logits = network.finder(output.features.of(image), ids[use])[0]
        total = total + 0.5 * finding(logits.float(), present.float())
    return total
