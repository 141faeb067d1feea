from __future__ import annotations

import numpy as np
import pytest
from oracle import DIRECTIONS

from unireg_cli.errors import InputError, UsageError
from unireg_cli.io.points import PointSpace, read_points, write_points
from unireg_cli.spatial import Grid

GRID = Grid.from_arrays((10, 10, 10), (2.0, 3.0, 4.0), (10.0, 20.0, 30.0), np.diag([-1.0, 1.0, 1.0]))


def table(tmp_path, text):
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_lps_reads_by_name_in_any_order_and_case(tmp_path):
    path = table(tmp_path, "label, Z ,y,X\nliver,3,2,1\n\nspleen,6,5,4\n")
    points = read_points(path, PointSpace.LPS)
    assert points.points_lps.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_ras_and_voxels_by_hand(tmp_path):
    path = table(tmp_path, "x,y,z\n1,2,3\n")
    assert read_points(path, PointSpace.RAS).points_lps.tolist() == [[-1, -2, 3]]
    # Origin 10,20,30; one voxel along x is 2 mm towards -x, two along y 6 mm, three along z 12 mm.
    assert read_points(path, PointSpace.VOXEL, GRID).points_lps.tolist() == [[8, 26, 42]]


@pytest.mark.parametrize("space", list(PointSpace))
def test_round_trip_keeps_digits_and_other_columns(tmp_path, space):
    oblique = Grid.from_arrays((5, 6, 7), (0.7, 1.3, 2.9), (-101.123456789, 55.5, 1e-3), DIRECTIONS["oblique"])
    numbers = np.random.default_rng(0).normal(size=(20, 3)) * 100
    rows = "\n".join(f'{x!r},{y!r},{z!r},0,"a, b{i}"' for i, (x, y, z) in enumerate(numbers.tolist()))
    path = table(tmp_path, f"x,y,z,t,label\n{rows}\n")
    read = read_points(path, space, oblique)
    out = tmp_path / "out.csv"
    write_points(out, read, read.points_lps, space, oblique)
    again = read_points(out, space, oblique)
    assert np.abs(again.points_lps - read.points_lps).max() < 1e-10
    assert again.header == ("x", "y", "z", "t", "label") and again.rows[3][3:] == ("0", "a, b3")
    if space is not PointSpace.VOXEL:
        assert (again.points_lps == read.points_lps).all()
        assert out.read_text().splitlines()[1].split(",")[0] == repr(numbers[0, 0].item())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("x,y,z\n", "without any points"),
        ("1,2,3\n4,5,6\n", "found columns: 1, 2, 3"),
        ("x,y\n1,2\n", "found columns: x, y"),
        ("x,x,y,z\n1,1,2,3\n", "each once"),
        ("x;y;z\n1;2;3\n", "found columns: x;y;z"),
        ("x,y,z\n1,2,3\n1,two,3\n", "line 3: column y"),
        ("x,y,z\n\n1,2,nan\n", "line 3: column z"),
        ("x,y,z\n1,2\n", "line 2: 2 columns"),
    ],
)
def test_bad_tables(tmp_path, text, words):
    with pytest.raises(InputError, match=words) as caught:
        read_points(table(tmp_path, text), PointSpace.LPS)
    assert "points.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_binary_missing_and_no_grid(tmp_path):
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x01x,y")
    for name in ("b.csv", "none.csv"):
        with pytest.raises(InputError, match=name):
            read_points(tmp_path / name, PointSpace.LPS)
    with pytest.raises(UsageError, match="voxels"):
        read_points(table(tmp_path, "x,y,z\n1,2,3\n"), PointSpace.VOXEL)


def test_a_byte_order_mark_is_no_part_of_the_name(tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes(b"\xef\xbb\xbfx,y,z\r\n1,2,3\r\n")
    assert read_points(path, PointSpace.LPS).points_lps.tolist() == [[1, 2, 3]]
