from __future__ import annotations

from collections.abc import Callable

import numpy as np
import SimpleITK as sitk

from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid

TURN = Affine(np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
MOVE = Affine.from_parts(np.eye(3), (10.0, 0.0, 0.0))
TILT = Affine.from_parts(np.array([[0.95, 0.1, 0.0], [-0.05, 1.05, 0.1], [0.1, 0.0, 0.9]]), (2.0, -3.0, 1.0))

FieldMaker = Callable[..., DisplacementField]
Twin = Callable[[Chain], sitk.Transform]


def test_empty_chain_is_the_identity() -> None:
    assert Chain().map(np.array([1.0, 2.0, 3.0])).tolist() == [1.0, 2.0, 3.0]
    assert Chain().describe() == "identity"
    assert Chain().invert() == Chain()


def test_first_step_is_applied_first() -> None:
    # (1, 0, 0) turned is (0, 1, 0), then moved (10, 1, 0); moved first it is (11, 0, 0), then turned (0, 11, 0).
    point = np.array([1.0, 0.0, 0.0])
    assert Chain((TURN, MOVE)).map(point).tolist() == [10.0, 1.0, 0.0]
    assert Chain((MOVE, TURN)).map(point).tolist() == [0.0, 11.0, 0.0]
    assert Chain((TURN,)).then(MOVE).map(point).tolist() == [10.0, 1.0, 0.0]


def test_agrees_with_simpleitk_composite(grid: Grid, wavy_field: FieldMaker, sitk_transform: Twin) -> None:
    chain = Chain((wavy_field(grid, fade=False), TURN, TILT, wavy_field(grid, 3.0, fade=False, seed=1), MOVE))
    twin = sitk_transform(chain)
    points = np.random.default_rng(5).uniform(-25, 25, (300, 3))
    expected = np.array([twin.TransformPoint(p) for p in points.tolist()])
    assert np.abs(chain.map(points) - expected).max() < 1e-3


def test_inverse_undoes_in_reverse_order(grid: Grid, wavy_field: FieldMaker) -> None:
    chain = Chain((wavy_field(grid), TURN, TILT))
    inverse = chain.invert()
    assert isinstance(inverse.steps[0], Affine)
    assert isinstance(inverse.steps[-1], DisplacementField)
    points = grid.points_lps().reshape(-1, 3)[::37]
    # Between voxel centres both fields are only piecewise linear: a tenth of a voxel, not the solver's tolerance.
    assert np.abs(inverse.map(chain.map(points)) - points).max() < 0.1 * max(grid.spacing)


def test_affine_chain_round_trip() -> None:
    chain = Chain((TURN, MOVE, TILT))
    points = np.random.default_rng(3).uniform(-200, 200, (100, 3))
    assert np.abs(chain.invert().map(chain.map(points)) - points).max() < 1e-9


def test_simplified_multiplies_neighbours_in_order(grid: Grid, wavy_field: FieldMaker) -> None:
    field = wavy_field(grid, fade=False)
    chain = Chain((Affine.identity(), TURN, MOVE, field, Affine.identity(), TILT, TILT.invert()))
    short = chain.simplified()
    assert [type(step) for step in short.steps] == [Affine, DisplacementField]
    points = np.random.default_rng(4).uniform(-20, 20, (100, 3))
    assert np.abs(short.map(points) - chain.map(points)).max() < 1e-5


def test_description_follows_the_point(grid: Grid, wavy_field: FieldMaker) -> None:
    text = Chain((wavy_field(grid), TILT)).describe()
    assert text.index("displacement field") < text.index("->") < text.index("affine")


def test_keeps_the_shape_of_points() -> None:
    assert Chain((TURN,)).map(np.zeros((4, 5, 3))).shape == (4, 5, 3)
    assert Chain((TURN,)).map(np.zeros((0, 3))).shape == (0, 3)
