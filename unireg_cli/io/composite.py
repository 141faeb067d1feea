"""ITK's HDF5 transform files."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from unireg_cli.errors import TransformFileError
from unireg_cli.io.parts import Part, chain_from_parts, parts_of_chain
from unireg_cli.spatial import Chain
from unireg_cli.types import AnyArray

# ITK before 4.14 misspelled the names of its data sets, and reads either spelling since.
_PARAMETERS = ("TransformParameters", "TranformParameters")
_FIXED = ("TransformFixedParameters", "TranformFixedParameters")
_CHUNK = 1 << 18
_LEVEL = 1


def read_h5(path: Path) -> Chain:
    """A composite or a single transform, in single or double precision, as ITK, SimpleITK and ANTs write them.

    Raises:
        TransformFileError: no ITK transform file, damaged, or of an unsupported kind.
    """
    try:
        with h5py.File(path, "r") as file:
            group = file.get("TransformGroup")
            if not isinstance(group, h5py.Group):
                raise TransformFileError(f"{path}: an HDF5 file without ITK's TransformGroup; expected an ITK transform")
            parts = [_read_part(group[key]) for key in sorted(group, key=int)]
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise TransformFileError(f"{path}: not a readable ITK transform in HDF5, or damaged ({reason})") from error
    return chain_from_parts(parts, str(path))


def _read_part(group: Any) -> Part:
    name = group["TransformType"][0]
    return Part(name.decode() if isinstance(name, bytes) else str(name), _numbers(group, _FIXED), _numbers(group, _PARAMETERS))


def _numbers(group: Any, names: tuple[str, str]) -> Any:
    found = next((group[name] for name in names if name in group), None)
    return np.empty(0) if found is None else found[()]


def write_h5(path: Path, chain: Chain) -> None:
    """A composite that SimpleITK.ReadTransform and antsApplyTransforms read; ``path`` is written in place.

    The field is stored float32 (its type name says so; ITK converts on reading), shuffled and deflated. Call with a chain
    that went through :func:`unireg_cli.io.transforms.as_written`, or it hardly shrinks.
    """
    text = h5py.string_dtype("ascii")
    with h5py.File(path, "w") as file:
        about = {"ITKVersion": "5.4.0", "HDFVersion": h5py.version.hdf5_version, "OSName": "unireg", "OSVersion": version("unireg")}
        for name, value in about.items():
            file.create_dataset(name, data=np.array([value], object), dtype=text)
        group = file.create_group("TransformGroup")
        group.create_group("0").create_dataset("TransformType", data=np.array(["CompositeTransform_double_3_3"], object), dtype=text)
        for number, part in enumerate(parts_of_chain(chain), start=1):
            _write_part(group.create_group(str(number)), part, text)


def _write_part(group: Any, part: Part, text: Any) -> None:
    group.create_dataset("TransformType", data=np.array([part.type_name], object), dtype=text)
    group.create_dataset(_FIXED[0], data=np.asarray(part.fixed, np.float64))
    if part.parameters.size > 1000:
        _write_packed(group, _PARAMETERS[0], part.parameters)
    else:
        group.create_dataset(_PARAMETERS[0], data=part.parameters)


def _write_packed(group: Any, name: str, numbers: AnyArray) -> None:
    """Shuffled and deflated numbers. HDF5 packs one chunk after the other and holds its lock meanwhile; here all cores pack."""
    chunk = min(_CHUNK, numbers.size)
    starts = range(0, numbers.size, chunk)
    packing = {"chunks": (chunk,), "compression": "gzip", "compression_opts": _LEVEL, "shuffle": True}
    dataset = group.create_dataset(name, numbers.shape, numbers.dtype, **packing)

    def packed(start: int) -> bytes:
        # The last chunk is a whole one too.
        part = np.zeros(chunk, numbers.dtype)
        own = numbers[start : start + chunk]
        part[: len(own)] = own
        # HDF5's shuffle: the first byte of every number, then the second of every number, and so on.
        return zlib.compress(part.view(np.uint8).reshape(chunk, -1).T.tobytes(), _LEVEL)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for start, data in zip(starts, pool.map(packed, starts), strict=True):
            dataset.id.write_direct_chunk((start,), data)
