"""What the header of a DICOM series says, for a result that is written as a series of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unireg_cli.errors import InputError, UsageError
from unireg_cli.io.dicom import series_files

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True, eq=False)
class SourceSeries:
    """A DICOM series without its pixels."""

    folder: Path
    header: Dataset
    """Attributes of the first slice; text is decoded."""
    alike: Dataset
    """Of these, the ones that every slice has with the same value: they are the series'."""
    images: tuple[tuple[str, str], ...]
    """SOP class and instance UID of each slice, in the order of the stack."""

    def value(self, keyword: str, default: Any = None) -> Any:
        """An attribute of the first slice; the default where it is missing or empty."""
        found = self.header.get(keyword)
        return default if found is None or found == "" else found

    @property
    def rescale(self) -> tuple[float, float] | None:
        """Slope and intercept from stored to physical values; None where slices differ, as in PET."""
        names = ("RescaleSlope", "RescaleIntercept")
        if all(name not in self.header for name in names):
            return 1.0, 0.0
        if any((name in self.header) != (name in self.alike) for name in names):
            return None
        return float(self.value(names[0], 1.0)), float(self.value(names[1], 0.0))


def require_pydicom() -> None:
    """Raise UsageError if DICOM cannot be written: known before any work is done."""
    from importlib.util import find_spec

    if find_spec("pydicom") is None:
        raise UsageError("--dicom-out needs the package pydicom, which is not installed; pip install 'unireg[dicom]'")


def read_source(folder: Path) -> SourceSeries:
    """The header of the one series in ``folder``.

    Raises:
        InputError: no series, several, or a slice that cannot be read.
    """
    import pydicom
    from pydicom.dataset import Dataset
    from pydicom.errors import InvalidDicomError

    headers: list[Dataset] = []
    with lenient():
        for name in series_files(folder):
            try:
                header = pydicom.dcmread(name, stop_before_pixels=True)
                # Text in the file's own character set; the result's is another one.
                header.decode()
            except (OSError, InvalidDicomError, ValueError, NotImplementedError) as error:
                raise InputError(f"{folder}: the header of {Path(name).name} cannot be read ({error})") from error
            headers.append(header)
        first, alike = headers[0], Dataset()
        for element in first:
            if not element.tag.is_private and all(element.tag in other and other[element.tag] == element for other in headers[1:]):
                alike.add(element)
    images = tuple((str(header.get("SOPClassUID", "")), str(header.get("SOPInstanceUID", ""))) for header in headers)
    return SourceSeries(folder, first, alike, images)


@contextmanager
def lenient() -> Iterator[None]:
    """Values that break a rule of DICOM pass as the scanner wrote them: they are not ours to correct, or to stop at."""
    import warnings

    from pydicom import config

    before = config.settings.reading_validation_mode, config.settings.writing_validation_mode
    config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pydicom")
            yield
    finally:
        config.settings.reading_validation_mode, config.settings.writing_validation_mode = before


def copied(target: Dataset, source: Dataset, keywords: Sequence[str] = (), groups: Sequence[int] = (), but: Sequence[str] = ()) -> None:
    """Put the named attributes, and those of whole groups, from one header into another; private ones stay behind."""
    for element in source:
        wanted = element.keyword in keywords or element.tag.group in groups
        if wanted and element.keyword not in but and not element.tag.is_private:
            target.add(element)
