"""Images of SimpleITK and nibabel, to ours and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk

from unireg_cli.errors import InputError
from unireg_cli.io.header import HeaderChoice
from unireg_cli.io.images import read_image
from unireg_cli.io.itk_image import grid_of, sitk_image, voxels_of
from unireg_cli.io.nifti import nifti_grid, nifti_header
from unireg_cli.spatial import Image


def as_image(source: Any, name: str, header: HeaderChoice = HeaderChoice.CHECK) -> Image:
    """Ours from a path, a SimpleITK image, a nibabel NIfTI image, or ours.

    Raises:
        InputError: another kind of object, or an image that is not 3-D and scalar, or has NaN or infinite voxels.
    """
    if isinstance(source, str | Path):
        return read_image(Path(source), header)
    if isinstance(source, Image):
        image = source
    elif isinstance(source, sitk.Image):
        image = _from_sitk(source, name)
    elif isinstance(source, nibabel.Nifti1Image):
        image = _from_nibabel(source, name, header)
    else:
        raise InputError(f"{name}: expected a path, a SimpleITK image, a nibabel NIfTI image or an Image, found {type(source).__name__}")
    if not np.isfinite(image.voxels).all():
        raise InputError(f"{name}: voxels are NaN or infinite; replace them by a background value first")
    return image


def like(image: Image, source: Any) -> Any:
    """``image`` as the kind of object that ``source`` is; ours if that was a path."""
    if isinstance(source, sitk.Image):
        return sitk_image(image.voxels, image.grid)
    if isinstance(source, nibabel.Nifti1Image):
        header = nifti_header(image.grid, Path(image.name))
        return nibabel.Nifti1Image(image.voxels.T, header.get_best_affine(), header, dtype=image.voxels.dtype)  # type: ignore[no-untyped-call]
    return image


def name_of(source: Any, role: str) -> str:
    """What messages and records call an image: its file, or what it is."""
    if isinstance(source, str | Path):
        return str(source)
    return source.name if isinstance(source, Image) else f"{role} ({type(source).__module__.partition('.')[0]} object)"


def _from_sitk(source: Any, name: str) -> Image:
    if source.GetDimension() != 3 or source.GetNumberOfComponentsPerPixel() != 1 or 1 in source.GetSize():
        found = f"size {source.GetSize()} of {source.GetPixelIDTypeAsString()}"
        raise InputError(f"{name}: expected a 3-D image with one number per voxel, found {found}")
    return Image(voxels_of(source), grid_of(source, name), name)


def _from_nibabel(source: Any, name: str, header: HeaderChoice) -> Image:
    shape = source.shape
    if len(shape) != 3 or 1 in shape:
        raise InputError(f"{name}: expected a 3-D image with one number per voxel, found shape {shape}")
    # What was built with an affine alone has it in the header, too: nibabel sees to that.
    grid = nifti_grid(Path(name), source, header)
    return Image(np.ascontiguousarray(np.asanyarray(source.dataobj).T), grid, name)
