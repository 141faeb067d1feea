"""Small scenes with known answers for the pictures and pages of a registration."""

from __future__ import annotations

from typing import Any

import numpy as np

from unireg_cli.registration.result import Quality, Registration
from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid, Image
from unireg_cli.spatial.inverse import ConsistencyError
from unireg_cli.spatial.jacobian import Regularity

GRID = Grid.from_arrays((30, 26, 20), (2.0, 2.5, 3.0), (-29.0, -31.0, 12.0), np.eye(3))
SHIFT = np.array((6.0, 0.0, -4.0))
STRETCH = np.array((0.1, -0.05, 0.2))


def ball(grid: Grid, center: np.ndarray, radius: float = 5.0) -> Image:
    """100 inside a soft-edged ball, 0 outside."""
    away = np.linalg.norm(grid.points_lps() - center, axis=-1)
    return Image((100.0 * np.clip((radius + 2 - away) / 4, 0, 1)).astype(np.float32), grid)


def stretched(grid: Grid = GRID) -> DisplacementField:
    """x -> c + (1 + STRETCH)(x - c): the same determinant everywhere, 1.1 * 0.95 * 1.2."""
    return DisplacementField(((grid.points_lps() - grid.center_lps) * STRETCH).astype(np.float32), grid)


def registration(field: DisplacementField | None, affine: Affine | None = None) -> Registration:
    """A finished registration of made-up quality."""
    affine = affine or Affine.from_parts(np.eye(3), SHIFT)
    numbers = None if field is None else Regularity(0.0, 0.1, 0.7, 1.4)
    reach = None if field is None else {"p50": 1.0, "p95": 2.5, "p99": 3.5, "max": 5.4}
    error = None if field is None else ConsistencyError(0.01, 0.1, 0.005, 0.05)
    quality = Quality("LNCC, window 5", 0.3, 0.5, 0.8, numbers, numbers, reach, error)
    forward = Chain((affine,) if field is None else (field, affine))
    decisions = {"fixed_modality": "mr (told)", "device": "cpu (asked for)"}
    return Registration(forward, forward, affine, field, field, GRID, quality, decisions, ("look & see <here>",), ())


def record(done: Registration, **changes: Any) -> dict[str, Any]:
    """What the JSON of such a run holds, made by the code that makes it; ``changes`` replace numbers of its quality."""
    from datetime import UTC, datetime
    from pathlib import Path

    from unireg_cli.io.provenance import Clock, Surroundings, register_record
    from unireg_cli.options import RegisterOptions
    from unireg_cli.registration.result import Stage

    options = RegisterOptions.from_words({"fixed": "a/fix <1>.nii.gz", "moving": "b/mov.nii.gz", "output": "p_"})
    made = register_record(
        options=options,
        condition=options.condition,
        weights={"name": "unireg-base", "sha256": "0" * 64, "step": 7},
        grids={"fixed": GRID, "moving": GRID, "network": GRID},
        registration=done,
        surroundings=Surroundings("cpu (asked for)", 1, "--threads"),
        warnings=done.warnings,
        outputs={"report": Path("p_report.html"), "record": Path("p_.json")},
        apply={"forward": "antsApplyTransforms -d 3", "inverse": "antsApplyTransforms -d 3 -t back"},
        clock=Clock(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), (Stage("align", 1.25, 100.0),), 2.5, 321.0),
    )
    made["quality"] |= changes
    return made
