"""How much memory a registration will need, known before anything heavy happens."""

from __future__ import annotations

import os
from pathlib import Path

from unireg_cli.errors import OutOfMemoryError
from unireg_cli.registration.settings import Settings
from unireg_cli.spatial import Grid
from unireg_cli.types import Similarity, TransformKind

# Bytes, measured as peak resident memory of whole runs and rounded up: the process with its libraries, per voxel of
# the two images, and per voxel of the network grid for one feature channel and for each further one.
_PROCESS = 0.5e9
_PER_IMAGE_VOXEL = 24
_PER_GRID_VOXEL = 420
_PER_FEATURE_VOXEL = 60


def needed_bytes(fixed: Grid, moving: Grid, settings: Settings) -> float:
    """Estimated peak memory of a registration of these grids."""
    images = (fixed.voxels + moving.voxels) * _PER_IMAGE_VOXEL
    if settings.transform is not TransformKind.DEFORMABLE:
        return _PROCESS + images
    channels = 12 if settings.similarity is Similarity.MIND else 1
    grid = min(fixed.voxels, settings.voxel_budget)
    return _PROCESS + images + grid * (_PER_GRID_VOXEL + _PER_FEATURE_VOXEL * (channels - 1))


def available_bytes() -> float | None:
    """Memory this process may still take: the least of free memory and the container's limit; None if unknown."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    except OSError:
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            found.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii").strip()
        if limit != "max":
            found.append(float(limit) - float(used))
    except (OSError, ValueError):
        pass
    return min(found) if found else None


def require_memory(fixed: Grid, moving: Grid, settings: Settings, limit_gb: float | None) -> None:
    """Stop before the work if it would not fit.

    Raises:
        OutOfMemoryError: more is needed than ``limit_gb`` or than is available; names the numbers and what helps.
    """
    needed = needed_bytes(fixed, moving, settings)
    available = available_bytes() if limit_gb is None else limit_gb * 1e9
    if available is not None and needed > available:
        source = "available" if limit_gb is None else "allowed by --max-memory"
        raise OutOfMemoryError(
            f"registering {fixed.describe()} with {moving.describe()} needs about {needed / 1e9:.1f} GB, "
            f"{available / 1e9:.1f} GB are {source}; resample or crop the images, use --transform affine, or give it more memory"
        )
