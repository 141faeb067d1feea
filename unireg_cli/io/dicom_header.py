"""The header of a result that is written as a DICOM series: whose it is, where it lies, and what it was made of."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from unireg_cli.io.dicom_source import SourceSeries, copied
from unireg_cli.types import Modality

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

logger = logging.getLogger("unireg")

_CT, _MR, _PET, _CAPTURE = (f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2", "4", "128", "7"))
# What a series of single slices is called by DICOM, for what may come as one file of many; anything else is a secondary capture.
_SLICE_CLASSES = {
    **dict.fromkeys(("2", "2.1", "2.2"), _CT),
    **dict.fromkeys(("4", "4.1", "4.4"), _MR),
    **dict.fromkeys(("128", "128.1", "130"), _PET),
}
_MODALITIES = {Modality.CT: ("CT", _CT), Modality.MR: ("MR", _MR)}

# Groups 0010 and 0012 are the patient and the trial.
_PERSON_GROUPS = (0x0010, 0x0012)
_STUDY = (
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName"),
    "InstitutionName",
)
_FRAME = ("FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition")
# Groups 0018 and 0054 are the acquisition; without what was true of the grid that the moving image had.
_ACQUISITION_GROUPS = (0x0018, 0x0054)
_NO_LONGER = (
    *("SliceThickness", "SpacingBetweenSlices", "PatientPosition", "GantryDetectorTilt", "ReconstructionDiameter"),
    *("DataCollectionDiameter", "ReconstructionTargetCenterPatient", "TableHeight", "SpatialResolution"),
    *("AcquisitionMatrix", "InPlanePhaseEncodingDirection", "NumberOfSlices", "ImageIndex"),
)
_SERIES = (
    *("Modality", "Manufacturer", "ManufacturerModelName", "StationName", "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime"),
    *("AcquisitionNumber", "Laterality", "BurnedInAnnotation", "PhotometricInterpretation", "CorrectedImage", "RescaleType"),
    *("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
# Attributes that must be there, if only empty.
_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    *("ReferringPhysicianName", "PositionReferenceIndicator", "Manufacturer", "AcquisitionNumber", "Laterality", "PatientPosition"),
)
_EMPTY_BY_CLASS = {
    _CT: ("KVP",),
    _MR: ("ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength"),
    _CAPTURE: ("PatientOrientation",),
}


def make_header(fixed: SourceSeries | None, moving: SourceSeries | None, modality: Modality) -> Dataset:
    """All that the slices share but for geometry, pixels and UIDs of their own; at least one source is given.

    Person, study and frame of reference are those of ``fixed``, in whose space the result lies; of ``moving`` where that is no DICOM, but
    then the frame is a new one. Acquisition, modality and window are those of ``moving``.
    """
    from pydicom.dataset import Dataset

    made = Dataset()
    # UTF-8: text of two sources, each in its own character set, has a place in it.
    made.SpecificCharacterSet = "ISO_IR 192"
    owner = fixed or moving
    if owner is not None:
        copied(made, owner.header, _STUDY, _PERSON_GROUPS)
    if fixed is not None:
        copied(made, fixed.header, _FRAME)
    if fixed is not None and moving is not None and fixed.value("PatientID") != moving.value("PatientID"):
        logger.warning("the DICOM series of the two images name different patients; the written one names that of %s", fixed.folder)
    if moving is not None:
        copied(made, moving.alike, _SERIES, _ACQUISITION_GROUPS, _NO_LONGER)
    made.SOPClassUID = _slice_class(made, moving, modality)
    _describe(made, fixed, moving)
    _name_sources(made, moving)
    for keyword in (*_EMPTY, *_EMPTY_BY_CLASS.get(made.SOPClassUID, ())):
        if keyword not in made:
            setattr(made, keyword, None)
    return made


def _slice_class(made: Dataset, moving: SourceSeries | None, modality: Modality) -> str:
    """The SOP class, and the modality where the moving image says none."""
    if moving is not None:
        found = moving.images[0][0].removeprefix("1.2.840.10008.5.1.4.1.1.")
        sop_class = _SLICE_CLASSES.get(found, _CAPTURE)
        if "Modality" not in made:
            made.Modality = "OT"
    else:
        made.Modality, sop_class = _MODALITIES.get(modality, ("OT", _CAPTURE))
    if sop_class == _MR and "ScanningSequence" not in made:
        made.ScanningSequence, made.SequenceVariant = "RM", "NONE"
    if sop_class == _CAPTURE:
        made.ConversionType = "WSD"
    return sop_class


def _describe(made: Dataset, fixed: SourceSeries | None, moving: SourceSeries | None) -> None:
    """In words and codes that this is a derived series, of what, and by what."""
    flavour = {_CT: "AXIAL", _MR: "OTHER"}.get(made.SOPClassUID)
    before = None if moving is None else moving.value("ImageType")
    # A single value comes as a text, not as a list of one.
    kind = [] if before is None or isinstance(before, str) else list(before)[2:]
    made.ImageType = ["DERIVED", "SECONDARY", *(kind or ([flavour] if flavour else []))]
    name = "" if moving is None else str(moving.value("SeriesDescription", ""))
    made.SeriesDescription = f"{name[: 64 - len(' (registered)')]} (registered)".strip()
    made.SeriesNumber = 1000 + (0 if moving is None else int(moving.value("SeriesNumber", 0)))
    onto = "the grid of another image" if fixed is None else f"the grid of series {fixed.value('SeriesInstanceUID')}"
    made.DerivationDescription = f"Registered and resampled onto {onto} by unireg {version('unireg')}"
    made.DerivationCodeSequence = [_code("113085", "Spatial resampling")]
    made.ContributingEquipmentSequence = [*made.get("ContributingEquipmentSequence", ()), _equipment()]


def _equipment() -> Dataset:
    """This program, beside the devices that contributed before."""
    from pydicom.dataset import Dataset

    here = Dataset()
    here.PurposeOfReferenceCodeSequence = [_code("109103", "Modifying Equipment")]
    here.Manufacturer = here.ManufacturerModelName = "unireg"
    here.SoftwareVersions = version("unireg")
    return here


def _name_sources(made: Dataset, moving: SourceSeries | None) -> None:
    """The moving slices as sources, and their series under this study or, if it is of another one, under that."""
    from pydicom.dataset import Dataset

    if moving is None:
        return
    made.SourceImageSequence = _references(moving.images, place_kept="NO")
    series = Dataset()
    series.ReferencedInstanceSequence = _references(moving.images)
    series.SeriesInstanceUID = moving.value("SeriesInstanceUID")
    study = moving.value("StudyInstanceUID")
    if study == made.get("StudyInstanceUID"):
        made.ReferencedSeriesSequence = [series]
    else:
        other = Dataset()
        other.ReferencedSeriesSequence = [series]
        other.StudyInstanceUID = study
        made.StudiesContainingOtherReferencedInstancesSequence = [other]


def _references(images: Iterable[tuple[str, str]], place_kept: str | None = None) -> Sequence[Dataset]:
    from pydicom.dataset import Dataset

    items = []
    for sop_class, instance in images:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        if place_kept is not None:
            item.SpatialLocationsPreserved = place_kept
        items.append(item)
    return items


def _code(value: str, meaning: str) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
