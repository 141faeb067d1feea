from __future__ import annotations

import logging
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from oracle import DIRECTIONS, same_geometry, sitk_image

from unireg_cli.errors import GeometryError, InputError, UsageError
from unireg_cli.io.images import HeaderChoice, Series, is_series, read_image, read_series, write_image, write_series
from unireg_cli.spatial import Grid, Image

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
DTYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64")
PLAIN = Grid.from_arrays((6, 5, 4), (1.0, 1.5, 2.0), (1.0, 2.0, 3.0), np.eye(3))


def ramp(grid: Grid, dtype: str = "int16") -> np.ndarray:
    return np.arange(grid.voxels, dtype=dtype).reshape(grid.shape)


def with_forms(path, sform, sform_code, qform, qform_code, shape=(6, 5, 4), **fields):
    """A NIfTI file with exactly these matrices (RAS) and codes; returns the path."""
    image = nibabel.Nifti1Image(np.zeros(shape, np.int16), None)
    if qform is not None:
        image.header.set_qform(qform)
    elif sform is not None:
        image.header.set_zooms(np.linalg.norm(sform[:3, :3], axis=0))
    if sform is not None:
        image.header.set_sform(sform)
    image.header["sform_code"], image.header["qform_code"] = sform_code, qform_code
    for name, value in fields.items():
        image.header[name] = value
    image.to_filename(path)
    return path


def ras_matrix(spacing=(1.1, 2.2, 0.7), origin=(-90.5, 120.25, 33.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = DIRECTIONS["oblique"] * spacing
    matrix[:3, 3] = origin
    return matrix


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_reads_what_simpleitk_wrote(tmp_path, grid, suffix):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk_image(ramp(grid), grid), path)
    image = read_image(path)
    assert same_geometry(sitk.ReadImage(path), image.grid)
    assert image.grid.same_space(grid) and image.voxels.dtype == np.int16 and (image.voxels == ramp(grid)).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_simpleitk_reads_what_we_wrote(tmp_path, grid, suffix):
    path = tmp_path / f"a{suffix}"
    write_image(path, Image(ramp(grid), grid))
    image = sitk.ReadImage(path)
    assert same_geometry(image, grid)
    assert (sitk.GetArrayFromImage(image) == ramp(grid)).all()
    assert read_image(path).grid.same_space(grid, 1e-5)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_and_extreme_values_survive(tmp_path, suffix, dtype):
    voxels = ramp(PLAIN, dtype)
    limits = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else np.finfo(dtype)
    voxels.flat[:2] = limits.min, limits.max
    path = tmp_path / f"a{suffix}"
    write_image(path, Image(voxels, PLAIN))
    ours, theirs = read_image(path).voxels, sitk.GetArrayFromImage(sitk.ReadImage(path))
    assert ours.dtype == theirs.dtype == dtype and (ours == voxels).all() and (theirs == voxels).all()


def test_written_nifti_has_both_forms_and_no_time_stamp(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_image(tmp_path / name, Image(ramp(PLAIN), PLAIN))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    header = nibabel.load(tmp_path / "a.nii.gz").header
    assert int(header["qform_code"]) == int(header["sform_code"]) == 1 and header.get_xyzt_units()[0] == "mm"
    assert np.allclose(header.get_sform(), header.get_qform()) and np.allclose(np.diag(header.get_sform())[:3], (-1, -1.5, 2))


@pytest.mark.parametrize(("slope", "inter"), [(2.5, -10.0), (1.0, -1024.0), (-2.0, 0.0), (1.0, 0.0), (float("nan"), 0.0)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_scaling_as_simpleitk_reads_it(tmp_path, slope, inter, dtype):
    path = tmp_path / "a.nii"
    sitk.WriteImage(sitk_image(ramp(PLAIN, dtype), PLAIN), path)
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", slope, inter)
    path.write_bytes(content)
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(path))
    ours = read_image(path).voxels
    assert ours.dtype == theirs.dtype and np.allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize(("sform_code", "qform_code"), [(1, 0), (0, 1), (1, 1), (2, 1), (2, 0), (4, 2), (0, 3)])
def test_one_form_or_two_that_agree(tmp_path, sform_code, qform_code):
    other = ras_matrix(origin=(5.0, 5.0, 5.0))
    sform, qform = (ras_matrix() if code else other for code in (sform_code, qform_code))
    path = with_forms(tmp_path / "a.nii", sform, sform_code, qform, qform_code)
    assert same_geometry(sitk.ReadImage(path), read_image(path).grid)
    assert np.allclose(read_image(path).grid.origin, (90.5, -120.25, 33.0))


def test_conflict_names_both_and_the_way_out(tmp_path):
    path = with_forms(tmp_path / "a.nii", ras_matrix(), 1, ras_matrix(origin=(-85.5, 120.25, 33.0)), 1)
    with pytest.raises(GeometryError, match=r"sform \[.*-90\.5.*qform \[.*-85\.5.*--header sform or --header qform") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert read_image(path, HeaderChoice.SFORM).grid.origin[0] == pytest.approx(90.5)
    assert read_image(path, HeaderChoice.QFORM).grid.origin[0] == pytest.approx(85.5)


@pytest.mark.parametrize(("shift", "conflict"), [(0.04, False), (0.06, True)])
def test_conflict_begins_at_a_twentieth_of_a_voxel(tmp_path, shift, conflict):
    # Smallest edge 1 mm; origin 0 keeps float32 exact enough.
    first, second = np.diag([1.0, 2.0, 3.0, 1.0]), np.diag([1.0, 2.0, 3.0, 1.0])
    second[0, 3] = shift
    path = with_forms(tmp_path / "a.nii", first, 1, second, 1)
    if conflict:
        with pytest.raises(GeometryError, match="--header"):
            read_image(path)
    else:
        assert same_geometry(sitk.ReadImage(path), read_image(path).grid)


def test_neither_form_is_read_as_itk_does_with_a_warning(tmp_path, caplog):
    path = with_forms(tmp_path / "a.nii", None, 0, None, 0, pixdim=(1, 1.5, 2, 2.5, 1, 1, 1, 1))
    with caplog.at_level(logging.WARNING, "unireg"):
        grid = read_image(path).grid
    assert grid.spacing == (1.5, 2.0, 2.5) and grid.origin == (0, 0, 0) and same_geometry(sitk.ReadImage(path), grid)
    assert "neither sform nor qform" in caplog.text


def test_pixdim_against_sform_is_a_conflict(tmp_path):
    path = with_forms(tmp_path / "a.nii", ras_matrix(), 1, None, 0, pixdim=(1, 1, 1, 1, 1, 1, 1, 1))
    with pytest.raises(GeometryError, match="contradict pixdim"):
        read_image(path)
    assert read_image(path, HeaderChoice.SFORM).grid.spacing == pytest.approx((1.1, 2.2, 0.7))


@pytest.mark.parametrize("code", [1, 3])
def test_metres_and_micrometres(tmp_path, code):
    path = with_forms(tmp_path / "a.nii", ras_matrix(), 1, ras_matrix(), 1, xyzt_units=code)
    theirs, ours = sitk.ReadImage(path), read_image(path).grid
    assert np.allclose(theirs.GetSpacing(), ours.spacing, rtol=1e-6) and np.allclose(theirs.GetOrigin(), ours.origin, rtol=1e-6)


def test_shear_is_refused_and_rounding_repaired_aloud(tmp_path, caplog):
    sheared = ras_matrix()
    sheared[:3, 1] += 0.2 * sheared[:3, 0]
    with pytest.raises(GeometryError, match="sheared by"):
        read_image(with_forms(tmp_path / "a.nii", sheared, 1, None, 0))
    careless = np.diag([1.0, 1.0, 1.0, 1.0])
    careless[0, 1] = 2e-4
    with caplog.at_level(logging.WARNING, "unireg"):
        grid = read_image(with_forms(tmp_path / "b.nii", careless, 1, None, 0)).grid
    assert "2.0e-04 off orthogonal" in caplog.text
    assert np.abs(grid.cosines.T @ grid.cosines - np.eye(3)).max() < 1e-12


def test_one_volume_in_four_dimensions_is_three(tmp_path):
    nibabel.Nifti1Image(np.ones((6, 5, 4, 1), np.int16), np.eye(4)).to_filename(tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").voxels.shape == (4, 5, 6) and not is_series(tmp_path / "a.nii")


def test_big_endian_file(tmp_path):
    voxels = ramp(PLAIN).T
    nibabel.Nifti1Image(voxels, np.eye(4), nibabel.Nifti1Header(endianness=">")).to_filename(tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    assert image.voxels.dtype.isnative and (image.voxels == voxels.T).all()


def test_series_round_trip_keeps_times(tmp_path):
    voxels = np.arange(3 * PLAIN.voxels, dtype=np.int16).reshape(3, *PLAIN.shape)
    path = tmp_path / "a.nii.gz"
    write_series(path, Series(voxels, PLAIN, 2.5, 8))
    theirs = sitk.ReadImage(path)
    assert theirs.GetSpacing()[3] == pytest.approx(2.5) and (sitk.GetArrayFromImage(theirs) == voxels).all()
    assert nibabel.load(path).header.get_xyzt_units() == ("mm", "sec")
    series = read_series(path)
    assert is_series(path) and len(series) == 3 and (series.time_step, series.time_unit) == (2.5, 8)
    assert (series[1].voxels == voxels[1]).all() and series.grid.same_space(PLAIN)
    small = PLAIN.resized((3, 2, 2))
    assert series.with_volumes([np.zeros(small.shape, np.int16)] * 3, small).voxels.shape == (3, 2, 2, 3)


def test_nonfinite_voxels_are_counted_or_kept(tmp_path):
    voxels = ramp(PLAIN, "float32")
    voxels.flat[:3] = np.nan, np.inf, -np.inf
    write_image(tmp_path / "a.nii", Image(voxels, PLAIN))
    with pytest.raises(InputError, match="3 of 120 voxels are NaN or infinite"):
        read_image(tmp_path / "a.nii")
    assert np.isnan(read_image(tmp_path / "a.nii", allow_nonfinite=True).voxels.flat[0])


def _text(path):
    path.write_text("this is a letter, not an image\n" * 50)


def _cut(path):
    write_image(path, Image(np.random.default_rng(0).integers(0, 9999, PLAIN.shape).astype(np.int16), PLAIN))
    path.write_bytes(path.read_bytes()[:-100])


def _cut_plain(path):
    sitk.WriteImage(sitk.Image(6, 5, 4, sitk.sitkInt16), path, useCompression=False)
    path.write_bytes(path.read_bytes()[:-10])


def _array(shape, dtype="int16"):
    return lambda path: nibabel.Nifti1Image(np.zeros(shape, dtype), np.eye(4)).to_filename(path)


def _rgb(path):
    sitk.WriteImage(sitk.Compose([sitk.Image(4, 4, 4, sitk.sitkUInt8)] * 3), path)


def _huge(path):
    _array((6, 5, 4))(path)
    content = bytearray(path.read_bytes())
    content[42:48] = struct.pack("<hhh", 30000, 30000, 30000)
    path.write_bytes(content)


def _huge_mha(path):
    head = "ObjectType = Image\nNDims = 3\nDimSize = 90000 90000 90000\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    path.write_bytes(head.encode() + b"1234")


def _zero_axis(path):
    with_forms(path, np.diag([1.0, 0.0, 1.0, 1.0]), 1, None, 0)


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("a.nii.gz", None, "no such file"),
        ("a.nii.gz", lambda path: path.write_bytes(b""), "empty"),
        ("a.nii", _text, "not a readable NIfTI"),
        ("a.nii.gz", _text, "not a readable NIfTI"),
        ("a.mha", _text, "not a readable .mha"),
        ("a.nrrd", _text, "not a readable .nrrd"),
        ("a.nii.gz", _cut, "truncated"),
        ("a.nii", _cut, "truncated"),
        ("a.mha", _cut, "truncated"),
        ("a.mha", _cut_plain, "truncated"),
        ("a.nrrd", _cut, "truncated"),
        ("a.nii", _array((6, 5)), "2-D"),
        ("a.nii", _array((6, 5, 1)), "2-D"),
        ("a.nii", _array((6, 5, 4, 3)), "4-D series of 3"),
        ("a.nii", _array((6, 5, 4, 1, 3)), "vector"),
        ("a.nii", _array((6, 5, 4), "complex64"), "complex"),
        ("a.mha", lambda path: sitk.WriteImage(sitk.Image(5, 5, sitk.sitkInt16), path), "2-D"),
        ("a.mha", lambda path: sitk.WriteImage(sitk.Image([5, 5, 5, 5], sitk.sitkInt16), path), "4-D"),
        ("a.nii", _rgb, "vector|RGB"),
        ("a.mha", _rgb, "3 components"),
        ("a.nii", _huge, "truncated|memory"),
        ("a.nii.gz", lambda path: _huge_gz(path), "truncated|memory"),
        ("a.mha", _huge_mha, "memory|not a readable|truncated"),
        ("a.nii", _zero_axis, "edges 1 0 1 mm contradict pixdim"),
        ("a.png", _text, "unknown image format"),
        ("a", _text, "no suffix"),
        ("folder", lambda path: path.mkdir(), "without a DICOM series"),
    ],
)
def test_bad_images_say_one_line(tmp_path, capfd, name, make, words):
    path = tmp_path / name
    if make is not None:
        make(path)
    capfd.readouterr()
    with pytest.raises(InputError, match=words) as caught:
        read_image(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def _huge_gz(path):
    import gzip

    plain = path.with_name("b.nii")
    _huge(plain)
    path.write_bytes(gzip.compress(plain.read_bytes()))


def test_outputs_that_cannot_be(tmp_path):
    image = Image(ramp(PLAIN), PLAIN)
    for name, error in (("a.mhd", UsageError), ("a.png", UsageError), ("no/a.nii", InputError)):
        with pytest.raises(error):
            write_image(tmp_path / name, image)
    with pytest.raises(InputError, match="voxel type"):
        write_image(tmp_path / "a.nii", Image(np.zeros(PLAIN.shape, bool), PLAIN))
    with pytest.raises(InputError, match="voxel type"):
        write_image(tmp_path / "a.mha", Image(np.zeros(PLAIN.shape, bool), PLAIN))
    long = Grid.from_arrays((40000, 2, 2), (1, 1, 1), (0, 0, 0), np.eye(3))
    with pytest.raises(GeometryError, match="32767"):
        write_image(tmp_path / "a.nii", Image(np.zeros(long.shape, np.uint8), long))
    assert not list(tmp_path.iterdir())
