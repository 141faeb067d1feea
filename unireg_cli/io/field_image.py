"""Displacement fields stored as images: NIfTI with intent 1007 or 1006, NRRD and MetaImage with three components."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unireg_cli.errors import TransformFileError
from unireg_cli.io.header import HeaderChoice
from unireg_cli.io.itk_image import execute, grid_of, read_information, voxels_of
from unireg_cli.io.nifti import nifti_grid, nifti_header, open_nifti, read_voxels, write_nifti_array
from unireg_cli.io.ras import lps_from_ras
from unireg_cli.spatial import Chain, DisplacementField, Grid
from unireg_cli.types import AnyArray

# NIfTI intents: vectors (what ITK and ANTs write: LPS mm, whatever the file's axes), and displacements (RAS mm by the standard).
_VECTOR, _DISPLACEMENT = 1007, 1006


def read_nifti_field(path: Path) -> Chain:
    """A 5-D NIfTI field (x, y, z, 1, 3) in mm: intent 1007 holds LPS vectors as ITK and ANTs write, 1006 RAS vectors.

    Raises:
        TransformFileError: an ordinary image, or a field of another convention (FSL's, voxels, coordinates).
        InputError: a damaged file or header.
    """
    image = open_nifti(path)
    shape = tuple(int(n) for n in image.header.get_data_shape())
    intent = int(image.header["intent_code"])
    if len(shape) != 5 or shape[3:] != (1, 3) or intent not in (_VECTOR, _DISPLACEMENT):
        found = f"{'x'.join(map(str, shape))} with intent {intent}"
        raise TransformFileError(f"{path}: no ITK displacement field: expected 5-D x,y,z,1,3 with intent {_VECTOR}, found {found}")
    grid = nifti_grid(path, image, HeaderChoice.CHECK)
    vectors = np.moveaxis(read_voxels(path, image).reshape(3, *grid.shape), 0, -1)
    if intent == _DISPLACEMENT:
        vectors = lps_from_ras(vectors)
    return Chain((_field(vectors, grid, path),))


def read_itk_field(path: Path) -> Chain:
    """A NRRD or MetaImage of three components, displacements in LPS mm.

    Raises:
        TransformFileError: not three components.
        InputError: a damaged file or header.
    """
    reader = read_information(path)
    if reader.GetNumberOfComponents() != 3:
        raise TransformFileError(f"{path}: no displacement field: expected 3 components per voxel, found {reader.GetNumberOfComponents()}")
    image = execute(reader, path)
    return Chain((_field(voxels_of(image), grid_of(image, str(path)), path),))


def _field(vectors: AnyArray, grid: Grid, path: Path) -> DisplacementField:
    try:
        return DisplacementField(vectors.astype(np.float32), grid)
    except TransformFileError as error:
        raise TransformFileError(f"{path}: {error}") from error


def write_nifti_field(path: Path, field: DisplacementField) -> None:
    """``field`` as antsRegistration's Warp.nii.gz: 5-D float32, intent 1007, LPS mm, pull-back; ``path`` is written in place."""
    header = nifti_header(field.grid, path)
    header.set_data_shape((*field.grid.size, 1, 3))
    header.set_intent(_VECTOR)
    header["descrip"] = b"displacement, LPS mm, pull-back"
    write_nifti_array(path, np.moveaxis(field.vectors_mm, -1, 0)[:, None], header)
