"""ITK's text (.tfm, .txt) and Matlab (.mat) transform files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unireg_cli.errors import TransformFileError
from unireg_cli.io.parts import Part, chain_from_parts, parts_of_chain
from unireg_cli.spatial import Affine, Chain
from unireg_cli.types import FloatArray

_TEXT_HEAD = "#Insight Transform File"
# A text file of this many characters is a field written as text: readable, but nobody's intention.
_LONGEST_TEXT = 500_000_000


def read_text(path: Path) -> Chain:
    """An ITK text transform, composites included.

    Raises:
        TransformFileError: no such text, damaged, or of an unsupported kind.
    """
    if path.stat().st_size > _LONGEST_TEXT:
        raise TransformFileError(f"{path}: {path.stat().st_size / 1e6:.0f} MB are no text transform; expected one of a few lines")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TransformFileError(f"{path}: not a text file; expected an ITK transform beginning with {_TEXT_HEAD!r}") from error
    if not lines or not lines[0].startswith(_TEXT_HEAD):
        raise TransformFileError(f"{path}: not an ITK transform, the first line should begin with {_TEXT_HEAD!r}")
    tags: list[tuple[str, str]] = []
    for line in lines:
        if line.strip() and not line.startswith("#"):
            tag, colon, value = line.partition(":")
            if not colon:
                raise TransformFileError(f"{path}: damaged ITK transform, a line without a colon: {line[:60]!r}")
            tags.append((tag.strip(), value.strip()))
    return chain_from_parts(_parts_of_tags(tags, path), str(path))


def _parts_of_tags(tags: list[tuple[str, str]], path: Path) -> list[Part]:
    entries: list[dict[str, str]] = []
    for tag, value in tags:
        if tag == "Transform":
            entries.append({"Transform": value})
        elif tag in ("Parameters", "FixedParameters") and entries:
            entries[-1][tag] = value
        else:
            raise TransformFileError(f"{path}: damaged ITK transform, unexpected line {tag!r}")
    try:
        return [Part(entry["Transform"], _floats(entry, "FixedParameters"), _floats(entry, "Parameters")) for entry in entries]
    except ValueError as error:
        raise TransformFileError(f"{path}: damaged ITK transform, a parameter is no number ({error})") from error


def _floats(entry: dict[str, str], tag: str) -> FloatArray:
    return np.array(entry.get(tag, "").split(), np.float64)


def read_mat(path: Path) -> Chain:
    """ITK's Matlab (level 4) transform as ANTs writes its 0GenericAffine.mat.

    Raises:
        TransformFileError: no such file, damaged, or of an unsupported kind.
    """
    from scipy.io import loadmat

    try:
        found = {name: np.asarray(value).ravel() for name, value in loadmat(path, appendmat=False).items() if not name.startswith("__")}
    # scipy's reader of a damaged file fails in whatever way the damage leads it to.
    except Exception as error:
        raise TransformFileError(f"{path}: not a readable ITK .mat transform ({' '.join(str(error).split())[:120]})") from error
    fixed = found.pop("fixed", np.empty(0))
    kinds = [name for name, value in found.items() if "Transform" in name and value.dtype.kind == "f"]
    if len(kinds) != 1 or len(found) != 1:
        raise TransformFileError(f"{path}: expected one ITK transform and 'fixed', found the variables {', '.join(found)[:120] or 'none'}")
    return chain_from_parts([Part(kinds[0], fixed, found[kinds[0]])], str(path))


def write_mat(path: Path, affine: Affine) -> None:
    """``affine`` as antsRegistration's 0GenericAffine.mat; ``path`` is written in place."""
    from scipy.io import savemat

    # Not simplified away: the identity is an affine too.
    (part,) = parts_of_chain(Chain((affine,)))
    with path.open("wb") as stream:
        savemat(stream, {part.type_name: part.parameters[:, None], "fixed": part.fixed[:, None]}, format="4")
