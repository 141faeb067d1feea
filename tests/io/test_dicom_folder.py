from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from oracle import DIRECTIONS, same_geometry, sitk_image

from unireg_cli.errors import GeometryError, InputError
from unireg_cli.io.images import read_image
from unireg_cli.spatial import Grid

GRID = Grid.from_arrays((16, 12, 6), (0.8, 0.8, 2.5), (-20.0, -30.0, 40.0), DIRECTIONS["oblique"])
VOXELS = (np.arange(GRID.voxels) % 1000 - 500).astype(np.int16).reshape(GRID.shape)


def write_series(folder, uid: str = "1.2.3.4", places=range(6), sideways: float = 0.0):
    """One DICOM file a slice, as a scanner writes them: positions along the stack's normal."""
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    image = sitk_image(VOXELS, GRID)
    orientation = np.reshape(GRID.direction, (3, 3))[:, :2].T.ravel()
    for number, k in enumerate(places):
        slice_ = image[:, :, k]
        position = np.array(image.TransformIndexToPhysicalPoint((0, 0, k))) + GRID.cosines[:, 1] * sideways * k
        tags = {
            "0008|0060": "CT",
            "0020|000e": uid,
            "0020|000d": "1.2.3",
            "0008|0018": f"{uid}.{number}",
            "0020|0013": str(number),
            "0020|0032": "\\".join(f"{v:.8g}" for v in position),
            "0020|0037": "\\".join(f"{v:.10g}" for v in orientation),
            "0018|0050": "2.5",
        }
        for tag, value in tags.items():
            slice_.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{uid}_{number}.dcm"))
        writer.Execute(slice_)
    return folder


def test_series_keeps_values_and_place(tmp_path):
    image = read_image(write_series(tmp_path / "ct"))
    assert (image.voxels == VOXELS).all() and np.issubdtype(image.voxels.dtype, np.integer)
    assert image.grid.same_space(GRID, 1e-3)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "ct")))
    assert same_geometry(reader.Execute(), image.grid)


def test_two_series_are_listed(tmp_path):
    write_series(write_series(tmp_path / "ct"), "1.2.3.5")
    with pytest.raises(InputError, match=r"2 DICOM series.*1\.2\.3\.4.*1\.2\.3\.5"):
        read_image(tmp_path / "ct")


def test_missing_slice_tilt_and_single_slice(tmp_path):
    with pytest.raises(GeometryError, match=r"uneven DICOM slices, 2\.5 to 5 mm"):
        read_image(write_series(tmp_path / "gap", places=(0, 1, 3, 4, 5)))
    with pytest.raises(GeometryError, match="tilted"):
        read_image(write_series(tmp_path / "tilt", sideways=0.5))
    with pytest.raises(InputError, match="expected a 3-D volume"):
        read_image(write_series(tmp_path / "one", places=(2,)))


def test_folder_of_other_files(tmp_path, capfd):
    (tmp_path / "notes.txt").write_text("no slices here\n" * 100)
    (tmp_path / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\0\0\0rubbish")
    with pytest.raises(InputError, match="without a DICOM series") as caught:
        read_image(tmp_path)
    assert "\n" not in str(caught.value) and capfd.readouterr() == ("", "")
