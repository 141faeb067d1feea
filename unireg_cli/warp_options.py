"""What was asked of one ``unireg warp``, checked and frozen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unireg_cli.errors import UsageError
from unireg_cli.io.header import HeaderChoice
from unireg_cli.io.points import PointSpace
from unireg_cli.types import Interpolation
from unireg_cli.words import TransformSpec, Words, as_path, choice, interpolation


@dataclass(frozen=True, slots=True)
class WarpOptions:
    """One image, series or point list through a chain of transform files.

    Raises:
        UsageError: options that contradict each other, or that would do nothing.
    """

    output: Path | None
    transforms: tuple[TransformSpec, ...]
    """In antsApplyTransforms order."""
    image: Path | None = None
    reference: Path | None = None
    dicom_out: Path | None = None
    """Folder for the warped image as a DICOM series, beside ``output`` or instead of it."""
    points: Path | None = None
    space: PointSpace | None = None
    moving_grid: Path | None = None
    invert: bool = False
    interpolation: Interpolation | None = None
    default_value: float | None = None
    header: HeaderChoice = HeaderChoice.CHECK
    threads: int | None = None

    def __post_init__(self) -> None:
        if not self.transforms:
            raise UsageError("no transform given; name at least one with -t/--transform")
        if self.output is None and self.dicom_out is None:
            raise UsageError("nowhere to write to; name the result with -o/--output, or a folder for a DICOM series with --dicom-out")
        if self.points is None:
            self._check_image()
        else:
            self._check_points()

    def _check_image(self) -> None:
        if self.image is None:
            raise UsageError("nothing to warp: give an image, or points with --points")
        if self.reference is None:
            raise UsageError("the grid to warp onto is missing: name an image on it with -r/--reference")
        if self.space is not None or self.moving_grid is not None:
            raise UsageError("--space and --moving-grid belong to --points; leave them out for an image")

    def _check_points(self) -> None:
        if self.image is not None:
            raise UsageError(f"give either an image ({self.image}) or --points ({self.points}), not both; run warp twice for both")
        if self.interpolation is not None or self.default_value is not None:
            raise UsageError("--interpolation and --default-value belong to images; leave them out for --points")
        if self.dicom_out is not None:
            raise UsageError("--dicom-out belongs to images; name the table of points with -o/--output")
        if self.space is None:
            raise UsageError("say in which coordinates the points are: --space lps, --space ras or --space voxel")
        if self.space is PointSpace.VOXEL and (self.reference is None or self.moving_grid is None):
            raise UsageError(
                "--space voxel counts voxels of two images: name that of the points with --moving-grid, that of the result with --reference"
            )
        if self.space is not PointSpace.VOXEL and self.moving_grid is not None:
            raise UsageError("--moving-grid is for --space voxel; leave it out for points in mm")

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The file and the folder that are written."""
        return tuple(path for path in (self.output, self.dicom_out) if path is not None)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Every file or folder that is read."""
        named = (self.image, self.points, self.reference, self.moving_grid)
        return (*(path for path in named if path is not None), *(spec.path for spec in self.transforms))

    @classmethod
    def from_words(cls, words: Words) -> WarpOptions:
        """From the flags of ``unireg warp``, by name with underscores."""
        asked = words.get("interpolation")
        space = words.get("space")
        return cls(
            output=as_path(words.get("output")),
            dicom_out=as_path(words.get("dicom_out")),
            transforms=tuple(TransformSpec.parse(str(text)) for text in words.get("transform") or ()),
            image=as_path(words.get("image")),
            reference=as_path(words.get("reference")),
            points=as_path(words.get("points")),
            space=None if space is None else choice(PointSpace, space, "--space"),
            moving_grid=as_path(words.get("moving_grid")),
            invert=bool(words.get("invert")),
            interpolation=None if asked is None else interpolation(asked),
            default_value=words.get("default_value"),
            header=choice(HeaderChoice, words.get("header") or "check", "--header"),
            threads=words.get("threads"),
        )
