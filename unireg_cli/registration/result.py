"""What one registration returns."""

from __future__ import annotations

from dataclasses import dataclass

from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid
from unireg_cli.spatial.inverse import ConsistencyError
from unireg_cli.spatial.jacobian import Regularity


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
