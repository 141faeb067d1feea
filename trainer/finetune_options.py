"""What one adaptation is asked to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from trainer.finetune_task import What
from unireg_cli.errors import UsageError

DEFAULT_MINUTES = 10.0
_VOXELS = (150_000, 500_000)
_NAME = re.compile(r"[\w.+-]+")


@dataclass(frozen=True, slots=True)
class Options:
    """One run; ends after ``minutes`` or ``steps``, or before when nothing better comes.

    Raises:
        UsageError: minutes and steps together, or values out of their range.
    """

    pairs: Path
    output: Path
    weights: Path
    anatomy: str | None = None
    what: What = What.CONTROLLER
    minutes: float | None = None
    steps: int | None = None
    val: Path | None = None
    look_every: int = 50
    seed: int = 0
    device: str = "auto"
    voxels: tuple[int, int] = _VOXELS
    """Fewest and most of the lattices that are learnt on."""
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and self.steps is not None:
            raise UsageError("--minutes and --steps both say when to end; give one")
        if self.minutes is not None and not 0 < self.minutes < 1e6:
            raise UsageError(f"--minutes must be above 0, found {self.minutes:g}")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"--steps must be at least 1, found {self.steps}")
        if self.look_every < 1:
            raise UsageError(f"--look-every must be at least 1, found {self.look_every}")
        if self.output.suffix != ".safetensors" or _NAME.fullmatch(self.output.stem) is None:
            raise UsageError(f"--output {self.output}: weights are a file NAME.safetensors, its name of letters, digits and .+-_")

    @property
    def folder(self) -> Path:
        """Where the checkpoint and the affines are until the end."""
        return self.output.with_suffix(".finetune")

    @property
    def budget(self) -> float | None:
        """Seconds; None where steps are counted."""
        return None if self.steps is not None else 60 * (self.minutes or DEFAULT_MINUTES)
