"""What one registration returns."""

from __future__ import annotations

from dataclasses import dataclass

from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid
from unireg_cli.spatial.inverse import ConsistencyError
from unireg_cli.spatial.jacobian import Regularity
from unireg_cli.types import Mode


@dataclass(frozen=True, slots=True)
class Stage:
    """One timed step; ``peak_memory_mb`` is the process's peak resident memory when it ended."""

    name: str
    seconds: float
    peak_memory_mb: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Numbers by which a result can be judged without labels; field measures are None for rigid and affine runs."""

    similarity_name: str
    similarity_before: float
    """At the start handed in (header or initial transform), on the network grid; higher is better, at most 1."""
    similarity_affine: float
    similarity_after: float
    regularity: Regularity | None = None
    """Over the whole written field."""
    regularity_foreground: Regularity | None = None
    """Where the fixed image is not background."""
    displacement_percentiles_mm: dict[str, float] | None = None
    """|u| inside the fixed foreground: keys p50, p95, p99, max."""
    inverse_consistency: ConsistencyError | None = None


@dataclass(frozen=True, slots=True)
class StructureOverlap:
    """Dice of one label of the user's segmentations, carried by the nearest voxel."""

    label: int
    name: str
    steers: bool
    """Whether it took part in the refinement, or was only scored."""
    dice_before: float
    """Under the affine."""
    dice_network: float | None
    """After the network; None without one."""
    dice_after: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Distances of landmarks from their partners, mm."""

    mean_mm: float
    median_mm: float
    max_mm: float


@dataclass(frozen=True, slots=True)
class LandmarkErrors:
    """Distances of the user's landmarks from their partners in the moving image: under the affine, after the network, in the end."""

    count: int
    steering: int
    """Landmarks whose weight is not 0."""
    before: Spread
    network: Spread | None
    after: Spread
    after_mm: tuple[float, ...]
    """One by one, in the order of the files."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What was allowed and smoothed at one scale of the refinement, mm; Gaussian widths."""

    spacing_mm: tuple[float, float, float]
    most_steps: int
    step_smoothing_voxels: float
    field_smoothing_voxels: float


@dataclass(frozen=True, slots=True)
class SteeringReport:
    """What the user's wishes did to a deformable registration."""

    anatomy: tuple[str, ...]
    mode: Mode
    smoothness: float
    stiffness: float
    """By which the refinement's usual smoothing was multiplied: 0.5 + smoothness, more for one person twice and after the network."""
    network_smoothness: float | None
    """How smooth the network was asked to be, more where a refinement follows; None without one."""
    attention: str | None
    """Where the refinement looked harder because of the anatomy asked for, in words."""
    scales: tuple[Scale, ...]
    structures: tuple[StructureOverlap, ...] = ()
    landmarks: LandmarkErrors | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """A finished registration: the transforms and what is known about them.

    ``forward`` maps fixed points to moving points, LPS mm: first ``field`` (if any), then ``affine``, then the steps of
    a non-affine initial transform (if one was given). ``inverse`` maps moving points to fixed points.
    """

    forward: Chain
    inverse: Chain
    affine: Affine
    field: DisplacementField | None
    inverse_field: DisplacementField | None
    network_grid: Grid
    quality: Quality
    decisions: dict[str, str]
    """What ``auto`` chose and why, in words: keys fixed_modality, moving_modality, similarity, start, device, grid."""
    warnings: tuple[str, ...]
    stages: tuple[Stage, ...]
    steering: SteeringReport | None = None
    """None for rigid and affine runs."""
