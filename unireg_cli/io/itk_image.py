# SimpleITK carries no annotations.
# mypy: disable-error-code="no-untyped-call"
"""NRRD and MetaImage files, read and written by SimpleITK."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from unireg_cli.errors import InputError
from unireg_cli.io.atomic import atomic_path
from unireg_cli.io.header import HeaderChoice, grid_from_matrix
from unireg_cli.io.nifti import require_memory
from unireg_cli.spatial import Grid, Image
from unireg_cli.types import AnyArray

# ITK writes its warnings straight to stderr; a command that fails says one line, ours.
sitk.ProcessObject.SetGlobalWarningDisplay(False)

# Types that ITK's MetaImage and NRRD writers hold and SimpleITK reads back as they were.
_STORABLE = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


def read_itk(path: Path, header: HeaderChoice) -> Image:
    """A 3-D scalar image; these formats hold one matrix, so ``header`` has nothing to decide.

    Raises:
        InputError: damaged, not 3-D, not scalar.
        GeometryError: a sheared or impossible matrix.
    """
    del header
    reader = read_information(path)
    if reader.GetNumberOfComponents() != 1:
        raise InputError(f"{path}: expected one number per voxel, found {reader.GetNumberOfComponents()} components")
    image = execute(reader, path)
    return Image(voxels_of(image), grid_of(image, str(path)), str(path))


def read_information(path: Path) -> Any:
    """A SimpleITK reader that has read the header of a 3-D image and found its voxels to be numbers that fit into memory."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path}: not a readable {path.suffix.lower()} image ({itk_line(error)})") from error
    size = reader.GetSize()
    words = f"{path}: the header declares {'x'.join(map(str, size))} voxels"
    if len(size) == 2 or (len(size) == 3 and 1 in size):
        raise InputError(f"{path}: a 2-D image ({'x'.join(map(str, size))} voxels); only 3-D volumes can be registered")
    if len(size) != 3:
        raise InputError(f"{words}: a {len(size)}-D image; expected one 3-D volume")
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if "complex" in kind:
        raise InputError(f"{path}: expected one real number per voxel, found {kind}")
    bytes_each = next((int(bits) // 8 for bits in ("64", "32", "16") if bits in kind), 1)
    declared = size[0] * size[1] * size[2] * reader.GetNumberOfComponents() * bytes_each
    require_memory(declared, words)
    _check_stored(path, declared, words)
    return reader


def _check_stored(path: Path, declared: int, words: str) -> None:
    """Refuse a .mha shorter than its header says: ITK would print about it and then fail with an error of its own."""
    with path.open("rb") as stream:
        head = stream.read(65536)
    text, local, rest = head.partition(b"ElementDataFile = LOCAL")
    packed = re.search(rb"CompressedDataSize = (\d+)", text)
    if not local or (b"CompressedData = True" in text and not packed):
        return
    expected = int(packed[1]) if packed else declared
    stored = path.stat().st_size - (len(head) - len(rest)) - rest.find(b"\n") - 1
    if stored < expected:
        raise InputError(f"{words} ({expected} bytes in the file), found {stored}: truncated, or the header is damaged")


def execute(reader: Any, path: Path) -> Any:
    """The SimpleITK image; RuntimeError of ITK turned into InputError."""
    try:
        return reader.Execute()
    except (RuntimeError, MemoryError) as error:
        raise InputError(f"{path}: the voxels cannot be read, the file is truncated or damaged ({itk_line(error)})") from error


def voxels_of(image: Any) -> AnyArray:
    """A copy of the voxels, (D, H, W) or (D, H, W, components)."""
    return np.asarray(sitk.GetArrayFromImage(image))


def grid_of(image: Any, name: str) -> Grid:
    """The grid of a 3-D SimpleITK image."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return grid_from_matrix(image.GetSize(), matrix, name, image.GetSpacing())


def sitk_image(voxels: AnyArray, grid: Grid, *, vectors: bool = False) -> Any:
    """A SimpleITK image of voxels (D, H, W), or of (D, H, W, components) if ``vectors``."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels), isVector=vectors)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


def write_itk(path: Path, image: Image) -> None:
    """A 3-D image as compressed NRRD or MetaImage, its dtype kept."""
    if image.voxels.dtype.name not in _STORABLE:
        raise InputError(f"cannot write {path}: {path.suffix} has no voxel type {image.voxels.dtype}")
    with atomic_path(path) as temporary:
        try:
            sitk.WriteImage(sitk_image(image.voxels, image.grid), str(temporary), useCompression=True, compressionLevel=1)
        except RuntimeError as error:
            raise InputError(f"cannot write {path}: {itk_line(error)}") from error


def itk_line(error: BaseException) -> str:
    """The reason in an ITK exception, without source file names and addresses."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = next((line for line in lines if "ITK ERROR" in line), lines[-1] if lines else type(error).__name__)
    return reason.rpartition("): ")[2].removeprefix("ITK ERROR: ").removeprefix("sitk::ERROR: ")[:160]
