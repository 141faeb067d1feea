"""Which structures consist of the same tissue: painted images that tell every rib from the next teach what no scanner shows."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.synthesis import Contrast
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.names import without_side

# Groups of the vocabulary whose parts look alike.
_ALIKE = (
    "vertebrae",
    "ribs",
    "lungs",
    "white_matter",
    "cerebral_cortex_left",
    "cerebral_cortex_right",
    "brain_ventricles",
    "thigh_muscles",
)
# Different names of one tissue.
_SAME = {"cerebral_cortex_right": "cerebral_cortex_left"}


def tissue_of(id: int) -> str:
    """Name of what a structure consists of: left and right share it, and so do all ribs, all vertebrae, all of the cortex."""
    found = vocabulary()
    for group in _ALIKE:
        if id in found.parts[group]:
            return _SAME.get(group, group)
    return without_side(found.name_of(id))


def tied(contrast: Contrast, structures: Mapping[int, int]) -> Contrast:
    """A contrast in which structures of one tissue look alike; ``structures`` are label values with their structure ids.

    The look is that of the tissue's lowest label value. Values without a structure keep their own.
    """
    means, stds = contrast.means.clone(), contrast.stds.clone()
    first: dict[str, int] = {}
    for value, id in sorted(structures.items()):
        model = first.setdefault(tissue_of(id), value)
        means[value], stds[value] = contrast.means[model], contrast.stds[model]
    return Contrast(means, stds)
