"""Transforms by file name: read any, write a result's forward and inverse."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from unireg_cli.errors import TransformFileError, UsageError
from unireg_cli.io.atomic import atomic_path, full_suffix
from unireg_cli.io.composite import read_h5, write_h5
from unireg_cli.io.field_image import read_itk_field, read_nifti_field, write_nifti_field
from unireg_cli.io.images import check_file
from unireg_cli.io.linear import read_mat, read_text, write_mat
from unireg_cli.io.whole_field import forward_field, inverse_field
from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid, Transform
from unireg_cli.types import TransformFormat

# Written displacements are multiples of this: a quarter of a micrometre off at most, and half the bytes after deflation.
_QUANTUM_MM = 2.0**-11
# Largest difference in mm, over a metre, between the inverse's affine and the inverted forward affine.
_INVERSE_AGREES = 1e-3

_READERS: dict[str, Callable[[Path], Chain]] = {
    ".h5": read_h5,
    ".hdf5": read_h5,
    ".mat": read_mat,
    ".tfm": read_text,
    ".txt": read_text,
    ".nii": read_nifti_field,
    ".nii.gz": read_nifti_field,
    ".nrrd": read_itk_field,
    ".nhdr": read_itk_field,
    ".mha": read_itk_field,
    ".mhd": read_itk_field,
}
_NAMES: dict[TransformFormat, dict[str, str]] = {
    TransformFormat.H5: {"forward": "Composite.h5", "inverse": "InverseComposite.h5"},
    TransformFormat.ANTS: {"affine": "0GenericAffine.mat", "warp": "1Warp.nii.gz", "inverse_warp": "1InverseWarp.nii.gz"},
    TransformFormat.NII: {"forward": "Warp.nii.gz", "inverse": "InverseWarp.nii.gz"},
}


def read_transform(path: Path) -> Chain:
    """Any ITK transform file as the chain of steps in the order in which a point passes (fixed -> moving for a forward file).

    Raises:
        InputError: missing, empty or unreadable.
        TransformFileError: of unknown format or kind, damaged, not 3-D, or singular.
    """
    if path.is_dir():
        raise TransformFileError(f"{path}: a folder; expected a transform file ({', '.join(_READERS)})")
    check_file(path)
    suffix = full_suffix(path)
    if suffix not in _READERS:
        raise TransformFileError(f"{path}: unknown transform format {suffix or '(no suffix)'!r}; use one of {', '.join(_READERS)}")
    return _READERS[suffix](path)


def transform_paths(prefix: Path | str, fmt: TransformFormat) -> dict[str, Path]:
    """The files that :func:`write_transforms` will write, by role; ``prefix`` is put before each name as it is.

    Roles: ``forward`` and ``inverse`` (h5, nii); ``affine``, ``warp`` and ``inverse_warp`` (ants).
    """
    return {role: Path(f"{prefix}{name}") for role, name in _NAMES[fmt].items()}


def as_written(chain: Chain) -> Chain:
    """The chain as files will hold it: displacements rounded to 2^-11 mm, at most a quarter of a micrometre away.

    Warp with this, and the image is the one that every reader of the files gets.
    """
    return Chain(tuple(_rounded(step) if isinstance(step, DisplacementField) else step for step in chain.steps))


def _rounded(field: DisplacementField) -> DisplacementField:
    scaled = field.vectors_mm * np.float32(1 / _QUANTUM_MM)
    np.rint(scaled, out=scaled)
    scaled *= np.float32(_QUANTUM_MM)
    return DisplacementField(scaled, field.grid)


def write_transforms(
    prefix: Path | str, fmt: TransformFormat, forward: Chain, inverse: Chain, *, fixed: Grid, moving: Grid
) -> dict[str, Path]:
    """Write a result's two directions under the names of :func:`transform_paths`; all of them appear, or none.

    Args:
        prefix: put before each name.
        fmt: h5 = two ITK composites; ants = antsRegistration's three files; nii = one displacement field a direction.
        forward: fixed -> moving points, LPS mm.
        inverse: moving -> fixed points.
        fixed: the fixed image's grid, which a ``nii`` forward field covers.
        moving: the moving image's grid, which a ``nii`` inverse field covers.

    Raises:
        UsageError: ``ants`` cannot hold the chain (more than a field and an affine).
        InputError: the files cannot be written.
    """
    paths = transform_paths(prefix, fmt)
    writers: dict[str, Callable[[Path], None]]
    if fmt is TransformFormat.ANTS:
        affine, warp, inverse_warp = _ants_parts(forward, inverse)
        writers = {
            "affine": lambda path: write_mat(path, affine),
            "warp": lambda path: write_nifti_field(path, _rounded(warp)),
            "inverse_warp": lambda path: write_nifti_field(path, _rounded(inverse_warp)),
        }
    elif fmt is TransformFormat.NII:
        writers = {
            "forward": lambda path: write_nifti_field(path, _rounded(forward_field(as_written(forward.simplified()), fixed))),
            "inverse": lambda path: write_nifti_field(path, _rounded(inverse_field(as_written(inverse.simplified()), moving))),
        }
    else:
        writers = {
            "forward": lambda path: write_h5(path, as_written(forward)),
            "inverse": lambda path: write_h5(path, as_written(inverse)),
        }
    with ExitStack() as stack:
        for role, path in paths.items():
            writers[role](stack.enter_context(atomic_path(path)))
    return paths


def _ants_parts(forward: Chain, inverse: Chain) -> tuple[Affine, DisplacementField, DisplacementField]:
    """The affine and the two fields of ``forward`` = (field, affine) and ``inverse`` = (inverse affine, inverse field)."""
    warp, affine = _pair(forward.simplified().steps, forward)
    inverse_warp, back = _pair(inverse.simplified().steps[::-1], inverse)
    apart = np.abs(back.after(affine).matrix - np.eye(4)) * [1000, 1000, 1000, 1]
    if apart.max() > _INVERSE_AGREES:
        raise UsageError("the ants format has one affine for both directions, and the inverse's is another; use --transform-format h5")
    return affine, warp, inverse_warp


def _pair(steps: tuple[Transform, ...], chain: Chain) -> tuple[DisplacementField, Affine]:
    fields = [step for step in steps if isinstance(step, DisplacementField)]
    affines = [step for step in steps if isinstance(step, Affine)]
    if len(fields) > 1 or len(affines) > 1 or (len(steps) == 2 and not isinstance(steps[0], DisplacementField)):
        raise UsageError(f"the ants format holds one field and one affine, not {chain.describe()}; use --transform-format h5")
    return fields[0] if fields else _no_displacement(), affines[0] if affines else Affine.identity()


def _no_displacement() -> DisplacementField:
    """Zeros on a tiny grid, the identity everywhere: the names of the files do not depend on the kind of transform."""
    grid = Grid.from_arrays((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    return DisplacementField(np.zeros((2, 2, 2, 3), np.float32), grid)


def apply_commands(
    paths: dict[str, Path], fmt: TransformFormat, fixed: Path | str, moving: Path | str, prefix: Path | str, interpolation: str = "Linear"
) -> dict[str, str]:
    """The antsApplyTransforms command lines, quoted for a shell: ``forward`` brings moving to fixed, ``inverse`` fixed to moving."""
    if fmt is TransformFormat.ANTS:
        forward = [str(paths["warp"]), str(paths["affine"])]
        inverse = [f"[{paths['affine']},1]", str(paths["inverse_warp"])]
    else:
        forward, inverse = [str(paths["forward"])], [str(paths["inverse"])]
    return {
        "forward": _command(moving, fixed, f"{prefix}AntsWarped.nii.gz", interpolation, forward),
        "inverse": _command(fixed, moving, f"{prefix}AntsInverseWarped.nii.gz", interpolation, inverse),
    }


def _command(image: Path | str, reference: Path | str, output: str, interpolation: str, transforms: list[str]) -> str:
    words = ["antsApplyTransforms", "-d", "3", "-i", str(image), "-r", str(reference), "-o", output, "-n", interpolation]
    for transform in transforms:
        words += ["-t", transform]
    return shlex.join(words)
