from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from unireg_cli.errors import TransformFileError
from unireg_cli.spatial import Affine
from unireg_cli.spatial.affine import fit_affine

LINEAR = np.array([[1.2, 0.1, -0.2], [0.05, 0.8, 0.15], [-0.1, 0.2, 1.1]])


def test_identity_moves_nothing() -> None:
    points = np.arange(12.0).reshape(4, 3)
    assert np.array_equal(Affine.identity().map(points), points)
    assert Affine.identity().is_identity


def test_quarter_turn_about_z_by_hand() -> None:
    turn = Affine(np.array([[0.0, -1, 0, 10], [1, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]]))
    assert turn.map(np.array([1.0, 2.0, 3.0])).tolist() == [8.0, 21.0, 33.0]


def test_centre_stays_but_for_the_translation() -> None:
    affine = Affine.from_parts(LINEAR, (1.0, 2.0, 3.0), (10.0, -20.0, 30.0))
    assert np.allclose(affine.map(np.array([10.0, -20.0, 30.0])), (11.0, -18.0, 33.0), rtol=0, atol=1e-12)


def test_from_parts_agrees_with_simpleitk() -> None:
    twin = sitk.AffineTransform(3)
    twin.SetMatrix(LINEAR.ravel().tolist())
    twin.SetTranslation((4.0, -5.0, 6.0))
    twin.SetCenter((30.0, 20.0, -10.0))
    affine = Affine.from_parts(LINEAR, (4.0, -5.0, 6.0), (30.0, 20.0, -10.0))
    for point in np.random.default_rng(0).uniform(-200, 200, (50, 3)):
        assert np.allclose(affine.map(point), twin.TransformPoint(point.tolist()), rtol=0, atol=1e-9)


def test_round_trip() -> None:
    affine = Affine.from_parts(LINEAR, (100.0, -50.0, 20.0), (30.0, 20.0, -10.0))
    points = np.random.default_rng(2).uniform(-300, 300, (7, 11, 3))
    assert np.abs(affine.invert().map(affine.map(points)) - points).max() < 1e-9
    assert affine.invert().after(affine).is_identity


def test_after_applies_its_argument_first() -> None:
    move, scale = Affine.from_parts(np.eye(3), (1.0, 0.0, 0.0)), Affine.from_parts(2 * np.eye(3), (0.0, 0.0, 0.0))
    assert scale.after(move).map(np.zeros(3)).tolist() == [2.0, 0.0, 0.0]
    assert move.after(scale).map(np.zeros(3)).tolist() == [1.0, 0.0, 0.0]


def test_matrix_is_copied_and_frozen() -> None:
    matrix = np.eye(4)
    affine = Affine(matrix)
    matrix[0, 3] = 5.0
    assert affine.is_identity
    with pytest.raises(ValueError, match="read-only"):
        affine.matrix[0, 0] = 2.0


def test_description_says_the_determinant() -> None:
    assert "6.0000" in Affine(np.diag([1.0, 2.0, 3.0, 1.0])).describe()


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3), "4 x 4"),
        (np.diag([1.0, np.nan, 1.0, 1.0]), "finite"),
        (np.diag([1.0, 1.0, 1.0, 2.0]), "last row"),
        (np.diag([1.0, 1.0, 0.0, 1.0]), "singular"),
        (np.array([[1.0, 2, 3, 0], [4, 5, 6, 0], [7, 8, 9, 0], [0, 0, 0, 1]]), "singular"),
    ],
)
def test_unusable_matrix_is_refused(matrix: np.ndarray, message: str) -> None:
    with pytest.raises(TransformFileError, match=message) as caught:
        Affine(matrix)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_small_scale_is_not_singular() -> None:
    assert np.isclose(Affine(np.diag([1e-3, 1e-3, 1e-3, 1.0])).invert().matrix[0, 0], 1e3)


def test_a_fit_to_points_finds_the_affine_and_needs_no_more_than_one_point() -> None:
    here = np.random.default_rng(0).uniform(-100, 100, (12, 3))
    truth = Affine.from_parts(np.array([[1.1, 0.1, 0], [0, 0.9, 0], [0.05, 0, 1.0]]), np.array([5.0, -7.0, 3.0]), here.mean(axis=0))
    assert np.allclose(fit_affine(here, truth.map(here), 1e-3).matrix, truth.matrix, atol=1e-6)
    one = fit_affine(here[:1], here[:1] + np.array([1.0, 2.0, 3.0]), 40.0)
    assert np.allclose(one.matrix[:3], np.c_[np.eye(3), [1, 2, 3]], atol=1e-9)
    # A point that weighs nothing is not looked at.
    wild = np.vstack((truth.map(here), [[1e3, 1e3, 1e3]]))
    found = fit_affine(np.vstack((here, [[0.0, 0.0, 0.0]])), wild, 1e-3, np.r_[np.ones(12), 0.0])
    assert np.allclose(found.matrix, truth.matrix, atol=1e-6)
