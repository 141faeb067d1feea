"""An affine that brings structure maps together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from unireg_cli.registration.maps import StructureMaps
from unireg_cli.spatial import Affine
from unireg_cli.spatial.affine import fit_affine
from unireg_cli.spatial.filters import central_difference

# How strongly an affine between centres of structures is held near a shift, mm; the one that makes the maps agree best is taken.
_PULLS_MM = (40.0, 80.0, 160.0)
# Then the maps themselves are laid onto each other: voxels they are looked at on, about, and most steps of the descent.
_VOXELS, _FIT_STEPS = 20_000, 12
# What damps a step, as a share of the normal equations' diagonal.
_FIT_DAMPING = 0.02
# Parts of the way between the affine that is given and the one found.
_PARTS = (0.25, 0.5, 0.75, 1.0)
# What it must gain, and how much it may stretch or shrink any direction.
_LEAST_GAIN, _MOST_STRETCHED = 0.005, 1.7
# Distances from the middle are measured in this, so that turns and shifts are numbers of one size.
_SCALE_MM = 100.0


def brought_together(maps: StructureMaps, affine: Affine, likeness: Callable[[Affine], float]) -> tuple[Affine, str] | None:
    """A better affine by the structures' centres and maps, and what it gains in words; None if it gains nothing.

    It goes as much of the way as leaves the sum of the maps' agreement and the images' ``likeness`` highest: structures alone would
    take the rest of a body with them, a chest along with the heart that contracts in it. Where all of the way would stretch too much,
    as after an affine that shrank a body to half its height, a part of it does not: of two tune pairs of abdomen_mr one ends at 0.86
    of Dice instead of 0.80. Maps that do not lead may not make the images less alike: in a kind of image that the segmenter has not
    seen, affines went wrong by them.
    """
    small = maps.coarse(_VOXELS)
    # Held near a shift of what the affine does already.
    aligned = affine.invert().map(maps.centres[1])
    tries = [affine, *(affine.after(fit_affine(maps.centres[0], aligned, pull, maps.weights)) for pull in _PULLS_MM)]
    start = max((one for one in tries if _harmless(affine, one)), key=small.agreement)
    # Only what moved: every stop costs a look at the images.
    ends = [end for end, begin in ((_fitted(small, start), start), (start, affine)) if end is not begin]
    parts = [Affine(affine.matrix + part * (end.matrix - affine.matrix)) for end in ends for part in _PARTS]
    stops = [affine, *(one for one in parts if _harmless(affine, one))]
    agreements = [small.agreement(stop) for stop in stops]
    alike = [likeness(stop) for stop in stops]
    # What does not lead may help, but is not believed against the images.
    allowed = [k for k in range(len(stops)) if maps.leading or alike[k] >= alike[0]]
    worth = [sum(both) for both in zip(agreements, alike, strict=True)]
    best = max(allowed, key=worth.__getitem__)
    if worth[best] < worth[0] + _LEAST_GAIN:
        return None
    words = f"corrected by {len(maps.structures)} structures that both images show: their maps agree by {agreements[best]:.3f}"
    return stops[best], f"{words} instead of {agreements[0]:.3f}"


def _harmless(before: Affine, after: Affine) -> bool:
    """Whether the change turns nothing over and stretches no direction much."""
    change = np.linalg.solve(before.matrix[:3, :3], after.matrix[:3, :3])
    stretched = np.linalg.svd(change, compute_uv=False)
    bounded = stretched.max() < _MOST_STRETCHED and stretched.min() > 1 / _MOST_STRETCHED
    return bool(bounded and np.linalg.det(change) > 0)


def _fitted(maps: StructureMaps, start: Affine) -> Affine:
    """Damped Gauss-Newton on the squared difference of all channels, as long as they agree better; in millimetres about the middle."""
    fixed, moving, grid = maps.fixed, maps.moving, maps.grid
    both = replace(maps, moving=torch.cat((moving, central_difference(moving).flatten(0, 1))))
    # Slopes along LPS axes, per millimetre.
    lps_from_voxel = torch.as_tensor(np.linalg.inv(maps.moving_grid.lps_from_index[:3, :3]).T, dtype=moving.dtype, device=moving.device)
    middle = grid.center_lps
    points = torch.as_tensor(grid.points_lps() - middle, dtype=moving.dtype, device=moving.device).reshape(-1, 3)
    places = torch.cat((points / _SCALE_MM, torch.ones_like(points[:, :1])), dim=1)
    best, value = start, maps.agreement(start)
    for _ in range(_FIT_STEPS):
        seen = both.moved(best, grid)
        apart = (fixed - seen[: len(fixed)]).flatten(1)
        along = torch.einsum("ab,bcn->acn", lps_from_voxel, seen[len(fixed) :].view(3, len(fixed), -1))
        force = torch.einsum("acn,cn->an", along, apart)
        normal = torch.einsum("acn,bcn->abn", along, along)
        matrix = torch.einsum("abn,ni,nj->aibj", normal, places, places).reshape(12, 12).double()
        matrix += torch.diag(matrix.diagonal()) * _FIT_DAMPING
        step = torch.linalg.solve(matrix, torch.einsum("an,ni->ai", force, places).reshape(12).double()).view(3, 4).cpu().numpy()
        linear = best.matrix[:3, :3] + step[:, :3] / _SCALE_MM
        trial = Affine.from_parts(linear, best.map(middle) - middle + step[:, 3], middle)
        found = maps.agreement(trial)
        if found <= value:
            break
        best, value = trial, found
    return best
