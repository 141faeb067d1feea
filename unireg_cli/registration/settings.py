"""What a user may ask of one registration, apart from files."""

from __future__ import annotations

from dataclasses import dataclass

from unireg_cli.errors import UsageError
from unireg_cli.types import Effort, Modality, Mode, Similarity, Start, TransformKind


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices of one registration; every field is written into the result's JSON.

    Raises:
        UsageError: a value out of its range.
    """

    transform: TransformKind = TransformKind.DEFORMABLE
    start: Start = Start.AUTO
    fixed_modality: Modality = Modality.AUTO
    moving_modality: Modality = Modality.AUTO
    similarity: Similarity = Similarity.AUTO
    anatomy: tuple[str, ...] = ()
    """Structures and regions to favour, by the names of the table of anatomies; none means all."""
    mode: Mode = Mode.INTER
    effort: Effort = Effort.DEFAULT
    iterations: int | None = None
    """Refinement steps at the finest scale; None takes the effort's own number."""
    smoothness: float = 0.5
    """0 = follows every detail, 1 = very regular; scales the smoothing of the refinement."""
    field_spacing: str = "auto"
    """Spacing of the written field: ``auto`` (network grid), ``full`` (fixed grid), or millimetres as a number."""
    voxel_budget: int = 8_000_000
    """Most voxels of the network grid."""
    device: str = "auto"
    seed: int = 0
    deterministic: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.smoothness <= 1:
            raise UsageError(f"--smoothness must be between 0 and 1, found {self.smoothness:g}")
        if self.iterations is not None and not 0 <= self.iterations <= 10_000:
            raise UsageError(f"--iterations must be between 0 and 10000, found {self.iterations}")
        if self.field_spacing not in ("auto", "full"):
            try:
                spacing = float(self.field_spacing)
            except ValueError:
                spacing = 0.0
            if not 0 < spacing < 1000:
                raise UsageError(f"--field-spacing must be auto, full or a spacing in mm, found {self.field_spacing!r}")
