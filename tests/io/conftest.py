"""The grids of the file tests."""

from __future__ import annotations

import pytest
from oracle import DIRECTIONS

from unireg_cli.spatial import Grid


@pytest.fixture(params=list(DIRECTIONS))
def grid(request) -> Grid:
    """An anisotropic 14 x 12 x 10 grid away from the origin."""
    return Grid.from_arrays((14, 12, 10), (1.5, 2.25, 3.1), (-31.7, 22.4, 101.3), DIRECTIONS[request.param])
