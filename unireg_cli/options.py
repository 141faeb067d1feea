"""What was asked of one run, checked and frozen: the part of a command line that goes into the result's JSON."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from unireg_cli.errors import UsageError
from unireg_cli.io.header import HeaderChoice
from unireg_cli.io.points import PointSpace
from unireg_cli.registration.settings import Settings
from unireg_cli.types import Effort, Interpolation, Modality, Similarity, Start, TransformFormat, TransformKind

_Word = TypeVar("_Word", bound=StrEnum)
Words = Mapping[str, Any]

_ANTS_NAMES = {
    Interpolation.NEAREST: "NearestNeighbor",
    Interpolation.LINEAR: "Linear",
    Interpolation.BSPLINE: "BSpline",
    Interpolation.LABEL: "GenericLabel",
}
_FROM_ANTS = {name.lower(): ours for ours, name in _ANTS_NAMES.items()} | {"multilabel": Interpolation.LABEL}
# What nibabel, ITK and their users put after a name's last meaningful dot.
_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img", ".dcm")
# Flags of the refinement and its field: without a field they would do nothing.
_FIELD_FLAGS = ("smoothness", "iterations", "fast", "best", "field_spacing", "jacobian", "log_jacobian", "fail_on_folding")


@dataclass(frozen=True, slots=True)
class TransformSpec:
    """One transform file of a chain; ``invert`` asks for its inverse, as antsApplyTransforms' ``[file,1]`` does."""

    path: Path
    invert: bool = False

    @classmethod
    def parse(cls, text: str) -> TransformSpec:
        """From ``file`` or ``[file,0]`` or ``[file,1]``."""
        bracketed = re.fullmatch(r"\[(.+),\s*([01])\s*\]", text)
        return cls(Path(bracketed[1]), bracketed[2] == "1") if bracketed else cls(Path(text))


@dataclass(frozen=True, slots=True)
class Companion:
    """An image warped along with the moving image; ``labels`` copies ids by nearest neighbour instead of linearly."""

    image: Path
    output: Path
    labels: bool = False


@dataclass(frozen=True, slots=True)
class RegisterOptions:
    """One registration from files to files.

    Raises:
        UsageError: options that contradict each other, or that would do nothing.
    """

    fixed: Path
    moving: Path
    output: Path
    """Prefix of the written files: their names follow without anything in between."""
    settings: Settings = field(default_factory=Settings)
    init: tuple[TransformSpec, ...] = ()
    """Initial transforms in antsApplyTransforms order."""
    fixed_mask: Path | None = None
    moving_mask: Path | None = None
    also: tuple[Companion, ...] = ()
    transform_format: TransformFormat = TransformFormat.H5
    jacobian: bool = False
    log_jacobian: bool = False
    inverse_warped: bool = False
    picture: bool = False
    interpolation: Interpolation = Interpolation.LINEAR
    default_value: float | None = None
    header: HeaderChoice = HeaderChoice.CHECK
    threads: int | None = None
    max_memory_gb: float | None = None
    fail_on_folding: float | None = None

    def __post_init__(self) -> None:
        if self.max_memory_gb is not None and not self.max_memory_gb > 0:
            raise UsageError(f"--max-memory must be a positive number of GB, found {self.max_memory_gb:g}")
        if self.fail_on_folding is not None and not 0 <= self.fail_on_folding <= 100:
            raise UsageError(f"--fail-on-folding must be between 0 and 100 percent, found {self.fail_on_folding:g}")

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Every file or folder that is read."""
        masks = [mask for mask in (self.fixed_mask, self.moving_mask) if mask is not None]
        return (self.fixed, self.moving, *masks, *(spec.path for spec in self.init), *(extra.image for extra in self.also))

    @classmethod
    def from_words(cls, words: Words) -> RegisterOptions:
        """From the flags of ``unireg register``, by name with underscores; a flag not given is None, False or absent."""
        fixed = _either(words, "fixed", "fixed_file", "FIXED and --fixed")
        moving = _either(words, "moving", "moving_file", "MOVING and --moving")
        settings, init = _settings_and_init(words)
        return cls(
            fixed=fixed,
            moving=moving,
            output=_prefix(words.get("output"), fixed, moving),
            settings=settings,
            init=init,
            fixed_mask=_path(words.get("fixed_mask")),
            moving_mask=_path(words.get("moving_mask")),
            also=(*_companions(words, "also"), *_companions(words, "also_labels")),
            transform_format=choice(TransformFormat, words.get("transform_format") or "h5", "--transform-format"),
            jacobian=bool(words.get("jacobian")),
            log_jacobian=bool(words.get("log_jacobian")),
            inverse_warped=bool(words.get("inverse_warped")),
            picture=bool(words.get("picture")),
            interpolation=interpolation(words.get("interpolation") or "linear"),
            default_value=words.get("default_value"),
            header=choice(HeaderChoice, words.get("header") or "check", "--header"),
            threads=words.get("threads"),
            max_memory_gb=words.get("max_memory"),
            fail_on_folding=words.get("fail_on_folding"),
        )


@dataclass(frozen=True, slots=True)
class WarpOptions:
    """One image, series or point list through a chain of transform files.

    Raises:
        UsageError: options that contradict each other, or that would do nothing.
    """

    output: Path
    transforms: tuple[TransformSpec, ...]
    """In antsApplyTransforms order."""
    image: Path | None = None
    reference: Path | None = None
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
        if self.space is None:
            raise UsageError("say in which coordinates the points are: --space lps, --space ras or --space voxel")
        if self.space is PointSpace.VOXEL and (self.reference is None or self.moving_grid is None):
            raise UsageError(
                "--space voxel counts voxels of two images: name that of the points with --moving-grid, that of the result with --reference"
            )
        if self.space is not PointSpace.VOXEL and self.moving_grid is not None:
            raise UsageError("--moving-grid is for --space voxel; leave it out for points in mm")

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
            output=Path(words["output"]),
            transforms=tuple(TransformSpec.parse(str(text)) for text in words.get("transform") or ()),
            image=_path(words.get("image")),
            reference=_path(words.get("reference")),
            points=_path(words.get("points")),
            space=None if space is None else choice(PointSpace, space, "--space"),
            moving_grid=_path(words.get("moving_grid")),
            invert=bool(words.get("invert")),
            interpolation=None if asked is None else interpolation(asked),
            default_value=words.get("default_value"),
            header=choice(HeaderChoice, words.get("header") or "check", "--header"),
            threads=words.get("threads"),
        )


def interpolation(text: str) -> Interpolation:
    """Ours or antsApplyTransforms' name, in any case.

    Raises:
        UsageError: another name; lists ours.
    """
    return _FROM_ANTS.get(text.lower()) or choice(Interpolation, text, "--interpolation")


def ants_name(kind: Interpolation) -> str:
    """What antsApplyTransforms calls it."""
    return _ANTS_NAMES[kind]


def choice(kind: type[_Word], text: str, flag: str) -> _Word:
    """The member of a closed vocabulary, in any case.

    Raises:
        UsageError: another word; lists the vocabulary.
    """
    try:
        return kind(str(text).lower())
    except ValueError:
        raise UsageError(f"{flag} must be one of {', '.join(kind)}, found {text!r}") from None


def stem(path: Path) -> str:
    """File name without the suffix of an image format; a folder's own name."""
    name = path.name or path.resolve().name
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


def _either(words: Words, positional: str, named: str, both: str) -> Path:
    given = [words[name] for name in (positional, named) if words.get(name) is not None]
    if len(given) != 1:
        problem = f"{both} name the same image twice; give one" if given else f"the {positional} image is missing"
        raise UsageError(f"{problem}: unireg register FIXED MOVING")
    return Path(given[0])


def _prefix(text: str | Path | None, fixed: Path, moving: Path) -> Path:
    if text is None:
        return Path(f"{stem(moving)}_to_{stem(fixed)}")
    if str(text).endswith(("/", os.sep)) or Path(text).name in ("", ".."):
        raise UsageError(f"--output {text} is a folder: add the beginning of the file names, for example {Path(text) / 'out_'}")
    return Path(text)


def _companions(words: Words, name: str) -> tuple[Companion, ...]:
    """Pairs from the flat list IMG OUT IMG OUT."""
    flat = list(words.get(name) or ())
    if len(flat) % 2:
        raise UsageError(f"--{name.replace('_', '-')} takes two values, an image and the file to write it to")
    return tuple(Companion(Path(a), Path(b), name == "also_labels") for a, b in zip(flat[::2], flat[1::2], strict=True))


def _settings_and_init(words: Words) -> tuple[Settings, tuple[TransformSpec, ...]]:
    kind = choice(TransformKind, words.get("transform") or "deformable", "--transform")
    if kind is not TransformKind.DEFORMABLE:
        # Zero is a value: 0 == False, but it is not it.
        useless = [f"--{name.replace('_', '-')}" for name in _FIELD_FLAGS if words.get(name) is not None and words[name] is not False]
        if useless:
            raise UsageError(f"{', '.join(useless)} would do nothing with --transform {kind}; leave it out")
    if words.get("fast") and words.get("best"):
        raise UsageError("--fast and --best contradict each other; give one")
    start, init = _start(words.get("init") or ())
    both = words.get("modality")
    if both and words.get("fixed_modality") and words.get("moving_modality"):
        raise UsageError("--modality does nothing beside --fixed-modality and --moving-modality; leave it out")
    chosen: dict[str, Any] = {"transform": kind, "start": start}
    for side in ("fixed_modality", "moving_modality"):
        word = words.get(side) or both
        if word is not None:
            chosen[side] = choice(Modality, word, f"--{side.replace('_', '-')}")
    if words.get("similarity") is not None:
        chosen["similarity"] = choice(Similarity, words["similarity"], "--similarity")
    chosen["effort"] = Effort.FAST if words.get("fast") else Effort.BEST if words.get("best") else Effort.DEFAULT
    plain = ("iterations", "smoothness", "device", "seed", "deterministic")
    chosen |= {name: words[name] for name in plain if words.get(name) is not None}
    if words.get("field_spacing") is not None:
        chosen["field_spacing"] = str(words["field_spacing"]).lower()
    return Settings(**chosen), init


def _start(texts: list[str] | tuple[str, ...]) -> tuple[Start, tuple[TransformSpec, ...]]:
    """A keyword, or files; a file that is called like a keyword is reached by ./keyword."""
    keywords = [text.lower() for text in texts if text.lower() in set(Start)]
    if not keywords:
        return Start.AUTO, tuple(TransformSpec.parse(text) for text in texts)
    if len(texts) > 1:
        raise UsageError(f"--init takes one keyword or any number of files, found {' '.join(texts)}")
    return Start(keywords[0]), ()
