"""Where an affine search may begin."""

from __future__ import annotations

from itertools import product

import numpy as np

from unireg_cli.errors import InputError
from unireg_cli.registration.alignment import View
from unireg_cli.spatial import Affine
from unireg_cli.types import FloatArray, Start

# Turns tried about each axis from the best untilted start, degrees.
_TURNS = (-30.0, 30.0)


def candidates(fixed: View, moving: View, start: Start) -> dict[str, Affine]:
    """Named start affines (fixed -> moving points, LPS mm); one for a fixed choice, many for ``auto``.

    Raises:
        InputError: the header start was asked for and the fields of view do not overlap.
    """
    shift_fov = Affine.from_parts(np.eye(3), moving.grid.center_lps - fixed.grid.center_lps)
    if start in (Start.NONE, Start.HEADER):
        if not _overlap(fixed, moving):
            raise InputError("the fields of view do not overlap under the headers alone; use --init centers, moments or auto")
        return {"header": Affine.identity()}
    if start is Start.CENTERS:
        return {"centers": shift_fov}
    middle_fixed, axes_fixed = _moments(fixed)
    middle_moving, axes_moving = _moments(moving)
    mass = Affine.from_parts(np.eye(3), middle_moving - middle_fixed)
    by_moments = _principal(middle_fixed, axes_fixed, middle_moving, axes_moving)
    if start is Start.MOMENTS:
        return by_moments
    found = {"header": Affine.identity()} if _overlap(fixed, moving) else {}
    found |= {"centers": shift_fov, "mass": mass} | by_moments
    for axis, degrees in product(range(3), _TURNS):
        found[f"mass turned {degrees:+.0f} about {'xyz'[axis]}"] = Affine.from_parts(
            _turn(axis, degrees), middle_moving - middle_fixed, middle_fixed
        )
    return found


def _overlap(fixed: View, moving: View) -> bool:
    """True if the boxes of both fields of view touch in the moving image's index axes."""
    to_index = moving.grid.index_from_lps
    corners = fixed.grid.corners_lps() @ to_index[:3, :3].T + to_index[:3, 3]
    upper = np.asarray(moving.grid.size) - 0.5
    return bool((corners.max(0) > -0.5).all() and (corners.min(0) < upper).all())


def _moments(view: View) -> tuple[FloatArray, FloatArray]:
    """Centre of mass (LPS mm) and principal axes (columns, longest first) of the normalised intensities."""
    values = view.values if view.mask is None else view.values * view.mask
    sums = values.cpu().double()
    total = float(sums.sum())
    profiles = [sums.sum(dim=tuple(a for a in range(3) if a != axis)) for axis in (2, 1, 0)]
    ranges = [np.arange(len(p)) for p in profiles]
    middle = np.array([float((p.numpy() * r).sum()) / total for p, r in zip(profiles, ranges, strict=True)])
    spread = np.zeros((3, 3))
    for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
        if a == b:
            spread[a, a] = float((profiles[a].numpy() * (ranges[a] - middle[a]) ** 2).sum()) / total
        else:
            other = 2 - (3 - a - b)
            plane = sums.sum(dim=other).numpy()  # axes left, slow first: (higher of a, b; lower)
            slow, fast = max(a, b), min(a, b)
            spread[a, b] = spread[b, a] = (
                float((plane * np.outer(ranges[slow] - middle[slow], ranges[fast] - middle[fast])).sum()) / total
            )
    to_lps = view.grid.lps_from_index
    _, axes = np.linalg.eigh(to_lps[:3, :3] @ spread @ to_lps[:3, :3].T)
    return to_lps[:3, :3] @ middle + to_lps[:3, 3], axes[:, ::-1]


def _principal(middle_fixed: FloatArray, axes_fixed: FloatArray, middle_moving: FloatArray, axes_moving: FloatArray) -> dict[str, Affine]:
    """The four rotations that bring principal axes together (their signs are unknown)."""
    found = {}
    for n, signs in enumerate(product((1, -1), repeat=2)):
        flipped = axes_moving * np.array([*signs, 1])
        rotation = flipped @ axes_fixed.T
        if np.linalg.det(rotation) < 0:
            flipped[:, 2] *= -1
            rotation = flipped @ axes_fixed.T
        found[f"moments {n + 1}"] = Affine.from_parts(rotation, middle_moving - middle_fixed, middle_fixed)
    return found


def _turn(axis: int, degrees: float) -> FloatArray:
    angle = np.deg2rad(degrees)
    a, b = [n for n in range(3) if n != axis]
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix
