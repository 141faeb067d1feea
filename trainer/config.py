"""A training run as one TOML file that maps one to one on these dataclasses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from trainer.augmentation import Augmentation
from trainer.phantoms import KINDS
from unireg_cli.errors import UsageError
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.settings import NetworkSettings

LEARNERS = ("registration", "segmentation")
RELATIVE = "a path; in a TOML it is relative to the TOML's folder"
PathText = Annotated[str, RELATIVE]


def require(fits: bool, name: str, must: str, found: object) -> None:
    """Say what is wrong with one setting.

    Raises:
        UsageError: it does not fit.
    """
    if not fits:
        raise UsageError(f"{name} must {must}, found {found!r}")


def _require_numbers(settings: object, names: Sequence[str], least: float, most: float = math.inf) -> None:
    must = f"be a number from {least:g} to {most:g}" if math.isfinite(most) else f"be a number from {least:g}"
    for name in names:
        value = getattr(settings, name)
        # Written so that NaN does not fit either.
        require(least <= value <= most and math.isfinite(value), name, must, value)


@dataclass(frozen=True, slots=True)
class Source:
    """One data set and how it is used.

    ``weight`` is how often it is drawn; ``intra`` the share of its real pairs that are of one person; ``synthetic_intra`` the share of
    examples that are one scan under a known motion; ``partners`` the affine-aligned partners of each scan.

    Raises:
        UsageError: a value out of its range.
    """

    path: PathText = ""
    phantoms: tuple[str, ...] = ()
    """Kinds of made-up label maps, instead of a path."""
    phantom_scans: int = 8
    """How many of each kind."""
    phantom_spacing: float = 3.0
    """Edge of their voxels, mm."""
    weight: float = 1.0
    voxels: tuple[int, int] = (300_000, 900_000)
    """Fewest and most voxels of the network's lattice."""
    fine: float = 0.0
    """Share of examples that are a part of a lattice with finer voxels: as many as ``fine_voxels`` for the whole image."""
    fine_voxels: tuple[int, int] = (1_000_000, 5_000_000)
    partners: int = 2
    intra: float = 0.0
    synthetic_intra: float = 0.15
    synthetic_contrast: float = 0.0
    lncc: float = 1.0
    overlap: float = 1.0
    roughness: float = 1.0
    unused: tuple[str, ...] = ()
    segmented: bool = True
    """Whether the segmenter learns its labels; if not, its images show it what is none of the structures of other regions."""
    tune: bool | None = None
    """Whether its held-out scans help to choose the best weights; not given: if it has images."""
    limit: int | None = None

    def __post_init__(self) -> None:
        _require_numbers(self, ("weight", "lncc", "overlap", "roughness"), 0)
        _require_numbers(self, ("intra", "synthetic_intra", "synthetic_contrast", "fine"), 0, 1)
        _require_numbers(self, ("partners", "phantom_scans"), 1)
        require(bool(self.path) != bool(self.phantoms), "path", "be given, or else phantoms, and not both", self.path)
        strangers = [kind for kind in self.phantoms if kind not in KINDS]
        require(not strangers, "phantoms", f"be of {', '.join(KINDS)}", ", ".join(strangers))
        for name in ("voxels", "fine_voxels"):
            low, high = getattr(self, name)
            require(0 < low <= high, name, "be two counts above 0 in order", (low, high))
        require(self.limit is None or self.limit > 0, "limit", "be above 0", self.limit)
        require(not (self.tune and self.phantoms), "tune", "not be true of phantoms, which have no images of their own", self.tune)


@dataclass(frozen=True, slots=True)
class Losses:
    """Weights of the parts of the loss, before each source's own factors.

    Raises:
        UsageError: a negative one.
    """

    lncc: float = 0.3
    overlap: float = 1.0
    rest: float = 0.15
    """Weight of the structures that were not asked for, the asked-for ones having 1."""
    roughness: float = 0.12
    """At smoothness 0.5; ten times more at 1, ten times less at 0."""
    volume: float = 0.35
    """Of the squared log |J|, at the same smoothness."""
    intra_roughness: float = 3.0
    """Factor on roughness and volume change of pairs of one person."""
    elsewhere: float = 0.25
    """Weight of both outside the fixed image's labels."""
    asked_roughness: float = 0.3
    """Factor on both where the structures that were asked for by name are believed to be: there the field may follow details."""
    folding: float = 5.0
    motion: float = 0.2
    finding: float = 0.2

    def __post_init__(self) -> None:
        _require_numbers(self, self.__slots__, 0)


@dataclass(frozen=True, slots=True)
class Asking:
    """How conditions are drawn: shares of ``all``, of a region, and else up to ``most`` single structures.

    Raises:
        UsageError: a value out of its range.
    """

    all: float = 0.5
    region: float = 0.05
    most: int = 3
    finder_structures: int = 8

    def __post_init__(self) -> None:
        _require_numbers(self, ("all", "region"), 0, 1)
        require(self.all + self.region <= 1 + 1e-9, "all + region", "be at most 1", self.all + self.region)
        _require_numbers(self, ("most", "finder_structures"), 1)


@dataclass(frozen=True, slots=True)
class Passes:
    """How much of the displacement an example starts with: the network's own passes before the one that is learnt from.

    ``coarse`` is the share of examples that start from a pass on a lattice of ``coarse_voxels``, ``second`` that of those with one
    more pass on their own lattice. Parts of a fine lattice start from both, and from a pass on ``middle_voxels``.

    Raises:
        UsageError: a value out of its range.
    """

    coarse: float = 0.7
    coarse_voxels: tuple[int, int] = (80_000, 160_000)
    middle_voxels: tuple[int, int] = (400_000, 700_000)
    second: float = 0.3

    def __post_init__(self) -> None:
        _require_numbers(self, ("coarse", "second"), 0, 1)
        for name in ("coarse_voxels", "middle_voxels"):
            low, high = getattr(self, name)
            require(0 < low <= high, name, "be two counts above 0 in order", (low, high))


@dataclass(frozen=True, slots=True)
class Segmenting:
    """How the segmenter is taught: one scan a step, in a box of so many voxels of a lattice of ``voxels`` for the whole image.

    Painted images are none of its business. Views are wider than those of pairs: ``angle`` in degrees, ``scale`` as a share,
    ``shift`` and ``bend`` as a share of the extent, ``bent`` how often. ``strangers`` are so many structures of other regions that it
    must not see.

    Raises:
        UsageError: a value out of its range.
    """

    weight: float = 1.0
    voxels: tuple[int, int] = (700_000, 1_600_000)
    box: int = 800_000
    angle: float = 15.0
    scale: float = 0.2
    shift: float = 0.05
    bend: float = 0.04
    bent: float = 0.5
    strangers: int = 12

    def __post_init__(self) -> None:
        _require_numbers(self, ("weight", "angle", "scale", "shift", "bend"), 0)
        _require_numbers(self, ("bent",), 0, 1)
        _require_numbers(self, ("box", "strangers"), 1)
        low, high = self.voxels
        require(0 < low <= high, "voxels", "be two counts above 0 in order", (low, high))


@dataclass(frozen=True, slots=True)
class Optimiser:
    """A linear warm-up and then a constant rate, or one that a cosine lowers to the last step.

    ``method``: adamw, or muon, which is AdamW but for kernels and matrices (trainer/optimiser.py), with so much ``momentum``.

    Raises:
        UsageError: a value out of its range.
    """

    rate: float = 6e-4
    condition_rate: float = 4.0
    """Factor on the rate of everything that only the condition passes through."""
    weight_decay: float = 1e-4
    warmup: int = 200
    schedule: str = "cosine"
    decay_from: int = 0
    """Step at which the cosine begins; before it the rate is constant."""
    final: float = 0.05
    """Share of the rate that is left at the end of a cosine."""
    clip: float = 1.0
    """Longest gradient."""
    average: float = 0.998
    """How much of the averaged weights is kept at each step."""
    method: str = "adamw"
    momentum: float = 0.95

    def __post_init__(self) -> None:
        require(self.method in ("adamw", "muon"), "method", "be adamw or muon", self.method)
        require(0 <= self.momentum < 1, "momentum", "be from 0 to below 1", self.momentum)
        require(self.schedule in ("cosine", "constant"), "schedule", "be cosine or constant", self.schedule)
        _require_numbers(self, ("condition_rate", "weight_decay", "warmup", "decay_from"), 0)
        stays = self.schedule == "constant" and self.decay_from > 0
        require(not stays, "decay_from", "be 0 where the schedule is constant; a cosine decays", self.decay_from)
        _require_numbers(self, ("final", "average"), 0, 1)
        require(0 < self.rate < math.inf, "rate", "be above 0", self.rate)
        require(0 < self.clip < math.inf, "clip", "be above 0", self.clip)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that a run's numbers depend on, and where they go.

    Raises:
        UsageError: a value out of its range.
    """

    sources: tuple[Source, ...]
    name: str = "unireg-own"
    """Of the weights."""
    licence: str = "not stated; ask who trained these weights"
    """Of the weights: what their training data allow."""
    steps: int = 10_000
    seed: int = 0
    batch: int = 1
    """Examples per step and process."""
    learns: tuple[str, ...] = LEARNERS[:1]
    """What is taught: ``registration``, ``segmentation``, or both, an example of each at every step."""
    init: PathText = ""
    """Weights (NAME.safetensors) that the network and its average begin as; without, they begin at random."""
    smoothness: tuple[float, float] = (0.5, 0.5)
    """What ``register`` asks these weights for where the user asks for none: inter, intra."""
    most_structures: int = 48
    points: int = 400
    tune_every: int = 500
    save_every: int = 100
    log_every: int = 50
    device: str = "auto"
    precision: str = "auto"
    """bfloat16 where the processor gains from it, or float32 or bfloat16 always."""
    cache: PathText = "cache"
    output: PathText = "run"
    network: NetworkSettings = field(default_factory=lambda: NetworkSettings(vocabulary().size))
    losses: Losses = field(default_factory=Losses)
    asking: Asking = field(default_factory=Asking)
    passes: Passes = field(default_factory=Passes)
    segmenting: Segmenting = field(default_factory=Segmenting)
    optimiser: Optimiser = field(default_factory=Optimiser)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        require(sum(source.weight for source in self.sources) > 0, "sources", "have one with a weight above 0", len(self.sources))
        plain = bool(self.name) and all(letter.isalnum() or letter in "._+-" for letter in self.name)
        require(plain, "name", "consist of letters, digits and .+-_", self.name)
        require(bool(self.licence.strip()), "licence", "be a text", self.licence)
        _require_numbers(self, ("seed",), 0)
        _require_numbers(self, ("steps", "batch", "most_structures", "points", "tune_every", "save_every", "log_every"), 1)
        require(bool(self.learns) and set(self.learns) <= set(LEARNERS), "learns", f"be of {', '.join(LEARNERS)}", self.learns)
        require(all(0 <= part <= 1 for part in self.smoothness), "smoothness", "be two numbers from 0 to 1", self.smoothness)
        require(self.device in ("auto", "cpu", "cuda"), "device", "be auto, cpu or cuda", self.device)
        require(self.precision in ("auto", "float32", "bfloat16"), "precision", "be auto, float32 or bfloat16", self.precision)
