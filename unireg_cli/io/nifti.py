# nibabel's annotations are partial.
# mypy: disable-error-code="no-untyped-call"
"""NIfTI images: header checks by nibabel, voxels as ITK reads them."""

from __future__ import annotations

import gzip
import logging
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel import imageglobals

from unireg_cli.errors import GeometryError, InputError
from unireg_cli.io.atomic import atomic_path, full_suffix
from unireg_cli.io.header import HeaderChoice, check_scales, choose_matrix, grid_from_matrix
from unireg_cli.io.ras import lps_from_ras, ras_from_lps
from unireg_cli.spatial import Grid, Image
from unireg_cli.types import AnyArray, FloatArray

logger = logging.getLogger("unireg")

_MM_PER_UNIT = {1: 1000.0, 3: 0.001}
# deflate cannot shrink data by more than this factor.
_MOST_DEFLATED = 1100
# Quick rather than small: level 1 takes a third of the time of the default and a tenth more space.
_GZIP_LEVEL = 1
# The largest axis a NIfTI-1 header can hold.
_LONGEST = 32767
_SCANNER = 1
_DAMAGE = (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError)


@dataclass(frozen=True, slots=True)
class Series:
    """A 4-D image: volumes over time on one grid.

    ``voxels`` is (T, D, H, W) in its native dtype; ``time_step`` is pixdim[4] in the unit ``time_unit``, the time bits of
    NIfTI's xyzt_units (8 = s, 16 = ms, 24 = us, 32 = Hz, 0 = not said).

    Raises:
        GeometryError: the array does not fit the grid.
    """

    voxels: AnyArray
    grid: Grid
    time_step: float = 1.0
    time_unit: int = 8
    name: str = "series"

    def __post_init__(self) -> None:
        if self.voxels.ndim != 4 or self.voxels.shape[1:] != self.grid.shape:
            raise GeometryError(f"{self.name}: array of shape {self.voxels.shape} does not fit volumes of shape {self.grid.shape}")

    def __len__(self) -> int:
        return len(self.voxels)

    def __getitem__(self, index: int) -> Image:
        return Image(self.voxels[index], self.grid, f"{self.name}[{index}]")

    def with_volumes(self, volumes: Sequence[AnyArray], grid: Grid) -> Series:
        """The same times with other volumes, each (D, H, W) on ``grid``."""
        return replace(self, voxels=np.stack(list(volumes)), grid=grid)


def open_nifti(path: Path) -> Any:
    """A nibabel NIfTI-1 or NIfTI-2 image whose header has been read and whose voxels have not.

    Raises:
        InputError: not a NIfTI file, damaged, or declaring more voxels than the file or the machine can hold.
    """
    try:
        # nibabel prints its own remarks on a header; ours are errors and warnings of this package.
        with imageglobals.LoggingOutputSuppressor():
            image = nibabel.load(path)
    except _DAMAGE as error:
        raise InputError(f"{path}: not a readable NIfTI file ({_gzip_damage(path) or one_line(error)})") from error
    if not isinstance(image, nibabel.Nifti1Image):
        raise InputError(f"{path}: expected a NIfTI file, found {type(image).__name__}")
    _check_size(path, image)
    return image


def _gzip_damage(path: Path) -> str | None:
    """What is wrong with the compression of a file that claims to be compressed; None if its header can be unpacked."""
    if full_suffix(path) != ".nii.gz":
        return None
    try:
        with gzip.open(path) as stream:
            # As much as nibabel looks at.
            stream.read(1024)
    except (OSError, EOFError, zlib.error) as error:
        kind = "truncated" if isinstance(error, EOFError) else "damaged"
        return f"its compression is {kind}: {one_line(error)}"
    return None


def _check_size(path: Path, image: Any) -> None:
    shape = image.header.get_data_shape()
    if len(shape) == 0 or min(shape) < 1:
        raise InputError(f"{path}: the header declares impossible dimensions {tuple(int(n) for n in shape)}")
    declared = image.header.get_data_dtype().itemsize
    for axis in shape:
        declared *= int(axis)
    stored = path.stat().st_size
    packed = full_suffix(path) == ".nii.gz"
    available = stored * _MOST_DEFLATED if packed else stored - int(image.dataobj.offset)
    words = f"{path}: the header declares {'x'.join(map(str, shape))} voxels ({declared / 1e6:.4g} MB)"
    if declared > available:
        raise InputError(f"{words}, the file holds {stored / 1e6:.4g} MB: truncated, or the header is damaged")
    require_memory(declared, words)


def require_memory(declared: int, words: str) -> None:
    """Raise InputError, beginning with ``words``, if ``declared`` bytes exceed the machine's whole memory (where it can be known)."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if declared > machine:
            raise InputError(f"{words}, more than this machine's memory of {machine / 1e9:.3g} GB")


def nifti_grid(path: Path, image: Any, choice: HeaderChoice) -> Grid:
    """The grid of the first three axes, from sform and qform by the rules of :mod:`unireg_cli.io.header`.

    With neither, as ITK does: pixdim along LPS axes, origin zero, and a warning.
    """
    header = image.header
    size = tuple(int(n) for n in header.get_data_shape()[:3])
    spacing = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    try:
        sform = np.asarray(header.get_sform(), np.float64) if int(header["sform_code"]) > 0 else None
        qform = np.asarray(header.get_qform(), np.float64) if int(header["qform_code"]) > 0 else None
    except _DAMAGE as error:
        raise GeometryError(f"{path}: the header's qform is damaged ({one_line(error)}); repair it or say --header sform") from error
    if sform is None and qform is None:
        logger.warning("%s: the header has neither sform nor qform; taken as ITK takes it, axes along LPS and origin 0", path)
        lps_from_index = np.diag([*spacing, 1.0])
    else:
        matrix = choose_matrix(sform, qform, size, choice, str(path), sform_is_scanner=int(header["sform_code"]) == _SCANNER)
        if matrix is sform:
            check_scales(sform, spacing, size, choice, str(path))
        lps_from_index = np.array(matrix)
        lps_from_index[:3] = lps_from_ras(matrix[:3].T).T
    unit = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    lps_from_index[:3] *= unit
    lengths = np.linalg.norm(lps_from_index[:3, :3], axis=0)
    # pixdim is what ITK reads, and free of the rounding that a length computed from rounded columns adds.
    exact = spacing * unit if np.allclose(lengths, spacing * unit, rtol=1e-5, atol=0) else None
    return grid_from_matrix(size, lps_from_index, str(path), exact)


def read_voxels(path: Path, image: Any) -> AnyArray:
    """The array in (..., z, y, x) order and native byte order, scl_slope and scl_inter applied (float32, or float64 from float64)."""
    stored = image.header.get_data_dtype()
    if stored.kind not in "iuf" or stored.itemsize > 8:
        raise InputError(f"{path}: expected one real number per voxel, found {stored}; RGB and complex images are not supported")
    try:
        raw = np.asarray(image.dataobj.get_unscaled())
    except _DAMAGE as error:
        raise InputError(f"{path}: the voxels cannot be read, the file is truncated or damaged ({one_line(error)})") from error
    values = np.ascontiguousarray(raw.T, dtype=stored.newbyteorder("="))
    slope, inter = float(image.dataobj.slope), float(image.dataobj.inter)
    if (slope, inter) != (1.0, 0.0):
        kind = np.float64 if values.dtype == np.float64 else np.float32
        values = (values * np.float64(slope) + inter).astype(kind)
    return values


def nifti_is_series(path: Path) -> bool:
    """True if the header declares more than one volume."""
    return len(_used_shape(path, open_nifti(path))) == 4


def _used_shape(path: Path, image: Any) -> tuple[int, ...]:
    """Dimensions without trailing ones beyond the third; refuses what is neither 3-D nor 4-D."""
    shape = tuple(int(n) for n in image.header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    words = "x".join(map(str, shape))
    if len(shape) < 3 or 1 in shape[:3]:
        raise InputError(f"{path}: a 2-D image ({words} voxels); only 3-D volumes can be registered")
    if len(shape) > 4:
        raise InputError(f"{path}: a vector image or displacement field ({words}); expected one number per voxel")
    return shape


def read_nifti(path: Path, header: HeaderChoice) -> Image:
    """A 3-D NIfTI image; a fourth dimension of one volume is dropped.

    Raises:
        InputError: damaged, not 3-D, not scalar.
        GeometryError: a header that contradicts itself or is sheared.
    """
    image = open_nifti(path)
    shape = _used_shape(path, image)
    if len(shape) == 4:
        raise InputError(f"{path}: a 4-D series of {shape[3]} volumes; expected one 3-D volume, take one out first")
    grid = nifti_grid(path, image, header)
    return Image(read_voxels(path, image).reshape(grid.shape), grid, str(path))


def read_nifti_series(path: Path, header: HeaderChoice) -> Series:
    """A 4-D NIfTI series (or a 3-D one as a series of one); errors as :func:`read_nifti`."""
    image = open_nifti(path)
    _used_shape(path, image)
    grid = nifti_grid(path, image, header)
    voxels = read_voxels(path, image).reshape(-1, *grid.shape)
    return Series(voxels, grid, float(image.header["pixdim"][4]), int(image.header["xyzt_units"]) & 56, str(path))


def nifti_header(grid: Grid, path: Path) -> Any:
    """A NIfTI-1 header for voxels on ``grid``: qform = sform, both in scanner coordinates (code 1), mm."""
    if max(grid.size) > _LONGEST:
        raise GeometryError(f"{path}: NIfTI holds at most {_LONGEST} voxels along an axis, found {max(grid.size)}; write .nrrd or .mha")
    ras_from_index: FloatArray = grid.lps_from_index.copy()
    ras_from_index[:3] = ras_from_lps(ras_from_index[:3].T).T
    header = nibabel.Nifti1Header()
    header.set_data_shape(grid.size)
    header.set_zooms(grid.spacing)
    header.set_qform(ras_from_index, _SCANNER)
    header.set_sform(ras_from_index, _SCANNER)
    header.set_xyzt_units("mm")
    return header


def write_nifti_array(path: Path, array: AnyArray, header: Any) -> None:
    """Write ``array``, in NIfTI's axis order reversed (..., z, y, x), under ``header``, in place; gzip level 1, no time stamp."""
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape[::-1])
    header.set_slope_inter(1, 0)
    header["magic"], header["vox_offset"] = b"n+1", 352
    with path.open("wb") as raw:
        if full_suffix(path) == ".nii.gz":
            with gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=raw, mtime=0) as packed:
                packed.write(header.binaryblock + b"\0\0\0\0")
                packed.write(np.ascontiguousarray(array).data)
        else:
            raw.write(header.binaryblock + b"\0\0\0\0")
            raw.write(np.ascontiguousarray(array).data)


def write_nifti(path: Path, image: Image) -> None:
    """A 3-D image, its dtype kept; atomic."""
    voxels, header = _storable(image.voxels, path), nifti_header(image.grid, path)
    with atomic_path(path) as temporary:
        write_nifti_array(temporary, voxels, header)


def write_nifti_series(path: Path, series: Series) -> None:
    """A 4-D series with its time step and unit; atomic."""
    header = nifti_header(series.grid, path)
    header.set_data_shape((*series.grid.size, len(series)))
    header["pixdim"][4] = series.time_step
    header["xyzt_units"] = 2 | series.time_unit
    voxels = _storable(series.voxels, path)
    with atomic_path(path) as temporary:
        write_nifti_array(temporary, voxels, header)


def _storable(voxels: AnyArray, path: Path) -> AnyArray:
    if voxels.dtype.kind not in "iuf" or not 1 <= voxels.dtype.itemsize <= 8 or voxels.dtype == np.float16:
        raise InputError(f"cannot write {path}: NIfTI has no voxel type {voxels.dtype}")
    return voxels.astype(voxels.dtype.newbyteorder("="), copy=False)


def one_line(error: BaseException) -> str:
    """The first non-empty line of an error's message, for use inside a one-line message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:160] if lines else type(error).__name__
