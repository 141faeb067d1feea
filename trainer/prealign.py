"""Affine pre-alignment of training pairs by the tool's own engine, computed once and kept on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from trainer.datasets import DataSet, Scan
from unireg_cli.io.atomic import atomic_path
from unireg_cli.registration.alignment import View, align
from unireg_cli.registration.starts import candidates
from unireg_cli.similarity.measure import measure
from unireg_cli.spatial import Affine
from unireg_cli.spatial.affine import fit_affine
from unireg_cli.types import FloatArray, Similarity, Start, TransformKind

Key = tuple[int, int]
# How strongly an affine from few structures is kept near a pure shift.
_PULL_MM = 40.0


def choose_pairs(data: DataSet, partners: int, seed: int) -> list[Key]:
    """(fixed, moving) positions: the listed pairs both ways, and for each scan so many random partners of other persons."""
    random = np.random.default_rng(seed)
    chosen = [pair for a, b in data.paired for pair in ((a, b), (b, a))]
    for fixed, scan in enumerate(data.scans):
        others = [k for k, other in enumerate(data.scans) if other.person != scan.person and other.kind == scan.kind]
        picked = random.permutation(others)[:partners]
        chosen += [(fixed, int(k)) for k in picked]
    return chosen


def align_by_labels(fixed: Scan, moving: Scan, count: int) -> Affine:
    """Fixed -> moving affine (LPS mm) that brings the centres of common structures together: for label maps without images."""
    first, second = _centres(fixed, count), _centres(moving, count)
    common = sorted(first.keys() & second.keys())
    if not common:
        return Affine.identity()
    here, there = (np.stack([centres[k] for k in common]) for centres in (first, second))
    return fit_affine(here, there, _PULL_MM)


def _centres(scan: Scan, count: int) -> dict[int, FloatArray]:
    """Mean LPS position of every label below ``count``."""
    flat = scan.labels.reshape(-1).long()
    sizes = torch.bincount(flat, minlength=count)[:count].double()
    sums = []
    # Single precision loses the small change of a sum over millions of voxels.
    lattice = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in scan.labels.shape), indexing="ij")
    for axis in (2, 1, 0):
        sums.append(torch.bincount(flat, weights=lattice[axis].reshape(-1), minlength=count)[:count])
    index = (torch.stack(sums, dim=1) / sizes.clamp_min(1)[:, None]).numpy()
    lps = index @ scan.grid.lps_from_index[:3, :3].T + scan.grid.lps_from_index[:3, 3]
    return {k: lps[k] for k in range(1, count) if sizes[k] > 0}


def prealign(data: DataSet, pairs: list[Key], cache: Path) -> dict[Key, Affine]:
    """Fixed -> moving affine (LPS mm) of every pair, as ``unireg register`` finds it; those on disk are not made again.

    Args:
        data: the scans.
        pairs: (fixed, moving) positions in ``data.scans``.
        cache: folder; one JSON file a data set, keyed by both scans' names.
    """
    file = cache / f"affines-{data.name}.json"
    known: dict[str, list[list[float]]] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    found: dict[Key, Affine] = {}
    for count, (fixed, moving) in enumerate(pairs):
        name = f"{data.scans[fixed].name}|{data.scans[moving].name}"
        if name not in known:
            one, other = data.scans[fixed], data.scans[moving]
            affine = align_by_labels(one, other, len(data.structures)) if data.painted else _align(one, other)
            known[name] = affine.matrix.tolist()
            if count % 10 == 0:
                _write(file, known)
        found[fixed, moving] = Affine(np.asarray(known[name]))
    _write(file, known)
    return found


def _align(fixed: Scan, moving: Scan) -> Affine:
    assert fixed.values is not None and moving.values is not None  # label maps are never aligned
    with torch.inference_mode():
        views = [View(scan.values.float(), scan.grid) for scan in (fixed, moving) if scan.values is not None]
        starts = candidates(views[0], views[1], Start.AUTO)
        affine, _ = align(views[0], views[1], starts, TransformKind.AFFINE, measure(Similarity.LNCC), _quiet)
    return affine


def _quiet(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


def _write(file: Path, known: dict[str, list[list[float]]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(known), "utf-8")
