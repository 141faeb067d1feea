"""Names of results by BIDS, from the names of the two images alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from unireg_cli.errors import UsageError

_ENTITY = re.compile(r"([a-zA-Z]+)-([0-9a-zA-Z+]+)")
_SUFFIX = re.compile(r"[0-9a-zA-Z]+")
# What a name says about the space of the image and what was done to it: a result says its own.
_REPLACED = ("space", "cohort", "res", "den", "desc")
# Entities that BIDS puts between the space and the description.
_AFTER_SPACE = ("split", "recording", "chunk", "atlas", "seg", "scale", "label")
_DATATYPES = ("anat", "beh", "dwi", "fmap", "func", "micr", "perf", "pet")


@dataclass(frozen=True, slots=True)
class BidsName:
    """One file name, taken apart: ``sub-01_ses-2_T1w.nii.gz`` has the entities sub and ses, and the suffix T1w."""

    entities: tuple[tuple[str, str], ...]
    suffix: str
    datatype: str
    """Of the folder that holds the file; anat where that is called something else."""

    @classmethod
    def parse(cls, path: Path) -> BidsName:
        """From a path.

        Raises:
            UsageError: not a name by BIDS.
        """
        *parts, suffix = path.name.partition(".")[0].split("_")
        found = [_ENTITY.fullmatch(part) for part in parts]
        entities = tuple((match[1], match[2]) for match in found if match)
        keys = [key for key, _ in entities]
        if not parts or len(entities) < len(parts) or len(set(keys)) < len(keys) or not _SUFFIX.fullmatch(suffix):
            raise UsageError(f"--bids: {path.name} is no name by BIDS; expected one like sub-01_ses-1_T1w.nii.gz or tpl-MNI_T1w.nii.gz")
        folder = path.parent.name
        return cls(entities, suffix, folder if folder in _DATATYPES else "anat")

    def get(self, key: str) -> str | None:
        """The value of an entity; None if the name has it not."""
        return dict(self.entities).get(key)


@dataclass(frozen=True, slots=True)
class BidsNames:
    """How the results of one pair are called; all lie in ``folder``."""

    folder: Path
    before: str
    """The moving image's entities, which begin every name."""
    after: str
    """Those of them that stand behind the space."""
    here: str
    """Label of the moving image: ``from-T1w``."""
    there: str
    """Label of the fixed image: ``to-MNI152Lin``."""
    suffix: str
    fixed_suffix: str

    @property
    def prefix(self) -> Path:
        """The beginning of the names of all images in the fixed image's space."""
        return self.folder / f"{self.before}_space-{self.there}_"

    def image(self, description: str, ending: str = ".nii.gz", *, moved: bool = True) -> Path:
        """An image in the space of the fixed one; or the fixed one, in the space of the moving one."""
        space, suffix = (self.there, self.suffix) if moved else (self.here, self.fixed_suffix)
        return self.folder / f"{self.before}_space-{space}{self.after}_desc-{description}_{suffix}{ending}"

    def transform(self, ending: str, *, inverse: bool = False, part: str | None = None) -> Path:
        """A transform that warps images of one space to the other, or ``part`` of it."""
        source, target = (self.there, self.here) if inverse else (self.here, self.there)
        described = "" if part is None else f"_desc-{part}"
        return self.folder / f"{self.before}{self.after}_from-{source}_to-{target}_mode-image{described}_xfm{ending}"


def bids_names(root: Path, fixed: Path, moving: Path) -> BidsNames:
    """What the results of a pair are called in the derivatives' folder ``root``.

    The label of a template is its own name; that of another image is the rest of its name, without the subject and the session that
    both have: from sub-01_ses-2_T1w to sub-01_ses-1_T1w it is ses1T1w.

    Raises:
        UsageError: names that are not by BIDS, a moving image of nobody, or two images that BIDS cannot tell apart.
    """
    theirs, ours = BidsName.parse(fixed), BidsName.parse(moving)
    subject = ours.get("sub")
    if subject is None:
        raise UsageError(f"--bids: {moving.name} has no sub-, and results are filed under MOVING's subject; let the template be FIXED")
    if theirs.get("sub") is None and theirs.get("tpl") is None:
        raise UsageError(f"--bids: {fixed.name} has neither sub- nor tpl-, so the space of the result has no name")
    there, here = _label(theirs, ours), ours.suffix
    if there == here:
        here = _label(ours, theirs)
    if there == here:
        raise UsageError(f"--bids: {fixed.name} and {moving.name} differ in nothing that names a space; rename one, or leave --bids out")
    kept = [(key, value) for key, value in ours.entities if key not in _REPLACED]
    before = "_".join(f"{key}-{value}" for key, value in kept if key not in _AFTER_SPACE)
    after = "".join(f"_{key}-{value}" for key, value in kept if key in _AFTER_SPACE)
    session = ours.get("ses")
    folders = [f"sub-{subject}", *([] if session is None else [f"ses-{session}"]), ours.datatype]
    return BidsNames(root.joinpath(*folders), before, after, here, there, ours.suffix, theirs.suffix)


def _label(name: BidsName, other: BidsName) -> str:
    """What tells the image from all others, seen from the other one's subject and session, as one label."""
    template = name.get("tpl")
    if template is not None:
        cohort = name.get("cohort")
        return template if cohort is None else f"{template}cohort{cohort}"
    same_subject = name.get("sub") == other.get("sub")
    both = {key for key in ("sub", "ses") if same_subject and name.get(key) == other.get(key)}
    own = [(key, value) for key, value in name.entities if key not in both]
    return "".join(f"{key}{value}" for key, value in own).replace("+", "") + name.suffix
