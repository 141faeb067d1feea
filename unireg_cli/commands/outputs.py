"""The files of one run: named before it starts, checked, and made to appear together."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from unireg_cli.commands.bids_files import plan_bids
from unireg_cli.errors import InputError, UsageError
from unireg_cli.io.images import check_output
from unireg_cli.io.transforms import transform_paths
from unireg_cli.options import RegisterOptions


def plan_outputs(options: RegisterOptions) -> dict[str, Path]:
    """Name -> path of every file that the run will write; ``record``, the JSON, is the last one to appear.

    Raises:
        UsageError: a name of the user's own in a format that cannot be written.
    """

    plan = plan_bids(options) if options.bids is not None else _plan_by_prefix(options)
    record = plan.pop("record")
    if options.picture is not None:
        plan["picture"] = options.picture
    if options.dicom_out is not None:
        plan["dicom"] = options.dicom_out
    for number, extra in enumerate(options.also, 1):
        check_output(extra.output)
        plan[f"also_{number}"] = extra.output
    return plan | {"record": record}


def _plan_by_prefix(options: RegisterOptions) -> dict[str, Path]:
    def named(ending: str) -> Path:
        return options.output.with_name(options.output.name + ending)

    plan = {"warped": named("Warped.nii.gz"), **transform_paths(options.output, options.transform_format)}
    if options.inverse_warped:
        plan["inverse_warped"] = named("InverseWarped.nii.gz")
    if options.jacobian:
        plan["jacobian"] = named("Jacobian.nii.gz")
    if options.log_jacobian:
        plan["log_jacobian"] = named("LogJacobian.nii.gz")
    if options.report:
        plan["report"] = named("report.html")
    return plan | {"record": named(".json")}


def check_inputs(inputs: Iterable[Path]) -> None:
    """Every input is there.

    Raises:
        InputError: one is not.
    """
    for path in inputs:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; check the spelling and the current folder")


def check_plan(options: RegisterOptions, outputs: Iterable[Path], *, overwrite: bool) -> None:
    """As :func:`check_outputs`, for all that a registration writes; with ``bids`` missing folders are made later.

    Raises:
        UsageError: also if a DICOM series is asked for and there is nothing to make one from.
    """
    if options.dicom_out is not None:
        check_dicom(options.dicom_out, (options.fixed, options.moving))
    check_outputs(outputs, options.inputs, overwrite=overwrite, series=options.dicom_out, root=options.bids)


def check_dicom(folder: Path, sources: Iterable[Path]) -> None:
    """Raise UsageError if no DICOM series can be written: no program for it, or none to take patient and study from."""
    from unireg_cli.io.dicom_source import require_pydicom

    require_pydicom()
    if not any(path.is_dir() for path in sources):
        names = " nor ".join(str(path) for path in sources)
        raise UsageError(f"--dicom-out {folder}: neither {names} is a DICOM folder, from which patient and study could be taken")


def check_outputs(
    outputs: Iterable[Path], inputs: Iterable[Path], *, overwrite: bool, series: Path | None = None, root: Path | None = None
) -> None:
    """Every output can be written, is named once, and destroys nothing that is not meant to be.

    Args:
        outputs: files, and the folder ``series`` if there is one.
        inputs: what must not be among them.
        overwrite: existing ones may be replaced.
        series: a folder that is written as a whole.
        root: below it, missing folders will be made.

    Raises:
        UsageError: a folder that is missing or not writable, an output that exists (unless ``overwrite``), is a folder,
            is named twice, or is also an input; a folder for a series that holds something else.
    """
    finals, sources = list(outputs), {path.resolve() for path in inputs}
    resolved = [path.resolve() for path in finals]
    for path, place in zip(finals, resolved, strict=True):
        if place in sources:
            raise UsageError(f"{path} is an input and would be overwritten; choose another output name")
        if resolved.count(place) > 1:
            raise UsageError(f"{path} would be written twice; give each output its own name")
        if path == series:
            _check_series(path, [other for other in resolved if place in other.parents])
        elif path.is_dir():
            raise UsageError(f"{path} is a folder; choose another output name")
    for folder in dict.fromkeys(path.parent for path in finals):
        _check_folder(_nearest(folder, root))
    existing = [path for path in finals if is_taken(path)]
    if existing and not overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise UsageError(f"{existing[0]} exists{more}; choose another output name or allow it with --overwrite")


def is_taken(path: Path) -> bool:
    """True if there is something that an output would replace; an empty folder is nothing."""
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def _check_series(folder: Path, inside: Sequence[Path]) -> None:
    from unireg_cli.io.dicom_series import is_our_series

    if inside:
        raise UsageError(f"{inside[0]} lies in the folder of --dicom-out, which holds nothing but the series; choose another one")
    if folder.exists() and not (folder.is_dir() and is_our_series(folder)):
        raise UsageError(f"--dicom-out {folder} holds other things than a series written before; choose another folder")


def _nearest(folder: Path, root: Path | None) -> Path:
    """The folder, or the closest one above it that is there, if it is to be made."""
    if root is None or (folder != root and root not in folder.parents):
        return folder
    return next((place for place in (folder, *folder.parents) if place.exists()), folder)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"output folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"output folder {folder} is not writable; choose another one or change its permissions")


@contextmanager
def staged(finals: Iterable[Path]) -> Iterator[Mapping[Path, Path]]:
    """Final path -> the path to write to meanwhile; all are renamed at the end, none if anything fails.

    The meantime is a hidden folder beside each final file, so that a rename never crosses a file system and a killed
    run leaves either the old complete file or the new one.

    Raises:
        UsageError: a folder that turns out not to be writable.
        RuntimeError: a promised file was not written.
    """
    folders: dict[Path, Path] = {}
    try:
        for final in finals:
            if final.parent not in folders:
                folders[final.parent] = _hidden_folder(final.parent)
        paths = {final: folders[final.parent] / final.name for final in finals}
        yield paths
        missing = [final.name for final, path in paths.items() if not path.exists()]
        if missing:
            raise RuntimeError(f"promised but not written: {', '.join(missing)}")
        for final, path in paths.items():
            if final.is_dir():
                # A folder can take the place of an empty one only: the old one steps aside, and goes with the hidden folder.
                final.replace(path.with_name(f"{path.name}.old"))
            path.replace(final)
    finally:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)


def _hidden_folder(parent: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=".unireg-", dir=parent))
    except OSError as error:
        raise UsageError(f"output folder {parent} is not writable ({error.strerror}); choose another one") from error
