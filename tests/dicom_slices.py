"""DICOM series as a scanner writes them, made by hand slice by slice; SimpleITK writes them, not the code under test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from unireg_cli.spatial import Grid

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
PERSON = {"0010|0010": "Doe^Jane", "0010|0020": "P7", "0010|0030": "19700102", "0010|0040": "F", "0010|1030": "61.5"}
STUDY = {
    **{"0020|000d": "1.2.3.10", "0008|0020": "20260105", "0008|0030": "101112", "0020|0010": "S1", "0008|0050": "A1"},
    **{"0008|0090": "Roe^R", "0008|1030": "abdomen"},
}
CT_TAGS = {
    **PERSON,
    **STUDY,
    **{"0008|0016": CT, "0008|0060": "CT", "0020|000e": "1.2.3.10.1", "0020|0052": "1.2.3.10.9", "0020|0011": "3"},
    **{"0008|103e": "portal venous", "0018|0060": "120", "0018|5100": "HFS", "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL", "0018|1120": "0"},
    **{"0028|1050": "40", "0028|1051": "400", "0008|0070": "Maker", "0020|1040": "", "0020|0012": "1"},
}
MR_TAGS = {
    **PERSON,
    **STUDY,
    **{"0020|000d": "1.2.3.20", "0008|0020": "20251201", "0008|0050": "B2", "0008|1030": "liver MR"},
    **{"0008|0016": MR, "0008|0060": "MR", "0020|000e": "1.2.3.20.1", "0020|0052": "1.2.3.20.9", "0020|0011": "5"},
    **{"0008|103e": "T2 TSE", "0018|0081": "90", "0018|0080": "2500", "0018|0020": "SE", "0018|0021": "SK", "0018|5100": "FFS"},
    **{"0008|0008": "ORIGINAL\\PRIMARY\\M\\SE", "0008|0070": "Other", "0018|0023": "2D", "0018|0022": "FS", "0018|0091": "8"},
}


def write_slices(folder: Path, voxels: np.ndarray, grid: Grid, tags: Mapping[str, str], rescale: tuple[float, float] | None = None) -> Path:
    """``voxels`` (D, H, W) are physical values; ITK stores them by ``rescale`` (slope, intercept). Slices are written last to first."""
    folder.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    orientation = np.reshape(grid.direction, (3, 3))[:, :2].T.ravel()
    for k in reversed(range(grid.size[2])):
        slice_ = image[:, :, k]
        own = {
            "0008|0018": f"{tags['0020|000e']}.{k + 1}",
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(f"{v:.9g}" for v in image.TransformIndexToPhysicalPoint((0, 0, k))),
            "0020|0037": "\\".join(f"{v:.12g}" for v in orientation),
            "0018|0050": f"{grid.spacing[2]:.9g}",
        }
        if rescale is not None:
            own |= {"0028|1053": f"{rescale[0]:.9g}", "0028|1052": f"{rescale[1]:.9g}"}
        for tag, value in {**tags, **own}.items():
            slice_.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"IM{grid.size[2] - k:03d}"))
        writer.SetImageIO("GDCMImageIO")
        writer.Execute(slice_)
    return folder


def read_slices(folder: Path) -> sitk.Image:
    """SimpleITK's series reader."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def tags_of(file: Path) -> dict[str, str]:
    """What GDCM reads of one file: flat attributes only, no sequences."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.LoadPrivateTagsOn()
    reader.ReadImageInformation()
    return {key: reader.GetMetaData(key).strip() for key in reader.GetMetaDataKeys()}
