"""Which structures weights were trained on, and what they know of the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from unireg_cli.errors import WeightsError
from unireg_cli.model.anatomy import Vocabulary


class Source(StrEnum):
    """How a structure was trained; ``TUNED``: added by ``unireg finetune``; ``REGION``: not itself, only its region is known."""

    REAL = "real"
    SYNTHETIC = "synthetic"
    TUNED = "tuned"
    REGION = "region"


@dataclass(frozen=True, slots=True)
class Training:
    """Ids of the structures trained with real labels, of those trained on painted ones, and of a user's own."""

    real: frozenset[int]
    synthetic: frozenset[int]
    tuned: frozenset[int] = frozenset()

    @classmethod
    def from_names(
        cls, names: Mapping[str, Collection[str]], vocabulary: Vocabulary, where: object, own: Collection[str] = ()
    ) -> Training:
        """From the names of structures under ``real`` and ``synthetic``, and those of the weights' ``own``; ``where``: for the error.

        Raises:
            WeightsError: names that are no structures of the vocabulary.
        """
        ids = {name: vocabulary.structure_id(name) for source in (Source.REAL, Source.SYNTHETIC) for name in names[source]}
        unknown = [name for name, id in ids.items() if id is None]
        if unknown:
            raise WeightsError(f"{where}: trained on structures that this unireg does not know: {', '.join(unknown)}; update unireg")
        real, synthetic = ({id for name in names[source] if (id := ids[name]) is not None} for source in (Source.REAL, Source.SYNTHETIC))
        tuned = frozenset(id for name in own if (id := vocabulary.structure_id(name)) is not None)
        return cls(frozenset(real), frozenset(synthetic), tuned)

    @property
    def trained(self) -> frozenset[int]:
        """All ids that were trained."""
        return self.real | self.synthetic | self.tuned

    def source(self, id: int) -> Source:
        """How a structure was trained; real labels count more than painted ones."""
        known = {Source.REAL: self.real, Source.SYNTHETIC: self.synthetic, Source.TUNED: self.tuned}
        return next((source for source, ids in known.items() if id in ids), Source.REGION)

    def gaps(self, word: str, vocabulary: Vocabulary) -> list[str]:
        """Names of what a word asks for although neither it nor any part of it was trained.

        A region is a gap only if nothing in it was trained.

        Raises:
            UsageError: an unknown word.
        """
        asked = vocabulary.resolve([word])
        if asked.regions:
            return [] if asked.structures & self.trained else list(asked.words)
        parts = {id: vocabulary.parts[vocabulary.name_of(id)] for id in asked.structures}
        inner = {part for id, own in parts.items() for part in own if part != id}
        return [vocabulary.name_of(id) for id in sorted(parts.keys() - inner) if not parts[id] & self.trained]
