"""``--bids``: which files a registration writes into a folder of BIDS derivatives, and what stands in their sidecars."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unireg_cli.bids import BidsNames, bids_names
from unireg_cli.errors import UsageError
from unireg_cli.io.atomic import atomic_path, full_suffix
from unireg_cli.options import RegisterOptions
from unireg_cli.types import TransformFormat

_BIDS_VERSION = "1.10.0"
# What BIDS itself has no names for yet; the validator is told to pass it by, as other programs do.
_IGNORED = ("*_xfm.*", "*.html", "*.png")
# Role -> whether it warps fixed to moving, which part of the transform it is, and its ending.
_TRANSFORMS: dict[TransformFormat, dict[str, tuple[bool, str | None, str]]] = {
    TransformFormat.H5: {"forward": (False, None, ".h5"), "inverse": (True, None, ".h5")},
    TransformFormat.ANTS: {
        "affine": (False, "affine", ".mat"),
        "warp": (False, "warp", ".nii.gz"),
        "inverse_warp": (True, "warp", ".nii.gz"),
    },
    TransformFormat.NII: {"forward": (False, None, ".nii.gz"), "inverse": (True, None, ".nii.gz")},
}
_SIDECAR = "_sidecar"


def names_of(options: RegisterOptions) -> BidsNames:
    """The names of a run with ``--bids``."""
    return bids_names(options.bids or Path(), options.fixed, options.moving)


def plan_bids(options: RegisterOptions) -> dict[str, Path]:
    """Role -> path of every file; the record is the sidecar of the warped image, the others have ``ROLE_sidecar``."""
    names = names_of(options)
    plan = {"warped": names.image("warped")}
    for role, (inverse, part, ending) in _TRANSFORMS[options.transform_format].items():
        plan[role] = names.transform(ending, inverse=inverse, part=part)
    if options.inverse_warped:
        plan["inverse_warped"] = names.image(f"{names.there}warped", moved=False)
    if options.jacobian:
        plan["jacobian"] = names.image("jacobian")
    if options.log_jacobian:
        plan["log_jacobian"] = names.image("logjacobian")
    sidecars = {f"{role}{_SIDECAR}": _sidecar(path) for role, path in plan.items() if role != "warped"}
    page = {"report": names.image("warped", ".html")} if options.report else {}
    return {**plan, **sidecars, **page, "record": _sidecar(plan["warped"])}


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name[: len(path.name) - len(full_suffix(path))] + ".json")


def make_dataset(root: Path, folders: Iterable[Path]) -> None:
    """Make the folders, and let ``root`` say that it holds derivatives; what it says already stays.

    Raises:
        UsageError: a folder that cannot be made.
    """
    description = {
        "Name": "Registrations by unireg",
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "unireg", "Version": version("unireg")}],
    }
    try:
        for folder in [root, *folders]:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be made ({error.strerror}); choose another -o") from error
    texts = {"dataset_description.json": json.dumps(description, indent=2) + "\n", ".bidsignore": "\n".join(_IGNORED) + "\n"}
    for name, text in texts.items():
        if not (root / name).exists():
            with atomic_path(root / name) as temporary:
                temporary.write_text(text, encoding="utf-8")


def bids_keys(options: RegisterOptions, role: str) -> dict[str, Any]:
    """What BIDS has to say about one output: what it is, of what it was made, and in which image's space it lies.

    Paths are relative to the derivatives' folder.
    """
    names = names_of(options)
    fixed, moving = (_relative(path, options.bids or Path()) for path in (options.fixed, options.moving))
    texts: Mapping[str, str] = {
        "warped": f"{options.moving.name} resampled once onto the grid of {options.fixed.name}",
        "inverse_warped": f"{options.fixed.name} resampled once onto the grid of {options.moving.name}",
        "jacobian": "Jacobian determinant of the displacement field, without the affine part",
        "log_jacobian": "Natural logarithm of the Jacobian determinant of the displacement field, without the affine part",
        "affine": f"Affine part of the ITK transform that warps images from {names.here} to {names.there}",
        "warp": f"Displacement field of the ITK transform that warps images from {names.here} to {names.there}",
        "inverse_warp": f"Displacement field of the ITK transform that warps images from {names.there} to {names.here}",
        "forward": f"ITK transform that warps images from {names.here} to {names.there}; it maps points the other way",
        "inverse": f"ITK transform that warps images from {names.there} to {names.here}; it maps points the other way",
    }
    back = role in ("inverse", "inverse_warp", "inverse_warped")
    keys: dict[str, Any] = {"Description": texts[role], "Sources": [moving, fixed], "SpatialReference": moving if back else fixed}
    if role == "warped":
        keys |= _stripped(options.moving)
    return keys


def write_sidecars(options: RegisterOptions, places: Mapping[str, Path]) -> None:
    """Write the sidecars among ``places`` (role -> path)."""
    for role, path in places.items():
        if role.endswith(_SIDECAR):
            text = json.dumps(bids_keys(options, role.removesuffix(_SIDECAR)), indent=2, ensure_ascii=False)
            path.write_text(text + "\n", encoding="utf-8")


def _relative(path: Path, root: Path) -> str:
    try:
        return Path(os.path.relpath(path.resolve(), root.resolve())).as_posix()
    except ValueError:
        # Two drives have no way from one to the other.
        return path.resolve().as_posix()


def _stripped(moving: Path) -> dict[str, bool]:
    """SkullStripped, if the moving image's own sidecar says it."""
    try:
        value = json.loads(_sidecar(moving).read_text("utf-8")).get("SkullStripped")
    except (OSError, ValueError, AttributeError):
        return {}
    return {"SkullStripped": value} if isinstance(value, bool) else {}
