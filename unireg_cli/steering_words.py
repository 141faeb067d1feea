"""The flags by which a user's own segmentations and landmarks steer a registration, checked and frozen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unireg_cli.errors import UsageError
from unireg_cli.io.points import PointSpace
from unireg_cli.words import Words, as_path, choice

# Flags that only the refinement heeds, as words.
STEERING_FLAGS = ("fixed_seg", "moving_seg", "seg_labels", "fixed_points", "moving_points", "space")

Names = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class SteeringFiles:
    """Files that steer, always two by two."""

    fixed_seg: Path | None = None
    moving_seg: Path | None = None
    seg_labels: tuple[tuple[int, str], ...] = ()
    """Label and name, in the order given; none means all labels that both maps have."""
    fixed_points: Path | None = None
    moving_points: Path | None = None
    space: PointSpace = PointSpace.LPS

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file that is read."""
        return tuple(path for path in (self.fixed_seg, self.moving_seg, self.fixed_points, self.moving_points) if path is not None)


def steering_files(words: Words, names: Names) -> SteeringFiles | None:
    """What the flags name; None if nothing steers. ``names`` gives the vocabulary's names for a word, none for ``all``.

    Raises:
        UsageError: one flag of a pair, flags that would do nothing, or labels that cannot be read.
    """
    for kind, what in (("seg", "segmentation"), ("points", "table of landmarks")):
        given = [side for side in ("fixed", "moving") if words.get(f"{side}_{kind}") is not None]
        if len(given) == 1:
            other = "moving" if given[0] == "fixed" else "fixed"
            raise UsageError(f"--{given[0]}-{kind} steers only together with --{other}-{kind}; give the {other} image's {what} too")
    segmented, pointed = words.get("fixed_seg") is not None, words.get("fixed_points") is not None
    if words.get("seg_labels") and not segmented:
        raise UsageError("--seg-labels would do nothing without --fixed-seg and --moving-seg; leave it out")
    if words.get("space") is not None and not pointed:
        raise UsageError("--space would do nothing without --fixed-points and --moving-points; leave it out")
    if not (segmented or pointed):
        return None
    if words.get("fast"):
        flag = "--fixed-seg and --moving-seg" if segmented else "--fixed-points and --moving-points"
        raise UsageError(f"--fast leaves out the refinement, which is what {flag} steer; leave out --fast")
    return SteeringFiles(
        as_path(words.get("fixed_seg")),
        as_path(words.get("moving_seg")),
        label_names(words.get("seg_labels") or (), names),
        as_path(words.get("fixed_points")),
        as_path(words.get("moving_points")),
        choice(PointSpace, words.get("space") or PointSpace.LPS, "--space"),
    )


def label_names(texts: str | Sequence[str], names: Names) -> tuple[tuple[int, str], ...]:
    """From ``1=liver,2=spleen``, said once or in parts.

    Raises:
        UsageError: no such form, a label twice, the background, or a name that is not in the vocabulary.
    """
    found: dict[int, str] = {}
    if not texts:
        return ()
    for entry in ",".join([texts] if isinstance(texts, str) else texts).split(","):
        number, equals, name = (part.strip() for part in entry.partition("="))
        if not equals or not name or not number.isdecimal() or int(number) == 0:
            raise UsageError(f"--seg-labels {entry.strip()!r}: write labels from 1 on with their names, for example 1=liver,2=spleen")
        if int(number) in found:
            raise UsageError(f"--seg-labels: label {int(number)} is named twice ({found[int(number)]} and {name})")
        try:
            known = names(name)
        except UsageError as error:
            advice = "; without --seg-labels all common labels steer, whatever they are"
            raise UsageError(str(error).replace("--anatomy", "--seg-labels", 1) + advice) from None
        if len(known) != 1:
            raise UsageError(f"--seg-labels {entry.strip()}: a label is one structure, not {name!r}")
        found[int(number)] = known[0]
    return tuple(found.items())
