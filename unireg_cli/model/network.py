"""The conditional registration network: shared encoder, residual pyramid, dynamic heads, velocities composed from coarse to fine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from unireg_cli.errors import WeightsError
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.conditioning import ConditionEncoder, DynamicHead
from unireg_cli.model.encoder import Encoder, Features, Finder
from unireg_cli.model.layers import Convolution, Pointwise, Residual, activate, doubled, joined
from unireg_cli.model.matching import Match, correlation
from unireg_cli.model.segmenter import Segmenter
from unireg_cli.model.settings import NetworkSettings
from unireg_cli.spatial.filters import gaussian, resize_displacement
from unireg_cli.spatial.sampling import index_lattice, sample_index
from unireg_cli.spatial.velocity import compose, exponential

# Gaussian on every residual velocity, voxels of its level, at smoothness 0 and what is added up to 1.
_SIGMA_LEAST, _SIGMA_RANGE = 0.3, 1.4
# Around structures that were asked for by name it is narrower by this factor. (Wider ones elsewhere, 1.8, cost the structures
# themselves 0.04 of Dice where the finder missed them.)
_LOOSE = 0.6
# How far around a structure its surroundings reach: a Gaussian's width in voxels of the finest level.
_AROUND = 1.5
# Voxels in a step of the exponential of a velocity; a quarter gave no more Dice.
_LARGEST_STEP = 0.5
# Voxels of the finest level per unit of a head: weights of ordinary size make displacements of ordinary size, so few steps reach them.
_GAIN = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """A condition as tensors on the network's device: see ``ConditionVectors``; ``structures`` are the ids to look for, none for all."""

    anatomy: Tensor
    mode: Tensor
    smoothness: Tensor
    structures: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """What one pass gives, on the lattice of half the network grid's resolution, voxels of that lattice.

    ``velocities`` coarsest level first, each (3, ...) on its own lattice; ``displacement`` and ``inverse`` (3, D/2, H/2, W/2);
    ``asked`` (2, 1, D/2, H/2, W/2): where the asked-for structures are believed to be in fixed and moving, 1 everywhere for all.
    """

    velocities: tuple[Tensor, ...]
    displacement: Tensor
    inverse: Tensor | None
    asked: Tensor
    features: Features


class Level(nn.Module):
    """One scale of the pyramid: compare, decide, residual velocity."""

    def __init__(self, settings: NetworkSettings, level: int) -> None:
        super().__init__()
        width = settings.decoder[level]
        coarser = settings.decoder[level + 1] if level + 1 < settings.levels else 0
        self.neighbours, self.reach = settings.neighbours[level], settings.reach[level]
        self.match = Match(self.neighbours)
        self.trust = nn.Parameter(torch.tensor(0.5))
        # Gathered into few channels, voxel by voxel: a convolution of all that is known takes three times as long and makes no more of it.
        self.gather = Pointwise(2 * settings.match[level] + 2 + self.neighbours + 3, width)
        self.from_coarser = Pointwise(coarser, width) if coarser else None
        # The finest level is most of the cost of a pass: one convolution less there, and no norms.
        self.enter = Convolution(width, width, condition=settings.condition, norm=level > 0)
        self.mix = Residual(width, condition=settings.condition, depth=2 if level else 1, norm=level > 0)
        self.head = DynamicHead(width, settings.condition, settings.hidden, _GAIN * 0.5**level)

    def forward(self, fixed: Tensor, moved: Tensor, asked: Tensor, coarser: Tensor | None, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Velocity (3, D, H, W) of this level and its features, from those of the next coarser level.

        ``asked`` (1, 2, D, H, W): fixed and moved belief.
        """
        similarity = correlation(fixed, moved, self.neighbours)
        nearest = self.match(similarity)
        known = self.gather(joined([fixed, moved, asked, similarity, nearest]))
        if self.from_coarser is not None and coarser is not None:
            known.add_(doubled(self.from_coarser(coarser)))
        state = activate(self.enter(known, condition))
        state = self.mix(state, condition)
        return bounded(self.head(state, condition) + self.trust * nearest[0], self.reach), state


class Network(nn.Module):
    """F(fixed, moving | condition): see model.py's parts; every image size that is a multiple of ``settings.divisor``."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        # The names of its ids; weights may bring more of them along.
        self.known = vocabulary()
        self.encoder = Encoder(settings.encoder, settings.match)
        self.finder = Finder(settings)
        self.segmenter = Segmenter(settings) if settings.segmented else None
        self.conditions = ConditionEncoder(settings)
        self.levels = nn.ModuleList(Level(settings, level) for level in range(settings.levels))
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, images: Tensor, known: Tensor, ask: Ask, *, inverse: bool = False, window: Tensor | None = None) -> Output:
        """Register ``images[1]`` to ``images[0]``.

        Args:
            images: (2, 1, D, H, W): fixed and moving, intensities about [0, 1].
            known: (2, 1, D/2, H/2, W/2): 1 inside each image, 0 in padding and beyond its edge.
            ask: the condition.
            inverse: also give the inverse displacement, from the negated velocities.
            window: (D/2, H/2, W/2), 0..1, what every velocity is multiplied by before it is integrated; a voxel of a coarser level by
                the least in it, so that nothing moves where it is 0 on all of that voxel and its neighbours. None leaves all as it is.
        """
        features = self.encoder(images, known)
        asked = self.belief(features, ask.structures)
        condition = self.conditions(ask.anatomy, ask.mode, ask.smoothness)
        sigma = _SIGMA_LEAST + _SIGMA_RANGE * float(ask.smoothness)
        near = surroundings(asked[0, 0])[None, None] if len(ask.structures) else None
        displacement: Tensor | None = None
        backward: Tensor | None = None
        state: Tensor | None = None
        velocities = []
        for level in range(self.settings.levels - 1, -1, -1):
            fixed, moving = features.match[level][0:1], features.match[level][1:2]
            shape = (fixed.shape[2], fixed.shape[3], fixed.shape[4])
            lattice = index_lattice(shape, device=fixed.device)
            believed = None if near is None else _pooled(asked, shape)
            seen = moving if believed is None else joined((moving, believed[1:2]))
            if displacement is not None:
                displacement = resize_displacement(displacement, shape)
                seen = _moved(seen, displacement, lattice)
            if believed is None:
                both = seen.new_ones(()).expand(1, 2, *shape)
            else:
                both = torch.cat((believed[0:1].to(seen.dtype), seen[:, -1:]), dim=1)
                seen = seen[:, :-1]
            velocity, state = self.levels[level](fixed, seen, both, state, condition)
            velocity = _smoothed(velocity, sigma, None if near is None else _pooled(near, shape)[0])
            if window is not None:
                velocity = velocity * _least(window[None, None], shape)[0]
            velocities.append(velocity)
            step = exponential(velocity, self.settings.reach[level], _LARGEST_STEP, lattice)
            displacement = step if displacement is None else compose(displacement, step, lattice)
            if inverse:
                back = exponential(-velocity, self.settings.reach[level], _LARGEST_STEP, lattice)
                backward = back if backward is None else compose(back, resize_displacement(backward, shape), lattice)
        assert displacement is not None  # there are at least two levels
        return Output(tuple(velocities), displacement, backward, asked, features)

    def belief(self, features: Features, structures: Tensor) -> Tensor:
        """Where any of ``structures`` is believed to be in each image, (N, 1, D/2, H/2, W/2), 0..1; no gradient flows through it."""
        if not len(structures):
            return torch.ones_like(features.fine[:, :1])
        with torch.no_grad():
            return torch.sigmoid(self.finder(features, structures).float()).amax(dim=1, keepdim=True)


def surroundings(belief: Tensor) -> Tensor:
    """1 in and next to where a structure is believed to be (D, H, W), falling to 0 over a few voxels."""
    return (2 * gaussian(belief, (_AROUND,) * 3)).clamp(max=1.0)


def _pooled(belief: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Means over the voxels of a coarser lattice; on its own lattice ``belief`` as it is."""
    return belief if belief.shape[2:] == shape else nn.functional.adaptive_avg_pool3d(belief, shape)


def _least(window: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Minima over the voxels of a coarser lattice."""
    return window if window.shape[2:] == shape else -nn.functional.adaptive_max_pool3d(-window, shape)


def _smoothed(velocity: Tensor, sigma: float, near: Tensor | None) -> Tensor:
    """Gaussian smoothing of (3, D, H, W), a narrower one where ``near`` (1, D, H, W) is 1."""
    smooth = gaussian(velocity, (sigma,) * 3)
    if near is None:
        return smooth
    return torch.lerp(smooth.float(), gaussian(velocity, (_LOOSE * sigma,) * 3).float(), near.float())


def bounded(velocity: Tensor, reach: float) -> Tensor:
    """A velocity (3, D, H, W) whose long vectors are shortened smoothly to less than ``reach``; their direction stays.

    Bounded velocities need a known number of squarings.
    """
    return velocity * torch.rsqrt(1 + velocity.square().sum(dim=0, keepdim=True) / reach**2)


def _moved(features: Tensor, displacement: Tensor, lattice: Tensor) -> Tensor:
    """Features (1, C, D, H, W) read at x + u(x): planes of float32."""
    return sample_index(features[0].float(), lattice + displacement.permute(1, 2, 3, 0))[None]


def build_network(sizes: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str = "weights") -> Network:
    """A network in inference mode from its settings and weights.

    Raises:
        WeightsError: unknown or missing settings, tensors that are missing, too many, or of another shape.
    """
    known = {field.name for field in fields(NetworkSettings)}
    if set(sizes) != known:
        odd = ", ".join(sorted(set(sizes) ^ known))
        raise WeightsError(f"{where}: network settings that are unknown or missing: {odd}; made by another version of unireg")
    try:
        plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in sizes.items()}
        settings = NetworkSettings(**plain)
        network = Network(settings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{where}: network settings do not make a network ({error})") from None
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = [name for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name)]
    if wrong:
        name = wrong[0]
        raise WeightsError(
            f"{where}: {len(wrong)} tensors do not fit this version of the network; {name}: expected {expected.get(name, 'nothing')}, "
            f"found {found.get(name, 'nothing')}"
        )
    network.load_state_dict(dict(tensors))
    return network.eval().requires_grad_(False)


def settings_as_json(settings: NetworkSettings) -> dict[str, Any]:
    """What :func:`build_network` takes back."""
    return asdict(settings)
