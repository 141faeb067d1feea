"""Which structure of the vocabulary each label of a data set is."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from unireg_cli.errors import InputError
from unireg_cli.model.anatomy import Vocabulary
from unireg_cli.model.names import key_of


def map_labels(names: Mapping[int, str], vocabulary: Vocabulary, *, unused: Collection[str] = (), where: str) -> dict[int, int]:
    """Label value -> structure id, for the label names of a data set; 0 is the background.

    Several labels may be one structure. Names in ``unused`` are left out. ``where`` is the file, for the error.

    Raises:
        InputError: labels that name no structure (all of them listed), a name twice, a name of ``unused`` that no label has,
            or a label 0 that is not the background.
    """
    if key_of(names.get(0, "background"))[0] != "background":
        raise InputError(f"{where}: label 0 is {names[0]!r}, but 0 is always the background; give the structure another value")
    labels = {value: name for value, name in names.items() if value != 0}
    keys = {value: key_of(name) for value, name in labels.items()}
    twice = [name for value, name in labels.items() if list(keys.values()).count(keys[value]) > 1]
    if twice:
        raise InputError(f"{where}: labels with the same name: {', '.join(map(repr, twice))}; one of them must be wrong")
    skipped = {key_of(name) for name in unused}
    strangers = [name for name in unused if key_of(name) not in keys.values()]
    if strangers:
        raise InputError(f"{where}: marked unused, but no label has this name: {', '.join(map(repr, strangers))}")
    found = {value: vocabulary.structure_id(name) for value, name in labels.items() if keys[value] not in skipped}
    unmapped = [f"{value} {labels[value]!r}" for value, id in found.items() if id is None]
    if unmapped:
        advice = "rename them as 'unireg anatomies' lists them, or mark them unused"
        raise InputError(f"{where}: labels that name no structure of the vocabulary: {', '.join(unmapped)}; {advice}")
    return {value: id for value, id in found.items() if id is not None}
