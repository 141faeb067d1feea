"""The command line that gives one registration again, also where it was a row of a table or a call from Python."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import fields

from unireg_cli.io.header import HeaderChoice
from unireg_cli.io.points import PointSpace
from unireg_cli.options import RegisterOptions
from unireg_cli.registration.settings import Settings
from unireg_cli.types import Effort, Interpolation, Start, TransformFormat

# Settings and options that are told by a flag of the same name, where they are not what they would be without it.
_SETTINGS = ("transform", "fixed_modality", "moving_modality", "similarity", "mode", "iterations", "field_spacing", "device", "seed")
_OPTIONS = ("smoothness", "weights", "fixed_mask", "moving_mask", "default_value", "threads", "fail_on_folding", "dicom_out")
_SWITCHES = ("jacobian", "log_jacobian", "inverse_warped", "report")


def command_line(options: RegisterOptions) -> str:
    """The words of ``unireg register``, quoted for a POSIX shell; flags that change nothing are left out."""
    return shlex.join(["unireg", "register", *_words(options)])


def _words(options: RegisterOptions) -> Iterator[str]:
    settings, usual = options.settings, Settings()
    output = options.output if options.bids is None else options.bids
    yield from ("--fixed", str(options.fixed), "--moving", str(options.moving), "--output", str(output))
    if options.bids is not None:
        yield "--bids"
    yield from (f"--anatomy={name}" for name in settings.anatomy)
    if settings.start is not Start.AUTO:
        yield from ("--init", str(settings.start))
    for spec in options.init:
        yield from ("--init", f"[{spec.path},1]" if spec.invert else str(spec.path))
    yield from (_flag(name, getattr(settings, name)) for name in _SETTINGS if getattr(settings, name) != getattr(usual, name))
    if settings.effort is not Effort.DEFAULT:
        yield f"--{settings.effort}"
    if settings.deterministic:
        yield "--deterministic"
    yield from _steering_words(options)
    nothing = {entry.name: entry.default for entry in fields(RegisterOptions)}
    yield from (_flag(name, getattr(options, name)) for name in _OPTIONS if getattr(options, name) != nothing[name])
    yield from (f"--{name.replace('_', '-')}" for name in _SWITCHES if getattr(options, name))
    for extra in options.also:
        yield from ("--also-labels" if extra.labels else "--also", str(extra.image), str(extra.output))
    if options.transform_format is not TransformFormat.H5:
        yield f"--transform-format={options.transform_format}"
    if options.interpolation is not Interpolation.LINEAR:
        yield f"--interpolation={options.interpolation}"
    if options.header is not HeaderChoice.CHECK:
        yield f"--header={options.header}"
    if options.max_memory_gb is not None:
        yield f"--max-memory={options.max_memory_gb!r}"
    if options.picture is not None:
        yield f"--picture={options.picture}"


def _steering_words(options: RegisterOptions) -> Iterator[str]:
    steering = options.steering
    if options.compare_with is not None:
        yield from (f"--compare-with={name}" for name in options.compare_with or ("all",))
    if steering is None:
        return
    for name in ("fixed_seg", "moving_seg", "fixed_points", "moving_points"):
        if getattr(steering, name) is not None:
            yield _flag(name, getattr(steering, name))
    if steering.seg_labels:
        yield "--seg-labels=" + ",".join(f"{label}={name}" for label, name in steering.seg_labels)
    if steering.space is not PointSpace.LPS:
        yield f"--space={steering.space}"


def _flag(name: str, value: object) -> str:
    return f"--{name.replace('_', '-')}={value}"
