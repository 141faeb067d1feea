"""Transform files named on a command line, read into one chain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unireg_cli.commands.session import logger
from unireg_cli.io.transforms import read_transform
from unireg_cli.spatial import Chain, DisplacementField
from unireg_cli.spatial.sampling import inside_buffer
from unireg_cli.words import TransformSpec

# Ends of the names of a transform and of its inverse, as antsRegistration and this package write them side by side.
# The longer end comes first: "InverseComposite.h5" also ends in "Composite.h5".
_SIBLINGS = (("InverseComposite.h5", "Composite.h5"), ("InverseWarp.nii.gz", "Warp.nii.gz"))
# A sibling is believed to be the inverse if points come back to within this part of the field's voxel.
_SAME_VOXELS = 0.5


def read_chain(specs: Sequence[TransformSpec], *, invert: bool = False) -> Chain:
    """The chain of all files in antsApplyTransforms order: the first given is the first that a point passes.

    ``invert`` turns the whole chain round. A field is inverted by reading the inverse that lies beside its file, if
    that one is there and fits, else numerically; either is said in the log.
    """
    if invert:
        specs = [TransformSpec(spec.path, not spec.invert) for spec in reversed(specs)]
    chain = Chain()
    for spec in specs:
        chain = chain.then(*(_read_inverse(spec.path) if spec.invert else read_transform(spec.path)).steps)
    logger.debug("chain, in the order in which a point of the result passes: %s", chain.describe())
    return chain


def _read_inverse(path: Path) -> Chain:
    forward = read_transform(path)
    if not any(isinstance(step, DisplacementField) for step in forward.steps):
        return forward.invert()
    sibling = _sibling(path)
    if sibling is not None:
        inverse = read_transform(sibling)
        if _undoes(forward, inverse):
            logger.info("%s: inverted by the inverse beside it, %s", path.name, sibling.name)
            return inverse
        logger.warning("%s: %s beside it is not its inverse, perhaps of another run; inverted numerically", path.name, sibling.name)
    else:
        logger.info("%s: inverted numerically", path.name)
    return forward.invert()


def _sibling(path: Path) -> Path | None:
    """The file that should hold the inverse, if it exists."""
    for inverse, forward in _SIBLINGS:
        for ours, theirs in ((inverse, forward), (forward, inverse)):
            if path.name.endswith(ours):
                sibling = path.with_name(path.name[: -len(ours)] + theirs)
                return sibling if sibling.is_file() else None
    return None


def _undoes(forward: Chain, inverse: Chain) -> bool:
    """True if points come back where both have a field; outside its buffer a field says nothing about the other."""
    before, field = _first_field(forward)
    fractions = np.random.default_rng(0).uniform(0.05, 0.95, (2000, 3)) * (np.asarray(field.grid.size) - 1)
    points = before.invert().map(fractions @ field.grid.lps_from_index[:3, :3].T + np.asarray(field.grid.origin))
    mapped = forward.map(points)
    if any(isinstance(step, DisplacementField) for step in inverse.steps):
        before, other = _first_field(inverse)
        matrix = other.grid.index_from_lps
        inside = inside_buffer(before.map(mapped) @ matrix[:3, :3].T + matrix[:3, 3], other.grid.size)
        points, mapped = points[inside], mapped[inside]
    away = np.linalg.norm(inverse.map(mapped) - points, axis=-1)
    return bool(away.size and np.percentile(away, 95) < _SAME_VOXELS * max(field.grid.spacing))


def _first_field(chain: Chain) -> tuple[Chain, DisplacementField]:
    """The first field of a chain, and what a point passes before it."""
    number, field = next((n, step) for n, step in enumerate(chain.steps) if isinstance(step, DisplacementField))
    return Chain(chain.steps[:number]), field
