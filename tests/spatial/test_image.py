from __future__ import annotations

import numpy as np
import pytest

from unireg_cli.errors import GeometryError
from unireg_cli.spatial import Grid, Image


def test_array_order_is_the_reverse_of_the_grid_size(grid: Grid) -> None:
    image = Image(np.zeros(grid.shape, np.int16), grid, "ct.nii")
    assert image.voxels.dtype == np.int16
    assert image.voxels.shape == grid.size[::-1]


def test_array_of_another_shape_is_refused(grid: Grid) -> None:
    with pytest.raises(GeometryError, match=r"ct\.nii"):
        Image(np.zeros(grid.size), grid, "ct.nii")
