"""One training example: two images on the network's lattice, and points whose labels or motion are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.augmentation import Views
from trainer.datasets import Scan
from trainer.lattices import Lattices, lattice_of, padded, random_box
from trainer.synthesis import Contrast, Synthesis, paint
from unireg_cli.registration.alignment import coarser
from unireg_cli.registration.prediction import displacement_on
from unireg_cli.spatial import Grid
from unireg_cli.spatial.drawing import known_inside, map_lattice
from unireg_cli.spatial.filters import resize
from unireg_cli.spatial.sampling import index_lattice, sample_index
from unireg_cli.types import FloatArray, Mode

# Places at which a known motion is compared with the network's.
_MOTION_POINTS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """One side of an example: a label map in its native resolution and where the lattice's points lie in it.

    ``index_from_lattice`` 4 x 4, after ``shift`` (3, D, H, W) voxels of the lattice, if any, was added to a point.
    ``points`` (K, n, 3) lattice positions inside each structure of ``structures`` (K, positions in the data set's list);
    ``valid`` (K, n) whether a point lies on the lattice.
    """

    labels: Tensor
    index_from_lattice: FloatArray
    shift: Tensor | None
    structures: Tensor
    points: Tensor
    valid: Tensor

    def index(self, points: Tensor) -> Tensor:
        """Lattice points (..., 3) -> continuous voxel indices of the label map."""
        if self.shift is not None:
            points = points + sample_index(self.shift, points).movedim(0, -1)
        return map_lattice(points, self.index_from_lattice)

    def at(self, points: Tensor) -> Tensor:
        """Nearest label at lattice points (..., 3), 0 outside the label map: (...)."""
        return nearest(self.labels, self.index(points))


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A pair on one lattice: ``images`` (2, 1, D, H, W), ``known`` (2, 1, D/2, H/2, W/2); sizes multiples of the network's divisor.

    ``half`` is the grid of the displacement; its world is the fixed scan's, whatever view of it the images show.
    """

    images: Tensor
    known: Tensor
    half: Grid


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A pair as the network sees it and what is known about it.

    ``before``: the same pair on the coarser lattices of earlier passes, coarsest first. ``motion`` are lattice points (n, 3) of
    the fixed image and their true displacement (n, 3), voxels, where the motion is known. ``size`` (x, y, z): voxels without padding.
    """

    shown: Shown
    before: tuple[Shown, ...]
    fixed: Labelled
    moving: Labelled
    names: tuple[int, ...]
    mode: Mode
    motion: tuple[Tensor, Tensor] | None
    alike: bool
    """Whether intensities may be compared (LNCC): the same kind of contrast in both."""
    size: tuple[int, int, int]
    spacing: float

    @property
    def lattices(self) -> tuple[Tensor, ...]:
        """The images on every lattice that the network is shown."""
        return tuple(shown.images for shown in (*self.before, self.shown))


def nearest(labels: Tensor, index: Tensor) -> Tensor:
    """Labels (D, H, W) at continuous voxel indices (..., 3), x, y, z; 0 outside."""
    depth, height, width = labels.shape
    most = index.new_tensor([width, height, depth]) - 1
    whole = index.round()
    inside = ((whole >= 0) & (whole <= most)).all(dim=-1)
    # NaN is inside nothing, and must not become an index.
    place = torch.where(inside[..., None], whole, 0).long()
    return torch.where(inside, labels.reshape(-1)[(place[..., 2] * height + place[..., 1]) * width + place[..., 0]], 0)


class Gallery:
    """Scans at several resolutions and the voxels of each of their labels; made when first needed and kept."""

    def __init__(self) -> None:
        self._coarse: dict[tuple[Scan, int], tuple[Tensor, Grid]] = {}
        self._voxels: dict[Scan, tuple[Tensor, Tensor]] = {}

    def values(self, scan: Scan, spacing: float) -> tuple[Tensor, Grid]:
        """Normalised values (D, H, W) float16 at about ``spacing`` mm (in steps of a fifth, so that few versions are kept)."""
        assert scan.values is not None
        step = round(np.log(spacing) / np.log(1.2))
        key = (scan, step)
        if key not in self._coarse:
            grid = coarser(scan.grid, spacing=0.9 * 1.2**step)
            self._coarse[key] = (resize(scan.values.float(), grid.shape).half(), grid)
        return self._coarse[key]

    def voxels(self, scan: Scan, count: int) -> tuple[Tensor, Tensor]:
        """Flat indices of all labelled voxels, label by label, and where each label's part begins (count + 1,)."""
        if scan not in self._voxels:
            flat = scan.labels.reshape(-1)
            inside = flat.nonzero()[:, 0].to(torch.int32)
            own = flat[inside.long()]
            order = torch.argsort(own, stable=True)
            sizes = torch.bincount(own.long(), minlength=count)[:count]
            self._voxels[scan] = (inside[order], torch.cat((torch.zeros(1, dtype=torch.long), sizes.cumsum(0))))
        return self._voxels[scan]

    def present(self, scan: Scan, count: int) -> Tensor:
        """Which labels below ``count`` a scan has, the background never: (count,) bool."""
        there = self.voxels(scan, count)[1].diff() > 0
        there[0] = False
        return there


def draw_points(
    scan: Scan, gallery: Gallery, chosen: Tensor, count: int, each: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """``each`` random places (K, each, 3), voxel index x, y, z, inside every label of ``chosen`` (K,), and which labels exist (K,)."""
    voxels, starts = gallery.voxels(scan, count)
    sizes = starts[chosen + 1] - starts[chosen]
    picks = (torch.rand(len(chosen), each, generator=generator) * sizes[:, None]).long()
    flat = voxels[(starts[chosen][:, None] + picks).clamp_max(len(voxels) - 1)].long()
    _, height, width = scan.labels.shape
    index = torch.stack((flat % width, flat // width % height, flat // (width * height)), dim=-1).float()
    return index + torch.rand(index.shape, generator=generator) - 0.5, sizes > 0


def draw_image(scan: Scan, gallery: Gallery, spacing: float, lattice: Tensor, lps_from_lattice: FloatArray) -> tuple[Tensor, Tensor]:
    """Intensities and known part (D, H, W) of a scan at lattice points (D, H, W, 3) mapped into its space."""
    values, grid = gallery.values(scan, spacing)
    index = map_lattice(lattice, grid.index_from_lps @ lps_from_lattice)
    return sample_index(values.float()[None], index)[0], known_inside(index, grid.size)


def draw_painted(
    scan: Scan, contrast: Contrast, lattice: Tensor, lps_from_lattice: FloatArray, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """As :func:`draw_image`, the image being painted anew on the labels."""
    index = map_lattice(lattice, scan.grid.index_from_lps @ lps_from_lattice)
    return paint(nearest(scan.labels, index), generator, Synthesis(), contrast), known_inside(index, scan.grid.size)


def halved(known: Tensor) -> Tensor:
    """Mean of each 2 x 2 x 2 block of (..., D, H, W)."""
    return torch.nn.functional.avg_pool3d(known.reshape(1, -1, *known.shape[-3:]), 2).reshape(
        *known.shape[:-3], *(n // 2 for n in known.shape[-3:])
    )


def labelled_side(
    scan: Scan,
    gallery: Gallery,
    chosen: Tensor,
    count: int,
    each: int,
    lps_from_lattice: FloatArray,
    shift: Tensor | None,
    size: tuple[int, int, int],
    generator: torch.Generator,
) -> Labelled:
    """The points of one side, brought to the lattice."""
    index_from_lattice = scan.grid.index_from_lps @ lps_from_lattice
    index, exists = draw_points(scan, gallery, chosen, count, each, generator)
    target = map_lattice(index, np.asarray(np.linalg.inv(index_from_lattice), np.float64))
    points = target
    if shift is not None:
        # p + shift(p) = target; the shift is smooth and contracting.
        for _ in range(6):
            points = target - sample_index(shift, points).movedim(0, -1)
    inside = ((points >= 0) & (points <= points.new_tensor(size) - 1)).all(dim=-1)
    return Labelled(scan.labels, index_from_lattice, shift, chosen, points, inside & exists[:, None])


def true_motion(shift: Tensor, size: tuple[int, int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points (n, 3) of the fixed image and their displacement (n, 3), voxels, if the moving image shows at z what lies at z + shift(z)."""
    start = torch.rand(_MOTION_POINTS, 3, generator=generator) * (torch.tensor(size) - 1.0)
    # The displacement at z + shift(z) leads back to z.
    offset = sample_index(shift, start).T
    return start + offset, -offset


def make_example(
    fixed: Scan,
    moving: Scan,
    structures: tuple[int, ...],
    lps_moving_from_fixed: FloatArray,
    mode: Mode,
    views: Views,
    gallery: Gallery,
    *,
    lattices: Lattices,
    divisor: int,
    most_structures: int,
    each: int,
    generator: torch.Generator,
    contrasts: tuple[Contrast, Contrast] | None = None,
) -> Example:
    """An example of two scans under random views.

    Args:
        fixed: scan whose space the lattice lies in.
        moving: the other scan, or the same.
        structures: vocabulary id of each label of both.
        lps_moving_from_fixed: 4 x 4, the affine pre-alignment.
        mode: what the network is told, and how hard it is held.
        views: decides all that is random in space and intensity.
        gallery: the scans at the resolutions that were needed before.
        lattices: on which the pair is shown.
        divisor: sizes are padded to multiples of it.
        most_structures: so many random labels that both scans have are looked at,
        each: at so many points each.
        generator: all random numbers.
        contrasts: paint fixed and moving images on the labels instead of reading them; the same object twice: one contrast.
    """
    grids = [lattice_of(fixed, moving, voxels) for voxels in lattices.before]
    own = lattice_of(fixed, moving, lattices.voxels)
    own = own if lattices.crop is None else random_box(own, lattices.crop, divisor, generator)
    whole, *_ = *grids, own
    placed = views.place(whole, padded(whole, divisor).shape, generator)

    def matrices(grid: Grid) -> tuple[FloatArray, FloatArray]:
        return placed.fixed @ grid.lps_from_index, lps_moving_from_fixed @ placed.moving @ grid.lps_from_index

    looks = views.looks(generator) if contrasts is None else (None, None)
    shown, shift = [], placed.shift
    for grid in (*grids, own):
        full = padded(grid, divisor)
        if placed.shift is not None:
            shift = placed.shift if grid is whole else displacement_on(placed.shift, padded(whole, divisor), full)
        lattice, spacing, drawn = index_lattice(full.shape), float(np.prod(grid.spacing)) ** (1 / 3), []
        there = lattice if shift is None else lattice + shift.permute(1, 2, 3, 0)
        for side, (scan, points, matrix) in enumerate(zip((fixed, moving), (lattice, there), matrices(grid), strict=True)):
            if contrasts is None:
                values, inside = draw_image(scan, gallery, spacing, points, matrix)
                drawn.append((views.seen(values, generator, looks[side]), inside))
            else:
                drawn.append(draw_painted(scan, contrasts[side], points, matrix, generator))
        shown.append(as_shown(drawn, full))
    count, size = len(structures), own.size
    common = (gallery.present(fixed, count) & gallery.present(moving, count)).nonzero()[:, 0]
    chosen = common[torch.randperm(len(common), generator=generator)[:most_structures]]
    sides = [
        labelled_side(scan, gallery, chosen, count, each, matrix, shift if side else None, size, generator)
        for side, (scan, matrix) in enumerate(zip((fixed, moving), matrices(own), strict=True))
    ]
    motion = true_motion(shift, size, generator) if views.known_motion and shift is not None else None
    alike = looks[0] is looks[1] if contrasts is None else contrasts[0] is contrasts[1]
    return Example(shown[-1], tuple(shown[:-1]), sides[0], sides[1], structures, mode, motion, alike, size, spacing)


def as_shown(drawn: Sequence[tuple[Tensor, Tensor]], full: Grid) -> Shown:
    """Values and known parts of both images, drawn on the padded lattice ``full``, as the network takes them."""
    values, known = (torch.stack(parts)[:, None] for parts in zip(*drawn, strict=True))
    return Shown(values, halved(known), full.resized([n // 2 for n in full.size]))
