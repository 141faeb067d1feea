from __future__ import annotations

import pytest
from scenes import cube

from unireg_cli.errors import OutOfMemoryError
from unireg_cli.registration.memory import available_bytes, needed_bytes, require_memory
from unireg_cli.registration.settings import Settings
from unireg_cli.types import Similarity, TransformKind

SMALL, LARGE = cube(32, 1.0), cube(512, 1.0)


def test_the_limit_is_named_with_what_is_needed() -> None:
    with pytest.raises(OutOfMemoryError) as caught:
        require_memory(LARGE, SMALL, Settings(), 1.5)
    message = str(caught.value)
    needed = needed_bytes(LARGE, SMALL, Settings()) / 1e9
    assert f"about {needed:.1f} GB" in message and "1.5 GB are allowed by --max-memory" in message
    assert "512x512x512 voxels of 1x1x1 mm" in message and "32x32x32" in message
    assert "--transform affine" in message
    assert caught.value.exit_code == 5


def test_what_fits_passes() -> None:
    require_memory(SMALL, SMALL, Settings(), 2.0)
    require_memory(LARGE, SMALL, Settings(), 1.01 * needed_bytes(LARGE, SMALL, Settings()) / 1e9)


def test_what_is_available_counts_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    free = available_bytes()
    assert free is None or free > 1e8
    monkeypatch.setattr("unireg_cli.registration.memory.available_bytes", lambda: 1e9)
    with pytest.raises(OutOfMemoryError, match=r"1\.0 GB are available"):
        require_memory(LARGE, SMALL, Settings(), None)
    monkeypatch.setattr("unireg_cli.registration.memory.available_bytes", lambda: None)
    require_memory(LARGE, SMALL, Settings(), None)


def test_what_costs_more_needs_more() -> None:
    plain = needed_bytes(LARGE, LARGE, Settings())
    # Two images of 134 million voxels in float32, at the very least.
    assert plain > 2 * 4 * LARGE.voxels
    assert needed_bytes(LARGE, LARGE, Settings(transform=TransformKind.AFFINE)) < plain
    assert needed_bytes(LARGE, LARGE, Settings(similarity=Similarity.MIND)) > plain
    assert needed_bytes(LARGE, LARGE, Settings(voxel_budget=1_000_000)) < plain
