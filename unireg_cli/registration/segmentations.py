"""The user's own segmentations of both images: checked, made comparable, and scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from unireg_cli.errors import GeometryError, InputError, UsageError
from unireg_cli.model.anatomy import Vocabulary
from unireg_cli.registration.preparation import seen_through
from unireg_cli.spatial import Affine, Chain, Grid, Image
from unireg_cli.spatial.drawing import index_map, known_inside, map_lattice
from unireg_cli.spatial.resample import resample
from unireg_cli.spatial.sampling import index_lattice, inside_buffer
from unireg_cli.types import AnyArray, Interpolation

# Code of what a label map does not show.
_OUTSIDE = -1


@dataclass(frozen=True, slots=True, eq=False)
class Segmentations:
    """Label maps of the fixed and the moving image. ``names`` says what labels are; without it all common labels are meant."""

    fixed: Image
    moving: Image
    names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Structures:
    """Labels that both maps have, as codes 1, 2, ... in the order of ``labels``; 0 is anything else. Codes are int16.

    ``fixed`` lies on the fixed image's grid, ``moving`` on the grid of the moving image as the optimiser sees it.
    """

    fixed: Image
    moving: Image
    labels: tuple[int, ...]
    names: tuple[str, ...]
    steering: tuple[bool, ...]
    """Whether each label steers, or is only scored."""
    notes: tuple[str, ...]

    @property
    def steering_codes(self) -> tuple[int, ...]:
        """Codes of the labels that steer."""
        return tuple(code for code, steers in enumerate(self.steering, 1) if steers)

    def dice(self, carried: AnyArray) -> tuple[float, ...]:
        """Overlap of each label with codes carried to the fixed grid."""
        count = len(self.labels) + 1
        fixed, moved = self.fixed.voxels.ravel(), np.maximum(carried, 0).ravel()
        both = np.bincount(fixed[fixed == moved], minlength=count)[1:]
        sizes = np.bincount(fixed, minlength=count)[1:] + np.bincount(moved, minlength=count)[1:]
        return tuple((2 * both / np.maximum(sizes, 1)).tolist())


def find_structures(given: Segmentations, fixed: Image, moving: Image, anatomy: Sequence[str], known: Vocabulary) -> Structures:
    """Which labels steer a registration of these images, and where they are.

    With names, those that are part of the ``anatomy`` asked for (none: all of them); without, all that both maps have.

    Raises:
        InputError: voxels that are no labels, or a label that is absent where it is needed.
        GeometryError: a map that does not overlap its image.
        UsageError: none of the names is part of what was asked for.
    """
    notes: list[str] = []
    maps = [_on_grid_of(image, labels, notes) for labels, image in ((given.fixed, fixed), (given.moving, moving))]
    present = [set(np.unique(one.voxels).tolist()) - {0} for one in maps]
    names = dict(given.names) or {label: f"label {label}" for label in sorted(present[0] & present[1])}
    if not names:
        raise InputError(f"{maps[0].name} and {maps[1].name} have no label in common ({_listed(present[0])} and {_listed(present[1])})")
    wanted = set(names) if not given.names or not anatomy else _asked(given.names, anatomy, known)
    for label, name in given.names.items():
        missing = [one.name for one, there in zip(maps, present, strict=True) if label not in there]
        if missing and (len(missing) == 2 or (anatomy and label in wanted)):
            found = "; ".join(f"{one.name} has {_listed(there)}" for one, there in zip(maps, present, strict=True) if one.name in missing)
            raise InputError(f"{' and '.join(missing)}: label {label} ({name}) is absent; {found}; check --seg-labels")
        if missing:
            notes.append(f"{missing[0]}: label {label} ({name}) is absent and does not steer")
    common = tuple(label for label in names if label in present[0] and label in present[1])
    steering = tuple(label in wanted for label in common)
    if not any(steering):
        raise InputError(f"{maps[0].name} and {maps[1].name}: no label that should steer is in both; check --seg-labels")
    codes = [_codes(one, common) for one in maps]
    return Structures(codes[0], codes[1], common, tuple(names[label] for label in common), steering, tuple(notes))


def _asked(names: Mapping[int, str], anatomy: Sequence[str], known: Vocabulary) -> set[int]:
    asked = known.resolve(anatomy).structures
    found = {label for label, name in names.items() if known.resolve([name]).structures & asked}
    if not found:
        raise UsageError(
            f"--anatomy {','.join(anatomy)}: none of --seg-labels ({', '.join(names.values())}) is part of it, so the "
            "segmentations would not steer; name that structure's label too, or ask for one of these"
        )
    return found


def _on_grid_of(image: Image, labels: Image, notes: list[str]) -> Image:
    """A label map on the grid of its image, read by the nearest voxel if it lies on another one."""
    voxels = labels.voxels
    whole = voxels if np.issubdtype(voxels.dtype, np.integer) else np.rint(voxels)
    if (whole is not voxels and np.abs(whole - voxels).max() > 1e-4) or whole.min() < 0:
        what = f"{whole.min():g} is among them" if whole.min() < 0 else "some are fractions"
        raise InputError(f"{labels.name}: a segmentation holds labels, whole numbers from 0 (background) on, but {what}; is it an image?")
    if labels.grid.same_space(image.grid):
        return Image(whole.astype(np.int64), image.grid, labels.name)
    probe = image.grid.resized(np.minimum(image.grid.size, 32).tolist()).points_lps().reshape(-1, 3)
    index = probe @ labels.grid.index_from_lps[:3, :3].T + labels.grid.index_from_lps[:3, 3]
    if not inside_buffer(index, labels.grid.size).any():
        raise GeometryError(f"{labels.name}: does not overlap {image.name} in space; is it the segmentation of this image?")
    notes.append(f"{labels.name}: lies on another grid than {image.name} and was read by the nearest voxel")
    moved = resample(whole.astype(np.int64), labels.grid, image.grid, Chain(), Interpolation.NEAREST)
    return Image(moved, image.grid, labels.name)


def _codes(labels: Image, common: Sequence[int]) -> Image:
    order = np.argsort(common)
    ranked = np.asarray(common)[order]
    place = np.searchsorted(ranked, labels.voxels).clip(0, len(ranked) - 1)
    codes = np.where(ranked[place] == labels.voxels, order[place] + 1, 0)
    return Image(codes.astype(np.int16), labels.grid, labels.name)


def _listed(labels: set[int], most: int = 12) -> str:
    shown = ", ".join(str(label) for label in sorted(labels)[:most])
    return f"labels {shown}{', ...' if len(labels) > most else ''}" if labels else "no labels"


def as_seen(structures: Structures, moving: Image, later: Chain, fixed: Grid) -> Structures:
    """The structures with the moving ones as seen through a non-affine initial transform."""
    _, seen = seen_through(later, fixed, moving, structures.moving)
    assert seen is not None  # labels were given
    return Structures(structures.fixed, seen, structures.labels, structures.names, structures.steering, structures.notes)


def codes_on(codes: Tensor, grid: Grid, target: Grid, affine: Affine, displacement: Tensor | None = None) -> Tensor:
    """Codes (D, H, W) of the nearest voxel at affine(x + u(x)) for the points x of ``target``; -1 outside the map."""
    lattice = index_lattice(target.shape, device=codes.device)
    if displacement is not None:
        lattice = lattice + displacement.permute(1, 2, 3, 0)
    index = map_lattice(lattice, index_map(grid, target, affine))
    inside = known_inside(index, grid.size) > 0
    nearest = index.round_().long()
    x, y, z = (nearest[..., axis].clamp_(0, grid.size[axis] - 1) for axis in range(3))
    return torch.where(inside, codes[z, y, x], _OUTSIDE)


