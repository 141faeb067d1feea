"""The loss of one example: ask, run the network, measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.augmentation import uniform
from trainer.config import Asking, Losses, Source
from trainer.datasets import NOT_ASKABLE
from trainer.losses import displacement_at, dissimilarity, finding, nearly_folded, overlap, roughness
from trainer.sampling import Example, Labelled
from unireg_cli.model.anatomy import Vocabulary
from unireg_cli.model.condition import Condition
from unireg_cli.model.network import Ask, Network, Output
from unireg_cli.model.passes import repeat
from unireg_cli.registration.prediction import as_ask
from unireg_cli.spatial.filters import resize_displacement
from unireg_cli.spatial.sampling import index_lattice, sample_index
from unireg_cli.types import Mode


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A drawn condition: what the network is told, and which labels of the example it favours (K,) bool, all of them for ``all``."""

    ask: Ask
    favoured: Tensor
    smoothness: float
    passes: int = 1


def draw_request(example: Example, asking: Asking, known: Vocabulary, generator: torch.Generator) -> Request:
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
    passes = 1 + (uniform(generator) < asking.second_pass)
    return Request(as_ask(condition, known), favoured, smoothness, passes)


def measure_loss(
    network: Network, example: Example, request: Request, losses: Losses, source: Source, asking: Asking, generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted loss and its parts, each a scalar tensor; nothing is read back from the device here."""
    output = repeat(network, example.images, example.known, request.ask, request.passes, inverse=True)
    parts = {"roughness": roughness(output.displacement), "folding": nearly_folded(output.displacement)}
    strength = 10 ** (2 * (request.smoothness - 0.5)) * (losses.intra_roughness if example.mode is Mode.INTRA else 1.0)
    total = losses.roughness * source.roughness * strength * parts["roughness"] + losses.folding * parts["folding"]
    if example.alike and losses.lncc * source.lncc:
        parts["lncc"] = _unlike(output, example)
        total = total + losses.lncc * source.lncc * parts["lncc"]
    parts["overlap"], parts["asked"] = _missed(output, example, request, losses, generator)
    total = total + losses.overlap * source.overlap * parts["overlap"]
    if example.motion is not None:
        points, truth = example.motion
        parts["motion"] = (displacement_at(output.displacement, points) - truth).square().sum(dim=-1).add(1e-4).sqrt().mean()
        total = total + losses.motion * parts["motion"]
    # The features of a second pass are of an image that has moved away from its labels.
    sides = (example.fixed, example.moving) if request.passes == 1 else (example.fixed,)
    parts["finding"] = _not_found(network, output, example, sides, asking)
    return total + losses.finding * parts["finding"], {"loss": total, **parts}


def _unlike(output: Output, example: Example) -> Tensor:
    shape = example.images.shape[2:]
    full = resize_displacement(output.displacement, (shape[0], shape[1], shape[2]))
    lattice = index_lattice((shape[0], shape[1], shape[2]), device=full.device)
    weight = torch.nn.functional.interpolate(example.known.amin(dim=0, keepdim=True), scale_factor=2)[0, 0]
    moved = sample_index(example.images[1], lattice + full.permute(1, 2, 3, 0))[0]
    return dissimilarity(example.images[0, 0], moved, weight)


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
    shape = tuple(n // 2 for n in example.images.shape[2:])
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
