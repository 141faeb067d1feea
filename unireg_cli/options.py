"""What was asked of one run, checked and frozen: the part of a command line that goes into the result's JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unireg_cli.bids import bids_names
from unireg_cli.errors import UsageError, WeightsError
from unireg_cli.io.header import HeaderChoice
from unireg_cli.io.weights import NO_WEIGHTS, find_weights
from unireg_cli.io.weights_config import read_config
from unireg_cli.model.added import vocabulary_of
from unireg_cli.model.anatomy import ALL, vocabulary
from unireg_cli.registration.settings import Settings
from unireg_cli.steering_words import STEERING_FLAGS, SteeringFiles, steering_files
from unireg_cli.types import Effort, Interpolation, Modality, Mode, Similarity, Start, TransformFormat, TransformKind
from unireg_cli.words import TransformSpec, Words, as_path, choice, interpolation

# What nibabel, ITK and their users put after a name's last meaningful dot.
_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img", ".dcm")
# Flags of the network: without it, and without segmentations to choose from, they would do nothing.
_NETWORK_FLAGS = ("anatomy", "compare_with")
# Flags of the network, the refinement and the field: without a field they would do nothing.
_FIELD_FLAGS = (
    *(*_NETWORK_FLAGS, "mode", "weights", "smoothness", "iterations", "fast", "best", *STEERING_FLAGS),
    *("field_spacing", "jacobian", "log_jacobian", "fail_on_folding"),
)


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
    smoothness: float | None = None
    """As asked for; None is the weights' own, which :func:`unireg_cli.loading.complete` puts into the settings."""
    weights: str | None = None
    """A file or a name as asked for, or ``none``; None leaves the choice to UNIREG_WEIGHTS and to what is shipped."""
    init: tuple[TransformSpec, ...] = ()
    """Initial transforms in antsApplyTransforms order."""
    fixed_mask: Path | None = None
    moving_mask: Path | None = None
    steering: SteeringFiles | None = None
    compare_with: tuple[str, ...] | None = None
    """Anatomy of a second answer, written beside the first; an empty one is all."""
    also: tuple[Companion, ...] = ()
    transform_format: TransformFormat = TransformFormat.H5
    jacobian: bool = False
    log_jacobian: bool = False
    inverse_warped: bool = False
    picture: Path | None = None
    """One figure of the result; a PNG."""
    report: bool = False
    dicom_out: Path | None = None
    """Folder for the warped image as a DICOM series."""
    bids: Path | None = None
    """Folder of BIDS derivatives: the files are named and filed by BIDS then, and ``output`` is how those of the images begin."""
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
        if self.picture is not None and self.picture.suffix.lower() != ".png":
            raise UsageError(f"--picture {self.picture}: a picture is written as PNG; give it a name that ends in .png")

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Every file or folder that is read."""
        masks = [mask for mask in (self.fixed_mask, self.moving_mask) if mask is not None]
        steering = () if self.steering is None else self.steering.paths
        return (self.fixed, self.moving, *masks, *steering, *(spec.path for spec in self.init), *(extra.image for extra in self.also))

    @property
    def condition(self) -> dict[str, Any] | None:
        """What a deformable run is asked for besides its images, by the table's names; None if nothing is bent."""
        settings = self.settings
        if settings.transform is not TransformKind.DEFORMABLE:
            return None
        words = anatomy_names(settings.anatomy, self.weights) or (ALL,)
        return {"anatomy": words, "mode": settings.mode, "smoothness": settings.smoothness}

    @classmethod
    def from_words(cls, words: Words) -> RegisterOptions:
        """From the flags of ``unireg register``, by name with underscores; a flag not given is None, False or absent."""
        fixed = _either(words, "fixed", "fixed_file", "FIXED and --fixed")
        moving = _either(words, "moving", "moving_file", "MOVING and --moving")
        settings, init = _settings_and_init(words)
        bids = Path(words.get("output") or ".") if words.get("bids") else None
        names = None if bids is None else bids_names(bids, fixed, moving)
        output = _prefix(words.get("output"), fixed, moving) if names is None else names.prefix
        picture = output.with_name(f"{output.name}.png") if names is None else names.image("warped", ".png")
        weights = None if words.get("weights") is None else str(words["weights"])
        return cls(
            fixed=fixed,
            moving=moving,
            output=output,
            settings=settings,
            smoothness=words.get("smoothness"),
            weights=weights,
            init=init,
            fixed_mask=as_path(words.get("fixed_mask")),
            moving_mask=as_path(words.get("moving_mask")),
            steering=steering_files(words, lambda name: anatomy_names(name, weights)),
            compare_with=_compared(words, settings.anatomy, weights),
            also=(*_companions(words, "also"), *_companions(words, "also_labels")),
            transform_format=choice(TransformFormat, words.get("transform_format") or "h5", "--transform-format"),
            jacobian=bool(words.get("jacobian")),
            log_jacobian=bool(words.get("log_jacobian")),
            inverse_warped=bool(words.get("inverse_warped")),
            picture=_picture(words.get("picture"), picture),
            report=bool(words.get("report")),
            dicom_out=as_path(words.get("dicom_out")),
            bids=bids,
            interpolation=interpolation(words.get("interpolation") or "linear"),
            default_value=words.get("default_value"),
            header=choice(HeaderChoice, words.get("header") or "check", "--header"),
            threads=words.get("threads"),
            max_memory_gb=words.get("max_memory"),
            fail_on_folding=words.get("fail_on_folding"),
        )


def stem(path: Path) -> str:
    """File name without the suffix of an image format; a folder's own name."""
    name = path.name or path.resolve().name
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


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


def _picture(asked: object, usual: Path) -> Path | None:
    """A name of the user's own, or the usual one where only a picture was asked for."""
    if asked is None or asked is False:
        return None
    return usual if asked is True or asked == "" else Path(str(asked))


def _companions(words: Words, name: str) -> tuple[Companion, ...]:
    """Pairs from the flat list IMG OUT IMG OUT."""
    flat = list(words.get(name) or ())
    if len(flat) % 2:
        raise UsageError(f"--{name.replace('_', '-')} takes two values, an image and the file to write it to")
    return tuple(Companion(Path(a), Path(b), name == "also_labels") for a, b in zip(flat[::2], flat[1::2], strict=True))


def anatomy_names(asked: str | Sequence[str], weights: str | None = None) -> tuple[str, ...]:
    """The table's names for what ``--anatomy`` was given, or those that the weights asked for bring along; none for all.

    Raises:
        UsageError: unknown names (with near matches), an empty name, or ``all`` beside others.
    """
    words = [asked] if isinstance(asked, str) else asked
    try:
        request = vocabulary().resolve(words)
    except UsageError as unknown:
        try:
            path = find_weights(weights)
            known = vocabulary_of(None if path is None else read_config(path), path)
        except WeightsError:
            # Said later, if it still matters.
            raise unknown from None
        request = known.resolve(words)
    return () if request.everything else request.words


def _compared(words: Words, anatomy: tuple[str, ...], weights: str | None) -> tuple[str, ...] | None:
    """What ``--compare-with`` asks for."""
    if not words.get("compare_with"):
        return None
    other = anatomy_names(words["compare_with"], weights)
    if other == anatomy:
        raise UsageError(f"--compare-with {', '.join(other) or 'all'} asks for what --anatomy asks for; compare with something else")
    own = [f"--{name.replace('_', '-')}" for name in ("also", "also_labels", "dicom_out", "bids") if words.get(name)]
    if own or words.get("picture") not in (None, False, True, ""):
        names = ", ".join(own or ["--picture with a name"])
        raise UsageError(f"{names} cannot go with --compare-with, whose two answers would write the same file; use unireg warp afterwards")
    return other


def _refuse(words: Words, names: Sequence[str], beside: str) -> None:
    # Zero is a value: 0 == False, but it is not it. A list without entries was not given.
    useless = [name for name in names if words.get(name) is not None and words[name] is not False and words[name] not in ([], ())]
    if useless:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in useless)
        raise UsageError(f"{flags} would do nothing with {beside}; leave it out")


def _settings_and_init(words: Words) -> tuple[Settings, tuple[TransformSpec, ...]]:
    kind = choice(TransformKind, words.get("transform") or "deformable", "--transform")
    if kind is not TransformKind.DEFORMABLE:
        _refuse(words, _FIELD_FLAGS, f"--transform {kind}")
    if words.get("weights") == NO_WEIGHTS and words.get("fixed_seg") is None:
        _refuse(words, _NETWORK_FLAGS, f"--weights {NO_WEIGHTS}")
    if words.get("fast") and words.get("best"):
        raise UsageError("--fast and --best contradict each other; give one")
    start, init = _start(words.get("init") or ())
    both = words.get("modality")
    if both and words.get("fixed_modality") and words.get("moving_modality"):
        raise UsageError("--modality does nothing beside --fixed-modality and --moving-modality; leave it out")
    chosen: dict[str, Any] = {"transform": kind, "start": start}
    if words.get("anatomy") is not None:
        chosen["anatomy"] = anatomy_names(words["anatomy"], words.get("weights") and str(words["weights"]))
    if words.get("mode") is not None:
        chosen["mode"] = choice(Mode, words["mode"], "--mode")
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
