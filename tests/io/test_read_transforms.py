from __future__ import annotations

import h5py
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from oracle import AFFINE, lps_points, sitk_image, sitk_map, smooth_field
from scipy.io import savemat

from unireg_cli.errors import InputError, TransformFileError
from unireg_cli.io.transforms import read_transform
from unireg_cli.spatial import Affine, DisplacementField, Grid

GRID = Grid.from_arrays((9, 8, 7), (2.0, 3.0, 4.0), (-5.0, 6.0, 7.0), np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
POINTS = lps_points(GRID)


def sitk_affine() -> sitk.Transform:
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(AFFINE.matrix[:3, :3].ravel().tolist())
    affine.SetCenter((3.0, -4.0, 5.0))
    affine.SetTranslation((1.5, 2.5, -3.5))
    return affine


def sitk_field(field: DisplacementField) -> sitk.Transform:
    return sitk.DisplacementFieldTransform(sitk_image(field.vectors_mm.astype(np.float64), field.grid, vectors=True))


def linear_transforms() -> dict[str, sitk.Transform]:
    turn, axis, centre, shift = 0.4, (0.2, -0.5, 0.8), (1.0, 2.0, 3.0), (4.0, -5.0, 6.0)
    return {
        "affine": sitk_affine(),
        "euler": sitk.Euler3DTransform(centre, 0.1, 0.2, -0.3, shift),
        "versor": sitk.VersorTransform(axis, turn, centre),
        "versor rigid": sitk.VersorRigid3DTransform(axis, turn, shift, centre),
        "similarity": sitk.Similarity3DTransform(1.2, axis, turn, shift, centre),
        "scale": sitk.ScaleTransform(3, (1.1, 0.9, 1.3)),
        "scale versor": sitk.ScaleVersor3DTransform((1.1, 0.9, 1.3), axis, turn, shift, centre),
        "translation": sitk.TranslationTransform(3, shift),
        "identity": sitk.Transform(3, sitk.sitkIdentity),
        "queue": sitk.CompositeTransform([sitk_affine(), sitk.Euler3DTransform(centre, 0.1, 0.2, -0.3, shift)]),
    }


# ITK's .mat holds one transform, with parameters.
LINEAR = [(k, s) for k in linear_transforms() for s in (".tfm", ".txt", ".h5", ".mat") if s != ".mat" or k not in ("queue", "identity")]


@pytest.mark.parametrize(("kind", "suffix"), LINEAR)
def test_linear_transforms_of_simpleitk(tmp_path, kind, suffix):
    transform, path = linear_transforms()[kind], tmp_path / f"a{suffix}"
    sitk.WriteTransform(transform, path)
    chain = read_transform(path)
    assert all(isinstance(step, Affine) for step in chain.steps)
    assert np.abs(chain.map(POINTS) - sitk_map(transform, POINTS)).max() < 1e-9


def test_euler_in_the_other_order_of_angles(tmp_path):
    transform = sitk.Euler3DTransform((1.0, 2.0, 3.0), 0.3, 0.5, -0.7, (1.0, 1.0, 1.0))
    transform.SetComputeZYX(True)
    sitk.WriteTransform(transform, tmp_path / "a.tfm")
    assert np.abs(read_transform(tmp_path / "a.tfm").map(POINTS) - sitk_map(transform, POINTS)).max() < 1e-9


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".tfm"])
def test_composite_applies_its_last_transform_first(tmp_path, suffix):
    first, last = sitk_field(smooth_field(GRID)), sitk_affine()
    transform = sitk.CompositeTransform([last, sitk.TranslationTransform(3, (0.5, 0.25, -0.75)), first])
    sitk.WriteTransform(transform, tmp_path / f"a{suffix}")
    chain = read_transform(tmp_path / f"a{suffix}")
    assert [type(step) for step in chain.steps] == [DisplacementField, Affine, Affine]
    assert np.abs(chain.map(POINTS) - sitk_map(transform, POINTS)).max() < 1e-4


def test_lone_field_in_h5(tmp_path):
    transform = sitk_field(smooth_field(GRID))
    sitk.WriteTransform(transform, tmp_path / "a.h5")
    assert np.abs(read_transform(tmp_path / "a.h5").map(POINTS) - sitk_map(transform, POINTS)).max() < 1e-4


def test_points_outside_the_field_stay(tmp_path):
    field = DisplacementField(np.full((*GRID.shape, 3), 2.5, np.float32), GRID)
    sitk.WriteTransform(sitk_field(field), tmp_path / "a.h5")
    around = lps_points(GRID.padded((2, 2, 2), (2, 2, 2)))
    theirs = sitk_map(sitk.ReadTransform(tmp_path / "a.h5"), around)
    assert np.abs(read_transform(tmp_path / "a.h5").map(around) - theirs).max() < 1e-4
    assert 0 < (theirs == around).all(axis=1).sum() < len(around)


@pytest.mark.parametrize("precision", ["float", "double"])
@pytest.mark.parametrize("spelling", ["Transform", "Tranform"])
def test_h5_in_either_precision_and_spelling(tmp_path, precision, spelling):
    transform = sitk.CompositeTransform([sitk_affine(), sitk_field(smooth_field(GRID))])
    path = tmp_path / "a.h5"
    sitk.WriteTransform(transform, path)
    with h5py.File(path, "r+") as file:
        for group in file["TransformGroup"].values():
            name = group["TransformType"][0].decode().replace("double", precision)
            del group["TransformType"]
            group.create_dataset("TransformType", data=np.array([name], object), dtype=h5py.string_dtype("ascii"))
            for old in [key for key in group if key != "TransformType"]:
                values = group[old][()].astype("f4" if precision == "float" else "f8")
                del group[old]
                group[old.replace("Transform", spelling)] = values
    theirs = sitk_map(sitk.ReadTransform(path), POINTS)
    assert np.abs(read_transform(path).map(POINTS) - theirs).max() < 1e-4


@pytest.mark.parametrize("kind", ["AffineTransform_double_3_3", "MatrixOffsetTransformBase_double_3_3", "AffineTransform_float_3_3"])
@pytest.mark.parametrize("number", ["f8", "f4"])
def test_mat_of_ants(tmp_path, kind, number):
    path = tmp_path / "0GenericAffine.mat"
    parameters, centre = np.array(sitk_affine().GetParameters(), number), np.array([3.0, -4.0, 5.0], number)
    savemat(path, {kind: parameters[:, None], "fixed": centre[:, None]}, format="4")
    assert np.abs(read_transform(path).map(POINTS) - sitk_map(sitk.ReadTransform(path), POINTS)).max() < 1e-9


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("number", [np.float32, np.float64])
def test_field_images_of_simpleitk(tmp_path, grid, suffix, number):
    field, path = smooth_field(grid), tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk_image(field.vectors_mm.astype(number), grid, vectors=True), path)
    points = lps_points(grid)
    theirs = sitk.DisplacementFieldTransform(sitk.ReadImage(path, sitk.sitkVectorFloat64))
    assert np.abs(read_transform(path).map(points) - sitk_map(theirs, points)).max() < 1e-3


def test_intent_1006_holds_ras_vectors_as_itk_reads_them(tmp_path):
    image = nibabel.Nifti1Image(np.tile(np.float32([1, 2, 3]), (6, 5, 4, 1, 1)), np.diag([-2.0, -2.0, 2.0, 1.0]))
    image.header.set_intent(1006)
    image.to_filename(tmp_path / "a.nii")
    assert np.allclose(read_transform(tmp_path / "a.nii").map(np.array([[2.0, 2.0, 2.0]])), [[1, 0, 5]])
    assert sitk.ReadImage(tmp_path / "a.nii")[1, 1, 1] == (-1, -2, 3)


def _text(kind: str, parameters: str, fixed: str = "0 0 0") -> str:
    return f"#Insight Transform File V1.0\n#Transform 0\nTransform: {kind}\nParameters: {parameters}\nFixedParameters: {fixed}\n"


def _bspline(path):
    sitk.WriteTransform(sitk.BSplineTransformInitializer(sitk.Image(10, 10, 10, sitk.sitkFloat32), [2, 2, 2]), path)


def _field(path):
    sitk.WriteTransform(sitk_field(smooth_field(GRID)), path)


def _cut(path):
    _field(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _wrong_size(path):
    _field(path)
    with h5py.File(path, "r+") as file:
        file["TransformGroup/0/TransformFixedParameters"][0] = 10


def _not_finite(path):
    _field(path)
    with h5py.File(path, "r+") as file:
        file["TransformGroup/0/TransformParameters"][5] = np.nan


def _plain_h5(path):
    with h5py.File(path, "w") as file:
        file["data"] = [1, 2, 3]


def _image(path):
    sitk.WriteImage(sitk.Image(5, 5, 5, sitk.sitkFloat32), path)


def _vectors_without_intent(path):
    nibabel.Nifti1Image(np.zeros((6, 5, 4, 1, 3), np.float32), np.eye(4)).to_filename(path)


def _mat(**variables):
    return lambda path: savemat(path, {name: np.array(value, float)[:, None] for name, value in variables.items()}, format="4")


SINGULAR = "1 0 0 0 1 0 0 0 0 1 2 3"


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("a.h5", None, "no such file"),
        ("a.h5", "", "empty"),
        ("a.h5", "no HDF5 at all", "not a readable ITK transform"),
        ("a.h5", _cut, "damaged"),
        ("a.h5", _plain_h5, "TransformGroup"),
        ("a.h5", _bspline, "BSplineTransform_double_3_3 is not supported"),
        ("a.h5", _wrong_size, "damaged"),
        ("a.h5", _not_finite, "NaN or infinite"),
        ("a.tfm", _bspline, "BSplineTransform_double_3_3 is not supported"),
        ("a.tfm", "hello", "first line should begin"),
        ("a.tfm", _text("AffineTransform_double_3_3", SINGULAR), "singular"),
        ("a.tfm", _text("AffineTransform_double_3_3", "1 0 0"), "damaged parameters"),
        ("a.tfm", _text("AffineTransform_double_3_3", "1 0 x"), "no number"),
        ("a.tfm", _text("AffineTransform_double_2_2", "1 0 0 1 0 0", "0 0"), "expected a 3-D transform"),
        ("a.tfm", _text("MagicTransform_double_3_3", "1"), "MagicTransform_double_3_3 is not supported"),
        ("a.txt", _text("TranslationTransform_double_3_3", "1 2 3") * 2, "2 transforms"),
        ("a.txt", "#Insight Transform File V1.0\n", "holds no transform"),
        ("a.mat", "not matlab", "not a readable ITK .mat"),
        ("a.mat", _mat(AffineTransform_double_3_3=[float(v) for v in SINGULAR.split()], fixed=[0, 0, 0]), "singular"),
        ("a.mat", _mat(data=[1, 2, 3]), "found the variables data"),
        ("a.nii.gz", _image, "5-D x,y,z,1,3 with intent 1007, found 5x5x5"),
        ("a.nii", _vectors_without_intent, "with intent 0"),
        ("a.nrrd", _image, "expected 3 components"),
        ("a.lta", "x", "unknown transform format"),
        ("folder.h5", lambda path: path.mkdir(), "a folder"),
    ],
)
def test_bad_files_say_one_line(tmp_path, capfd, name, make, words):
    path = tmp_path / name
    if isinstance(make, str):
        path.write_text(make)
    elif make is not None:
        make(path)
    capfd.readouterr()
    with pytest.raises(InputError, match=words) as caught:
        read_transform(path)
    assert isinstance(caught.value, TransformFileError) or words in ("no such file", "empty")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
