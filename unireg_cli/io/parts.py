# SimpleITK carries no annotations.
# mypy: disable-error-code="no-untyped-call"
"""ITK transforms as files hold them: a type name, fixed parameters, parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from unireg_cli.errors import GeometryError, TransformFileError
from unireg_cli.io.header import grid_from_matrix
from unireg_cli.io.itk_image import itk_line
from unireg_cli.spatial import Affine, Chain, DisplacementField, Transform
from unireg_cli.types import AnyArray

_TYPE_NAME = re.compile(r"(?P<kind>\w+?)(_(?P<precision>double|float)_(?P<source>\d+)_(?P<target>\d+))?$")

# Everything linear that ITK's own tools and ANTs write; SimpleITK knows how each one's parameters make a matrix.
_LINEAR: dict[str, Callable[[], Any]] = {
    "AffineTransform": lambda: sitk.AffineTransform(3),
    "MatrixOffsetTransformBase": lambda: sitk.AffineTransform(3),
    "IdentityTransform": lambda: sitk.Transform(3, sitk.sitkIdentity),
    "TranslationTransform": lambda: sitk.TranslationTransform(3),
    "Euler3DTransform": sitk.Euler3DTransform,
    "VersorTransform": sitk.VersorTransform,
    "VersorRigid3DTransform": sitk.VersorRigid3DTransform,
    "Similarity3DTransform": sitk.Similarity3DTransform,
    "ScaleTransform": lambda: sitk.ScaleTransform(3),
    "ScaleVersor3DTransform": sitk.ScaleVersor3DTransform,
    "ScaleSkewVersor3DTransform": sitk.ScaleSkewVersor3DTransform,
    "ComposeScaleSkewVersor3DTransform": sitk.ComposeScaleSkewVersor3DTransform,
}
_FIELD = "DisplacementFieldTransform"
_COMPOSITE = "CompositeTransform"


@dataclass(frozen=True, slots=True)
class Part:
    """One transform of an ITK file; a composite's head has a type name and no numbers.

    ``parameters`` of a displacement field are its vectors in mm, components interleaved, x fastest; ``fixed`` its
    size, origin, spacing (3 each) and direction (9, row by row).
    """

    type_name: str
    fixed: AnyArray
    parameters: AnyArray


def chain_from_parts(parts: Sequence[Part], name: str) -> Chain:
    """The chain of a file's parts: ITK applies the last transform of a composite's queue to a point first.

    Raises:
        TransformFileError: nothing there, several transforms without a composite head, or a part that is unsupported,
            damaged, not 3-D, or singular.
    """
    if not parts:
        raise TransformFileError(f"{name}: the file holds no transform")
    if _kind(parts[0], name) == _COMPOSITE:
        parts = parts[1:]
    elif len(parts) > 1:
        kinds = ", ".join(part.type_name for part in parts)
        raise TransformFileError(f"{name}: {len(parts)} transforms ({kinds}) without a composite that gives their order; split the file")
    return Chain(tuple(_step(part, name) for part in reversed(parts)))


def _kind(part: Part, name: str) -> str:
    match = _TYPE_NAME.match(part.type_name)
    if match is None:
        raise TransformFileError(f"{name}: {part.type_name[:80]!r} is no ITK transform type")
    if match["source"] and (match["source"], match["target"]) != ("3", "3"):
        raise TransformFileError(f"{name}: expected a 3-D transform, found {part.type_name}")
    return match["kind"]


def _step(part: Part, name: str) -> Transform:
    kind = _kind(part, name)
    # ITK's smoothing variants of the field transform store nothing more than the field.
    if kind.endswith(_FIELD) and not kind.startswith("BSpline"):
        return _field(part, name)
    if kind not in _LINEAR:
        raise TransformFileError(
            f"{name}: transform type {part.type_name} is not supported; convert it to an affine or a displacement field"
        )
    return _affine(part, _LINEAR[kind](), name)


def _affine(part: Part, transform: Any, name: str) -> Affine:
    try:
        if len(part.fixed):
            transform.SetFixedParameters([float(v) for v in part.fixed])
        if transform.GetTransformEnum() != sitk.sitkIdentity:
            transform.SetParameters([float(v) for v in part.parameters])
    except RuntimeError as error:
        raise TransformFileError(f"{name}: damaged parameters of {part.type_name} ({itk_line(error)})") from error
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(axis)) - origin for axis in np.eye(3).tolist()]
    try:
        return Affine.from_parts(np.stack(columns, axis=1), origin)
    except TransformFileError as error:
        raise TransformFileError(f"{name}: {error}") from error


def _field(part: Part, name: str) -> DisplacementField:
    fixed = np.asarray(part.fixed, np.float64)
    if fixed.shape != (18,):
        raise TransformFileError(f"{name}: a 3-D displacement field needs 18 fixed parameters, found {fixed.size}")
    size = [int(n) for n in fixed[:3]]
    if min(size) < 1 or part.parameters.size != 3 * size[0] * size[1] * size[2]:
        raise TransformFileError(f"{name}: a displacement field of size {size} with {part.parameters.size} parameters; the file is damaged")
    matrix = np.eye(4)
    matrix[:3, :3] = fixed[9:].reshape(3, 3) * fixed[6:9]
    matrix[:3, 3] = fixed[3:6]
    try:
        grid = grid_from_matrix(size, matrix, name, fixed[6:9].tolist())
        return DisplacementField(np.asarray(part.parameters, np.float32).reshape(*size[::-1], 3), grid)
    except GeometryError as error:
        raise TransformFileError(str(error)) from error
    except TransformFileError as error:
        raise TransformFileError(f"{name}: {error}") from error


def parts_of_chain(chain: Chain) -> list[Part]:
    """The queue of an ITK composite, without its head, that does what ``chain`` does; identity becomes an affine.

    Types name the precision in which their numbers are stored: affines double, fields float.
    """
    steps = chain.simplified().steps or (Affine.identity(),)
    return [_part(step) for step in reversed(steps)]


def _part(step: Transform) -> Part:
    if isinstance(step, Affine):
        parameters = np.concatenate((step.matrix[:3, :3].ravel(), step.matrix[:3, 3]))
        return Part("AffineTransform_double_3_3", np.zeros(3), parameters)
    grid = step.grid
    fixed = np.array([*grid.size, *grid.origin, *grid.spacing, *grid.direction], np.float64)
    return Part("DisplacementFieldTransform_float_3_3", fixed, step.vectors_mm.ravel())
