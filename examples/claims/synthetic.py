"""One person imaged twice, made from one image: the second time under a known motion, with fresh contrast, noise and field of view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from bench import PairList
from motions import Motion, beating, breathing, head

from trainer.synthesis import Intensity, perturb
from unireg_cli.errors import InputError
from unireg_cli.registration.normalise import decide_modality, foreground, normalise
from unireg_cli.spatial import Grid, Image
from unireg_cli.spatial.sampling import inside_buffer, sample_index
from unireg_cli.types import AnyArray, FloatArray, Modality

# The same scanner and sequence on another day: no inversion, no other slice thickness than the new grid's.
_FRESH = Intensity(inversion=0.0, thick_slices=0.0)
# The second field of view loses up to this share at each end, and its voxels have another edge by up to this factor.
_CROP, _EDGE = 0.05, 1.12
_POINTS = 4000


@dataclass(frozen=True, slots=True, eq=False)
class Visits:
    """Two images of one person with their labels; ``points`` (n, 3) of the first, LPS mm, and where they truly are in the second."""

    images: tuple[Image, Image]
    labels: tuple[Image, Image]
    points: FloatArray
    truth: FloatArray
    at: AnyArray
    """(n,) label at each point; 0 where there is none."""


def known_motion(listed: PairList, labels: Image, random: np.random.Generator) -> Motion:
    """The motion that belongs to the body region of a set.

    Raises:
        InputError: a scan without the structure that the motion starts from.
    """
    grid = labels.grid
    if listed.name.startswith("abdomen"):
        liver = _places(labels, [value_of(listed, "liver")])
        top = liver[liver[:, 2] > np.percentile(liver[:, 2], 97)].mean(axis=0)
        return breathing(top, _reach(grid), random)
    if listed.name == "cardiac_mr":
        ventricle = _places(labels, [value_of(listed, "heart_ventricle_left"), value_of(listed, "heart_myocardium")])
        long_axis = grid.cosines[:, 2]
        across = (ventricle - ventricle.mean(axis=0)) @ grid.cosines[:, :2]
        # A disc's spread along one axis is half its radius.
        return beating(ventricle.mean(axis=0), float(2 * across.std(axis=0).mean()), long_axis, random)
    inside = _places(labels, sorted(set(np.unique(labels.voxels).tolist()) - {0}))
    return head(inside.mean(axis=0), np.minimum(_reach(grid), 1.3 * np.ptp(inside, axis=0)), random)


def value_of(listed: PairList, name: str) -> int:
    """The label value of a structure, by the name that the set gives it.

    Raises:
        InputError: the set does not have it.
    """
    for value, own in listed.names.items():
        if own == name:
            return value
    raise InputError(f"{listed.folder}: no label named {name}")


def _places(labels: Image, values: list[int]) -> FloatArray:
    index = np.argwhere(np.isin(labels.voxels, values))[:, ::-1]
    if not len(index):
        raise InputError(f"{labels.name}: has none of the labels {values}, so the motion has no place")
    matrix = labels.grid.lps_from_index
    return np.asarray(index @ matrix[:3, :3].T + matrix[:3, 3], np.float64)


def _reach(grid: Grid) -> FloatArray:
    return np.asarray(np.ptp(grid.corners_lps(), axis=0), np.float64)


def visits(image: Image, labels: Image, motion: Motion, seed: int) -> Visits:
    """Draw both images and the points that judge a registration of them: half of them inside labels, half inside the body."""
    random, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    modality, _ = decide_modality(image, Modality.AUTO)
    values = normalise(image, modality)
    grid = second_grid(image.grid, random)
    moved, moved_labels = _moved(values, labels, grid, motion)
    first = Image(perturb(values, generator, _FRESH).numpy(), image.grid, f"{image.name} first")
    second = Image(perturb(moved, generator, _FRESH).numpy(), grid, f"{image.name} second")
    index = _judged_voxels(foreground(values, modality).numpy() > 0, labels.voxels, random)
    matrix = image.grid.lps_from_index
    points = index @ matrix[:3, :3].T + matrix[:3, 3]
    truth = motion.moving_from_fixed(points)
    back = grid.index_from_lps
    seen = inside_buffer(truth @ back[:3, :3].T + back[:3, 3], grid.size)
    at = labels.voxels[index[:, 2], index[:, 1], index[:, 0]]
    second_labels = Image(moved_labels, grid, f"{labels.name} second")
    return Visits((first, second), (labels, second_labels), points[seen], truth[seen], at[seen])


def second_grid(grid: Grid, random: np.random.Generator) -> Grid:
    """Another field of view with other voxels, along the same axes; an axis of few slices keeps them all."""
    low, high = (np.floor(random.uniform(0, _CROP, 3) * grid.size).astype(int) for _ in range(2))
    cropped = grid.padded((-low).tolist(), (-high).tolist())
    size = np.asarray(cropped.size)
    factors = np.where(size >= 32, random.uniform(1 / _EDGE, _EDGE, 3), 1.0)
    return cropped.resized(np.maximum(1, np.round(size * factors)).astype(int).tolist())


def _moved(values: torch.Tensor, labels: Image, grid: Grid, motion: Motion) -> tuple[torch.Tensor, AnyArray]:
    """The image and its labels on ``grid``, each voxel read where the motion comes from; 0 outside."""
    drawn, named = torch.zeros(grid.shape), np.zeros(grid.shape, labels.voxels.dtype)
    back = labels.grid.index_from_lps
    for z in range(grid.size[2]):
        index = motion.fixed_from_moving(grid.points_lps(z, z + 1)[0]) @ back[:3, :3].T + back[:3, 3]
        inside = inside_buffer(index, labels.grid.size)
        read = sample_index(values[None], torch.from_numpy(index.astype(np.float32)))[0]
        drawn[z] = torch.where(torch.from_numpy(inside), read, 0)
        near = np.clip(np.floor(index + 0.5).astype(int), 0, np.asarray(labels.grid.size) - 1)
        named[z] = np.where(inside, labels.voxels[near[..., 2], near[..., 1], near[..., 0]], 0)
    return drawn, named


def _judged_voxels(body: AnyArray, labels: AnyArray, random: np.random.Generator) -> AnyArray:
    """Random voxels (n, 3), x, y, z."""
    picked = []
    for inside in (body, labels > 0):
        flat = np.flatnonzero(inside)
        picked.append(random.choice(flat, min(_POINTS // 2, len(flat)), replace=False))
    return np.stack(np.unravel_index(np.concatenate(picked), labels.shape), axis=-1)[:, ::-1]
