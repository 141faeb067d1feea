"""What was asked of one run, checked and frozen: the part of a command line that goes into the result's JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unireg_cli.errors import UsageError
from unireg_cli.io.header import HeaderChoice
from unireg_cli.io.weights import NO_WEIGHTS
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.registration.settings import Settings
from unireg_cli.types import Effort, Interpolation, Modality, Mode, Similarity, Start, TransformFormat, TransformKind
from unireg_cli.words import TransformSpec, Words, as_path, choice, interpolation

# What nibabel, ITK and their users put after a name's last meaningful dot.
_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img", ".dcm")
# Flags of the network: without it they would do nothing.
_NETWORK_FLAGS = ("anatomy", "mode")
# Flags of the network, the refinement and the field: without a field they would do nothing.
_FIELD_FLAGS = (
    *(*_NETWORK_FLAGS, "weights", "smoothness", "iterations", "fast", "best"),
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

    @property
    def condition(self) -> dict[str, Any] | None:
        """What a deformable run is asked for besides its images, by the table's names; None if nothing is bent."""
        settings = self.settings
        if settings.transform is not TransformKind.DEFORMABLE:
            return None
        words = vocabulary().resolve(settings.anatomy).words
        return {"anatomy": words, "mode": settings.mode, "smoothness": settings.smoothness}

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
            smoothness=words.get("smoothness"),
            weights=None if words.get("weights") is None else str(words["weights"]),
            init=init,
            fixed_mask=as_path(words.get("fixed_mask")),
            moving_mask=as_path(words.get("moving_mask")),
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


def _companions(words: Words, name: str) -> tuple[Companion, ...]:
    """Pairs from the flat list IMG OUT IMG OUT."""
    flat = list(words.get(name) or ())
    if len(flat) % 2:
        raise UsageError(f"--{name.replace('_', '-')} takes two values, an image and the file to write it to")
    return tuple(Companion(Path(a), Path(b), name == "also_labels") for a, b in zip(flat[::2], flat[1::2], strict=True))


def anatomy_names(asked: str | Sequence[str]) -> tuple[str, ...]:
    """The table's names for what ``--anatomy`` was given; none for all.

    Raises:
        UsageError: unknown names (with near matches), an empty name, or ``all`` beside others.
    """
    request = vocabulary().resolve([asked] if isinstance(asked, str) else asked)
    return () if request.everything else request.words


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
    if words.get("weights") == NO_WEIGHTS:
        _refuse(words, _NETWORK_FLAGS, f"--weights {NO_WEIGHTS}")
    if words.get("fast") and words.get("best"):
        raise UsageError("--fast and --best contradict each other; give one")
    start, init = _start(words.get("init") or ())
    both = words.get("modality")
    if both and words.get("fixed_modality") and words.get("moving_modality"):
        raise UsageError("--modality does nothing beside --fixed-modality and --moving-modality; leave it out")
    chosen: dict[str, Any] = {"transform": kind, "start": start}
    if words.get("anatomy") is not None:
        chosen["anatomy"] = anatomy_names(words["anatomy"])
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
