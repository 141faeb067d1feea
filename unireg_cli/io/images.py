"""Images by file name: which format, read and written how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from unireg_cli.errors import InputError, UsageError
from unireg_cli.io.atomic import full_suffix
from unireg_cli.io.dicom import read_dicom
from unireg_cli.io.header import HeaderChoice
from unireg_cli.io.itk_image import read_itk, write_itk
from unireg_cli.io.nifti import Series, nifti_is_series, read_nifti, read_nifti_series, write_nifti, write_nifti_series
from unireg_cli.spatial import Image

__all__ = ["HeaderChoice", "Series", "check_output", "is_series", "read_image", "read_series", "write_image", "write_series"]

_READERS: dict[str, Callable[[Path, HeaderChoice], Image]] = {
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".nrrd": read_itk,
    ".nhdr": read_itk,
    ".mha": read_itk,
    ".mhd": read_itk,
}
_WRITERS: dict[str, Callable[[Path, Image], None]] = {".nii": write_nifti, ".nii.gz": write_nifti, ".nrrd": write_itk, ".mha": write_itk}
_NIFTI = (".nii", ".nii.gz")


def read_image(path: Path, header: HeaderChoice = HeaderChoice.CHECK, *, allow_nonfinite: bool = False) -> Image:
    """A 3-D scalar image in its stored dtype, on its grid in LPS mm; ``path`` may be a folder with one DICOM series.

    Args:
        path: the file or folder.
        header: which NIfTI matrix to believe where qform and sform differ.
        allow_nonfinite: keep NaN and infinite voxels, which resampling spreads to their neighbours as ITK does.

    Raises:
        InputError: missing, empty, damaged, not 3-D, not scalar, of unknown format, or with NaN or infinite voxels.
        GeometryError: a header that contradicts itself or is sheared.
    """
    reader = read_dicom if path.is_dir() else _READERS[_checked_suffix(path)]
    image = reader(path, header)
    if not allow_nonfinite:
        _refuse_nonfinite(image)
    return image


def is_series(path: Path) -> bool:
    """True if ``path`` is a NIfTI file of more than one volume; reads the header only. Errors as :func:`read_image`."""
    return not path.is_dir() and _checked_suffix(path) in _NIFTI and nifti_is_series(path)


def read_series(path: Path, header: HeaderChoice = HeaderChoice.CHECK) -> Series:
    """A 4-D NIfTI series with its time step; NaN and infinite voxels are kept. Errors as :func:`read_image`."""
    if path.is_dir() or _checked_suffix(path) not in _NIFTI:
        raise InputError(f"{path}: a 4-D series is read from NIfTI (.nii, .nii.gz) only; convert it")
    return read_nifti_series(path, header)


def check_output(path: Path, *, series: bool = False) -> None:
    """Raise UsageError if an image, or a 4-D series, of this name cannot be written: known before any work is done."""
    suffix = full_suffix(path)
    if suffix in (".mhd", ".nhdr"):
        raise UsageError(f"{path}: {suffix} would be two files, which cannot appear together; write .mha or .nrrd")
    known = _NIFTI if series else tuple(_WRITERS)
    if suffix not in known:
        raise UsageError(f"{path}: unknown output format {suffix or '(no suffix)'!r}; use one of {', '.join(known)}")


def write_image(path: Path, image: Image) -> None:
    """Write by suffix, atomically, geometry and dtype kept; NIfTI gets qform = sform (code 1) in mm.

    Raises:
        UsageError: a suffix that cannot be written.
        InputError: a folder that cannot be written to, or a dtype the format does not have.
    """
    check_output(path)
    _WRITERS[full_suffix(path)](path, image)


def write_series(path: Path, series: Series) -> None:
    """Write a 4-D NIfTI with the series' time step and unit; errors as :func:`write_image`."""
    check_output(path, series=True)
    write_nifti_series(path, series)


def _checked_suffix(path: Path) -> str:
    check_file(path)
    suffix = full_suffix(path)
    if suffix not in _READERS:
        raise InputError(f"{path}: unknown image format {suffix or '(no suffix)'!r}; use one of {', '.join(_READERS)} or a DICOM folder")
    return suffix


def check_file(path: Path) -> None:
    """Raise InputError if ``path`` is not a readable, non-empty file."""
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file; check the path")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty")
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror or error})") from error


def _refuse_nonfinite(image: Image) -> None:
    if image.voxels.dtype.kind != "f":
        return
    bad = int(image.voxels.size - np.count_nonzero(np.isfinite(image.voxels)))
    if bad:
        raise InputError(f"{image.name}: {bad} of {image.voxels.size} voxels are NaN or infinite; replace them by a background value first")
