# SimpleITK carries no annotations.
# mypy: disable-error-code="no-untyped-call"
"""A folder holding one DICOM series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from unireg_cli.errors import GeometryError, InputError
from unireg_cli.io.header import HeaderChoice
from unireg_cli.io.itk_image import grid_of, itk_line, voxels_of
from unireg_cli.spatial import Image
from unireg_cli.types import FloatArray

_POSITION, _ORIENTATION = "0020|0032", "0020|0037"
# Slices further from an even stack than this share of the slice distance are not noise of the header.
_UNEVEN = 0.05


def read_dicom(folder: Path, header: HeaderChoice) -> Image:
    """The one series in ``folder`` (its sub-folders are not searched), rescaled to its physical values.

    Raises:
        InputError: no series, several series, or fewer than two slices.
        GeometryError: slices missing, doubled, or tilted against the stack.
    """
    del header
    files = series_files(folder)
    if len(files) > 1:
        _check_stack(folder, *_places(folder, files))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(f"{folder}: the DICOM series cannot be read ({itk_line(error)})") from error
    if image.GetDimension() != 3 or 1 in image.GetSize():
        size = "x".join(map(str, image.GetSize()))
        raise InputError(f"{folder}: a DICOM series of {len(files)} slice(s), {size} voxels; expected a 3-D volume")
    components = image.GetNumberOfComponentsPerPixel()
    if components != 1:
        raise InputError(f"{folder}: expected one number per voxel, found {components} components (a colour image)")
    return Image(voxels_of(image), grid_of(image, str(folder)), str(folder))


def series_files(folder: Path) -> Sequence[str]:
    """The files of the one series in ``folder``, in the order of the stack.

    Raises:
        InputError: no series, or several.
    """
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not series:
        raise InputError(f"{folder}: a folder without a DICOM series; give an image file or the folder that holds the slices")
    if len(series) > 1:
        found = ", ".join(series)
        raise InputError(f"{folder}: {len(series)} DICOM series in one folder: {found}; put the wanted one into a folder of its own")
    files: Sequence[str] = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0])
    return files


def _places(folder: Path, files: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """ImagePositionPatient (slices, 3) and ImageOrientationPatient (slices, 6) of each file, LPS mm."""
    positions, orientations = [], []
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    for name in files:
        reader.SetFileName(name)
        try:
            reader.ReadImageInformation()
            positions.append([float(v) for v in reader.GetMetaData(_POSITION).split("\\")])
            orientations.append([float(v) for v in reader.GetMetaData(_ORIENTATION).split("\\")])
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{folder}: {Path(name).name} is damaged or says no position of the slice ({itk_line(error)})") from error
    return np.array(positions), np.array(orientations)


def _check_stack(folder: Path, positions: FloatArray, orientations: FloatArray) -> None:
    """Refuse what ITK would read as an even, upright stack although it is none."""
    if np.ptp(orientations, axis=0).max() > 1e-3:
        raise GeometryError(f"{folder}: the slices of the DICOM series are not parallel (a localiser?); choose another series")
    normal = np.cross(orientations[0, :3], orientations[0, 3:])
    steps = np.diff(positions, axis=0)
    along = steps @ normal
    usual = float(np.median(along))
    if abs(usual) < 1e-3 or np.abs(along / usual - 1).max() > _UNEVEN:
        raise GeometryError(
            f"{folder}: uneven DICOM slices, {np.abs(along).min():.4g} to {np.abs(along).max():.4g} mm apart (usually {abs(usual):.4g}); "
            "slices are missing or several volumes are mixed"
        )
    sideways = float(np.linalg.norm(steps - along[:, None] * normal, axis=1).max())
    if sideways > _UNEVEN * abs(usual):
        raise GeometryError(f"{folder}: tilted DICOM stack, each slice {sideways:.3g} mm beside the last (gantry tilt); correct it first")
