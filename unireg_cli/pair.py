"""Two images, their masks and a start: registered, and what is drawn from the result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from unireg_cli.errors import UsageError
from unireg_cli.io.transforms import as_written
from unireg_cli.model.network import Network
from unireg_cli.registration.memory import require_memory
from unireg_cli.registration.pipeline import Aligned, align_images, bend
from unireg_cli.registration.result import Registration
from unireg_cli.registration.settings import Settings
from unireg_cli.registration.steering import Steering
from unireg_cli.spatial import Chain, Image
from unireg_cli.spatial.jacobian import determinant
from unireg_cli.spatial.resample import resample
from unireg_cli.types import Interpolation
from unireg_cli.warping import fill_value, warp_image

# As SDlogJ does: a fold must not make the logarithm infinite.
_JACOBIAN_LIMITS = (1e-3, 1e3)


@dataclass(frozen=True, slots=True)
class Pair:
    """The images of one registration. ``initial`` maps fixed points to moving points, LPS mm."""

    fixed: Image
    moving: Image
    fixed_mask: Image | None = None
    moving_mask: Image | None = None
    initial: Chain | None = None
    steering: Steering | None = None


@dataclass(frozen=True, slots=True)
class Solution:
    """A registered pair: the transforms with what is known about them, and the moving image drawn on the fixed grid."""

    pair: Pair
    settings: Settings
    registration: Registration
    written: Chain
    """The forward chain with the rounding of its files, so that every reader of them gets the same image."""
    warped: Image
    aligned: Aligned
    """From which the same pair can be solved again with other wishes."""


def solve(
    pair: Pair,
    settings: Settings,
    *,
    interpolation: Interpolation = Interpolation.LINEAR,
    default_value: float | None = None,
    max_memory_gb: float | None = None,
    network: Network | None = None,
    aligned: Aligned | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Solution:
    """Register a pair and resample the moving image once, through the whole chain.

    ``aligned``, of an earlier solution of this pair, spares the affine; only anatomy, mode, smoothness and effort may differ then.

    Raises:
        OutOfMemoryError: the run would need more memory than there is, said before it starts.
    """
    require_memory(pair.fixed.grid, pair.moving.grid, settings, max_memory_gb)
    extra: dict[str, Any] = {} if progress is None else {"progress": progress}
    with _reproducible(settings):
        if aligned is None:
            aligned = align_images(
                pair.fixed,
                pair.moving,
                settings,
                fixed_mask=pair.fixed_mask,
                moving_mask=pair.moving_mask,
                initial=pair.initial,
                steering=pair.steering,
                known=None if network is None else network.known,
                **extra,
            )
        registration = bend(aligned, settings, network=network, **extra)
    default = fill_value(pair.moving, settings.moving_modality, default_value)
    written = as_written(registration.forward)
    warped = warp_image(pair.moving, pair.fixed.grid, written, interpolation, default)
    return Solution(pair, settings, registration, written, warped, aligned)


@contextmanager
def _reproducible(settings: Settings) -> Iterator[None]:
    """Random numbers from the seed; with ``deterministic`` only algorithms whose result does not depend on timing."""
    # Asked for by PyTorch for matrix products on a CUDA device; read when the first one is made.
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    change = settings.deterministic and not before
    # The caller's own random numbers go on as if nothing had been drawn.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        # Only where it changes something: the call itself takes a second, it loads PyTorch's compiler.
        if change:
            torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            if change:
                torch.use_deterministic_algorithms(False)


def warp_inverse(solution: Solution, interpolation: Interpolation, default_value: float | None) -> Image:
    """The fixed image on the moving grid."""
    fixed, moving = solution.pair.fixed, solution.pair.moving
    default = fill_value(fixed, solution.settings.fixed_modality, default_value)
    return warp_image(fixed, moving.grid, as_written(solution.registration.inverse), interpolation, default)


def jacobian_map(solution: Solution, *, logarithm: bool = False) -> Image:
    """Determinant of x -> x + u(x), the affine left out, or its natural logarithm, on the fixed grid, float32.

    Raises:
        UsageError: a rigid or affine result, which has no field.
    """
    field = solution.registration.field
    if field is None:
        raise UsageError("a rigid or affine registration has no Jacobian map: its determinant is the same everywhere")
    reference = solution.pair.fixed.grid
    values = resample(determinant(field), field.grid, reference, Chain(), Interpolation.LINEAR, 1.0)
    if logarithm:
        values = np.log(np.clip(values, *_JACOBIAN_LIMITS)).astype(np.float32)
    return Image(values, reference, "log Jacobian" if logarithm else "Jacobian")
