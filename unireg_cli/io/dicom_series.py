"""An image written as a DICOM series: one file a slice, UIDs that follow from the content."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unireg_cli.errors import InputError
from unireg_cli.io.dicom_header import make_header
from unireg_cli.io.dicom_source import SourceSeries, lenient
from unireg_cli.spatial import Grid, Image
from unireg_cli.types import AnyArray, Modality

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

logger = logging.getLogger("unireg")

# UIDs below 2.25 are UUIDs as decimal numbers (PS3.5 B.2) and need no registered root. This one is the name space of ours.
_NAMESPACE = uuid.UUID("6f0f5a2e-5b0c-4a0e-9f35-3a2d3c6e8d11")
_MR = "1.2.840.10008.5.1.4.1.1.4"
_SLICE_NAME = "{:04d}.dcm"


def write_dicom(folder: Path, image: Image, fixed: SourceSeries | None, moving: SourceSeries | None, modality: Modality) -> None:
    """Write slices 0001.dcm, 0002.dcm, ... into ``folder``, which is made; 16 bits a voxel, on the image's grid.

    Stored numbers mean what those of the moving series mean (rescale slope and intercept), unless the values do not fit into them.
    The same result has the same UIDs, and another one has others.

    Args:
        folder: where there is nothing yet.
        image: what to write, (D, H, W).
        fixed: the series in whose space the image lies, if it has one.
        moving: the series of which the image is made, if it has one; at least one of the two.
        modality: of the image, where ``moving`` is none.

    Raises:
        InputError: NaN or infinite voxels; a folder that cannot be written.
    """
    grid, voxels = _right_handed(image)
    stored, slope, intercept = _stored(voxels, moving, image.name)
    with lenient():
        header = make_header(fixed, moving, modality)
        _add_pixel_facts(header, stored, slope, intercept, grid)
        _add_uids(header, stored, grid)
        shared = _Shared.encode(header, (int(element.tag) for element in _slice(header, 0, stored[0], grid)))
        try:
            folder.mkdir()
            for number, plane in enumerate(stored):
                (folder / _SLICE_NAME.format(number + 1)).write_bytes(shared.file(_slice(header, number, plane, grid)))
        except OSError as error:
            raise InputError(f"cannot write {folder}: {error.strerror or error}") from error


def is_our_series(folder: Path) -> bool:
    """True if a folder holds nothing but what :func:`write_dicom` writes, so that it may be replaced as a whole."""
    return all(path.is_file() and path.suffix == ".dcm" and path.stem.isdigit() for path in folder.iterdir())


def _right_handed(image: Image) -> tuple[Grid, AnyArray]:
    """The image with its slices in the order of their normal: a reader of DICOM sorts them so."""
    grid, voxels = image.grid, image.voxels
    if np.linalg.det(grid.cosines) > 0:
        return grid, voxels
    last = grid.lps_from_index @ (0, 0, grid.size[2] - 1, 1)
    turned = Grid.from_arrays(grid.size, grid.spacing, last[:3], grid.cosines * (1, 1, -1))
    return turned, voxels[::-1]


def _stored(voxels: AnyArray, moving: SourceSeries | None, name: str) -> tuple[AnyArray, float, float]:
    """Whole numbers of 16 bits, and the slope and intercept that make them the voxels' values."""
    low, high = float(voxels.min()), float(voxels.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise InputError(f"{name}: NaN or infinite voxels cannot be written as DICOM; replace them by a background value first")
    usual = None if moving is None else moving.rescale
    if usual is None and voxels.dtype.kind in "iu":
        usual = 1.0, 0.0
    scale = usual if usual is not None and _holder(low, high, *usual) else _own_rescale(low, high)
    if moving is not None and moving.rescale not in (None, scale):
        logger.warning("%s: values from %g to %g do not fit the moving series' rescale slope; another one is written", name, low, high)
    holder = _holder(low, high, *scale) or np.dtype(np.uint16)
    numbers = np.empty(voxels.shape, holder.newbyteorder("<"))
    for number, plane in enumerate(voxels):
        numbers[number] = np.rint((plane.astype(np.float64) - scale[1]) / scale[0])
    return numbers, *scale


def _holder(low: float, high: float, slope: float, intercept: float) -> np.dtype[Any] | None:
    """The type of 16 bits that has all stored numbers; None if there is none."""
    if slope == 0 or not np.isfinite((slope, intercept)).all():
        return None
    ends = sorted(round((value - intercept) / slope) for value in (low, high))
    for kind in (np.uint16, np.int16):
        if np.iinfo(kind).min <= ends[0] and ends[1] <= np.iinfo(kind).max:
            return np.dtype(kind)
    return None


def _own_rescale(low: float, high: float) -> tuple[float, float]:
    """Slope and intercept, as their texts in the file read, that spread the values over 16 bits; 0 stays 0 where nothing is negative."""
    from pydicom.valuerep import format_number_as_ds

    bottom = 0.0 if low >= 0 else float(format_number_as_ds(low))
    # The text of a number may be a little less than it.
    slope = float(format_number_as_ds((high - bottom) / 65534)) if high > bottom else 1.0
    return slope, bottom


def _add_pixel_facts(header: Dataset, stored: AnyArray, slope: float, intercept: float, grid: Grid) -> None:
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = header.get("PhotometricInterpretation") or "MONOCHROME2"
    header.Rows, header.Columns = stored.shape[1:]
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit = 15
    header.PixelRepresentation = int(stored.dtype.kind == "i")
    # Slices of MR have no such attributes in the standard; many scanners write them all the same.
    if header.SOPClassUID != _MR or (slope, intercept) != (1.0, 0.0):
        header.RescaleSlope, header.RescaleIntercept = _number(slope), _number(intercept)
        header.RescaleType = header.get("RescaleType") or ("HU" if header.Modality == "CT" else "US")
    elif "RescaleType" in header:
        del header.RescaleType
    header.PixelSpacing = [_number(grid.spacing[1]), _number(grid.spacing[0])]
    header.SliceThickness = _number(grid.spacing[2])
    header.ImageOrientationPatient = [_number(value) for value in grid.cosines[:, :2].T.ravel()]
    if header.Modality == "PT":
        header.NumberOfSlices = len(stored)
    elif header.SOPClassUID == _MR:
        header.SpacingBetweenSlices = _number(grid.spacing[2])


def _add_uids(header: Dataset, stored: AnyArray, grid: Grid) -> None:
    """Series, and where they are missing frame of reference and study, from a digest of all that is written."""
    digest = hashlib.sha256(header.to_json(suppress_invalid_tags=True).encode())
    digest.update(repr(grid).encode())
    digest.update(stored.tobytes())
    header.SeriesInstanceUID = _uid(digest.hexdigest(), "series")
    for keyword in ("FrameOfReferenceUID", "StudyInstanceUID"):
        if not header.get(keyword):
            setattr(header, keyword, _uid(digest.hexdigest(), keyword))


def _uid(digest: str, role: str) -> str:
    return f"2.25.{uuid.uuid5(_NAMESPACE, f'{digest} {role}').int}"


def _slice(shared: Dataset, number: int, plane: AnyArray, grid: Grid) -> Dataset:
    """What one slice has of its own."""
    from pydicom.dataset import Dataset

    own = Dataset()
    own.SOPInstanceUID = _uid(shared.SeriesInstanceUID, f"slice {number}")
    own.InstanceNumber = number + 1
    own.ImagePositionPatient = [_number(value) for value in (grid.lps_from_index @ (0, 0, number, 1))[:3]]
    if shared.Modality == "PT":
        own.ImageIndex = number + 1
    own.add_new("PixelData", "OW", np.ascontiguousarray(plane).tobytes() + b"\0" * (plane.nbytes % 2))
    return own


def _number(value: float) -> str:
    """A decimal string: 16 characters at most, as exact as they allow."""
    from pydicom.valuerep import format_number_as_ds

    return str(format_number_as_ds(float(value) + 0.0))


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all slices have, encoded once: with every slice of the source in each file, that is most of the work."""

    sop_class: str
    own_tags: tuple[int, ...]
    """Tags of what a slice has of its own, in order; one piece before each, and one after the last."""
    pieces: tuple[bytes, ...]

    @classmethod
    def encode(cls, header: Dataset, own_tags: Iterable[int]) -> _Shared:
        """From the header and the tags that each slice will add; a file has them all in ascending order."""
        tags = tuple(sorted(own_tags))
        bounds = [0, *tags, 0xFFFFFFFF]
        return cls(header.SOPClassUID, tags, tuple(_encoded(header[low:high]) for low, high in pairwise(bounds)))

    def file(self, own: Dataset) -> bytes:
        """One slice as the content of a DICOM file, explicit little endian."""
        from pydicom.dataset import FileMetaDataset
        from pydicom.filebase import DicomBytesIO
        from pydicom.filewriter import write_file_meta_info
        from pydicom.uid import UID, ExplicitVRLittleEndian

        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(self.sop_class), own.SOPInstanceUID
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        stream = DicomBytesIO(b"")
        write_file_meta_info(stream, meta)
        parts = [b"\0" * 128 + b"DICM", stream.getvalue(), self.pieces[0]]
        for tag, after in zip(self.own_tags, self.pieces[1:], strict=True):
            parts += [_encoded(own[tag : tag + 1]), after]
        return b"".join(parts)


def _encoded(dataset: Dataset) -> bytes:
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    stream = DicomBytesIO(b"")
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, dataset, parent_encoding="utf8")
    return stream.getvalue()
