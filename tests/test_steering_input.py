"""What a user steers with, from files and arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unireg_cli.errors import InputError
from unireg_cli.io.header import HeaderChoice
from unireg_cli.registration.steering import Steering
from unireg_cli.spatial import Grid, Image
from unireg_cli.steering_input import make_steering
from unireg_cli.steering_words import SteeringFiles

GRID = Grid.from_arrays((10, 9, 8), (2.0, 2.0, 3.0), (5.0, -4.0, 7.0), np.diag([-1.0, -1.0, 1.0]))
IMAGE = Image(np.zeros(GRID.shape, np.float32), GRID)


def steer(fixed: object, moving: object, space: str = "lps") -> Steering:
    from unireg_cli.io.points import PointSpace

    return make_steering(SteeringFiles(space=PointSpace(space)), (None, None), (fixed, moving), (IMAGE, IMAGE), HeaderChoice.CHECK)


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_tables_are_read_in_their_space_with_weights(tmp_path: Path) -> None:
    fixed = table(tmp_path / "f.csv", "name,x,y,z,weight\na,1,2,3,1\nb,4,5,6,0\n")
    moving = table(tmp_path / "m.csv", "x,y,z,name\n0,0,0,a\n1,1,1,b\n")
    found = steer(fixed, moving, "ras").landmarks
    assert found is not None
    assert found.fixed_lps.tolist() == [[-1, -2, 3], [-4, -5, 6]] and found.weights.tolist() == [1, 0]
    found = steer(fixed, moving, "voxel").landmarks
    assert found is not None and found.moving_lps.tolist() == [[5, -4, 7], [3, -6, 10]]


def test_arrays_are_lps_and_may_bring_weights() -> None:
    found = steer([[1, 2, 3, 0.5]], np.ones((1, 3))).landmarks
    assert found is not None and found.fixed_lps.tolist() == [[1, 2, 3]] and found.weights.tolist() == [0.5]
    with pytest.raises(InputError, match=r"\(N, 3\)"):
        steer(np.ones((2, 2)), np.ones((2, 2)))


@pytest.mark.parametrize(
    ("fixed", "moving", "hint"),
    [
        ("x,y,z\n1,2,3\n4,5,6\n", "x,y,z\n1,2,3\n", r"f\.csv has 2 points and .*m\.csv 1"),
        ("x,y,z,name\n1,2,3,a\n4,5,6,b\n", "x,y,z,name\n1,2,3,b\n4,5,6,a\n", r"f\.csv calls point 1 'a' and .*m\.csv calls it 'b'"),
        ("x,y,z,weight\n1,2,3,much\n", "x,y,z\n1,2,3\n", "column weight holds a number"),
        ("x,y,z,weight\n1,2,3,-1\n", "x,y,z\n1,2,3\n", "column weight holds a number"),
    ],
)
def test_tables_that_are_no_pairs(tmp_path: Path, fixed: str, moving: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        steer(table(tmp_path / "f.csv", fixed), table(tmp_path / "m.csv", moving))
