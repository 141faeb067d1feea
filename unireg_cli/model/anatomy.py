"""From words to structures: the vocabulary of ``--anatomy``."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from unireg_cli.errors import UsageError
from unireg_cli.model.anatomy_table import AnatomyTable, Flip, Region, Structure, read_table
from unireg_cli.model.names import Key, key_of, other_side, without_side

ALL = "all"
"""The region that is everything: what is asked for when nothing is."""

# Words that a user of brain images and a user of heart images read differently.
_VENTRICLES = ["heart_ventricles", "brain_ventricles"]
_TOO_VAGUE: dict[Key, list[str]] = {("ventricle", ""): _VENTRICLES, ("ventricles", ""): _VENTRICLES}


@dataclass(frozen=True, slots=True)
class AnatomyRequest:
    """What was asked for: the structures meant, and the regions asked for as a whole, as ids of the table.

    ``structures`` holds the parts of everything asked for. ``words`` are the table's names for what the user wrote.
    """

    structures: frozenset[int]
    regions: frozenset[int] = frozenset()
    everything: bool = False
    words: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What one word stands for; ``region`` is the id of a region asked for as a whole."""

    word: str
    structures: frozenset[int]
    region: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """All names that can be asked for, and the numbers behind them."""

    table: AnatomyTable
    parts: Mapping[str, frozenset[int]]
    """Name of a structure or group -> ids of the structures it consists of, its own included."""
    members: Mapping[str, frozenset[int]]
    """Name of a region -> ids of the structures in it."""
    _rows: Mapping[int, Structure | Region]
    _labels: Mapping[Key, int]
    _meanings: Mapping[Key, _Meaning]
    _ids: Mapping[str, int]
    _region_ids: Mapping[str, int]

    @classmethod
    def from_table(cls, table: AnatomyTable) -> Vocabulary:
        """Check a table and index it.

        Raises:
            ValueError: ids with gaps, a name used twice, a parent, region or partner that is not in the table.
        """
        ids = {structure.name: structure.id for structure in table.structures}
        regions = {region.name: region.id for region in table.regions}
        _check(table, ids, regions)
        parts, members = _parts(table), _members(table)
        rows: dict[int, Structure | Region] = {structure.id: structure for structure in table.structures}
        rows |= {region.id: region for region in table.regions}
        return cls(table, parts, members, rows, _label_keys(table.structures), _meanings(table, parts, members), ids, regions)

    @property
    def size(self) -> int:
        """Number of ids: structures and regions."""
        return len(self.table.structures) + len(self.table.regions)

    def name_of(self, id: int) -> str:
        """Name of a structure or region."""
        return self._rows[id].name

    def structure_id(self, label: str) -> int | None:
        """The one structure that a label of a data set names, or None; groups, regions and both sides are not one structure."""
        return self._labels.get(key_of(label))

    def region_of(self, id: int) -> int:
        """Id of a structure's own region; a region is its own."""
        row = self._rows[id]
        return self._region_ids[row.regions[0]] if isinstance(row, Structure) else id

    def left_right_partner(self, id: int) -> int | None:
        """What a structure or region is called in a mirrored image; None if there is no name for it."""
        row = self._rows[id]
        if isinstance(row, Region) or row.flip is Flip.SAME:
            return id
        return self._ids[other_side(row.name)] if row.flip is Flip.SWAP else None

    def everything(self) -> AnatomyRequest:
        """The request for all structures of all regions."""
        return AnatomyRequest(frozenset(self._ids.values()), frozenset({self._region_ids[ALL]}), True, (ALL,))

    def request(self, ids: Iterable[int]) -> AnatomyRequest:
        """The same request as the words of these structures and regions would make."""
        return self._join([self._meanings[key_of(self._rows[id].name)] for id in ids])

    def resolve(self, words: Sequence[str]) -> AnatomyRequest:
        """Read words such as ``liver,spleen``, ``Left-Hippocampus``, ``kidneys``, ``abdomen``; none at all means ``all``.

        Raises:
            UsageError: unknown names (with near matches), an empty name, or ``all`` beside others.
        """
        names = [name.strip() for word in words for name in word.split(",")]
        if not all(names):
            raise UsageError(f"--anatomy {' '.join(words)!r}: a name is empty; write for example --anatomy liver,spleen")
        if not names:
            return self.everything()
        found = [self._meanings.get(key_of(name)) for name in names]
        unknown = [name for name, meaning in zip(names, found, strict=True) if meaning is None]
        if unknown:
            complaints = "; ".join(f"unknown name {name!r}{self._hint(name)}" for name in unknown)
            raise UsageError(f"--anatomy: {complaints}; 'unireg anatomies' lists all names")
        return self._join([meaning for meaning in found if meaning is not None])

    def has(self, name: str) -> bool:
        """Whether a name can be asked for."""
        return key_of(name) in self._meanings

    def near(self, name: str, most: int = 4) -> list[str]:
        """Names of the table that are spelled like this one, nearest first."""
        key = key_of(name)
        if key in _TOO_VAGUE:
            return _TOO_VAGUE[key]
        spellings: dict[str, str] = {}
        for (base, side), meaning in self._meanings.items():
            spellings.setdefault(base + side, meaning.word)
        # A side that the structure does not have, as in "left liver".
        sideless = [self._meanings[key[0], ""].word] if (key[0], "") in self._meanings else []
        close = difflib.get_close_matches("".join(key), spellings, n=3 * most, cutoff=0.65)
        return list(dict.fromkeys([*sideless, *(spellings[spelling] for spelling in close)]))[:most]

    def _join(self, meanings: Sequence[_Meaning]) -> AnatomyRequest:
        words = tuple(dict.fromkeys(meaning.word for meaning in meanings))
        if ALL in words:
            if len(words) > 1:
                others = ", ".join(word for word in words if word != ALL)
                raise UsageError(f"--anatomy all contains {others} already; ask for all or for {others}")
            return self.everything()
        structures = frozenset[int]().union(*(meaning.structures for meaning in meanings))
        return AnatomyRequest(structures, frozenset(meaning.region for meaning in meanings if meaning.region is not None), False, words)

    def _hint(self, name: str) -> str:
        near = self.near(name)
        return f"; did you mean {' or '.join([', '.join(near[:-1]), near[-1]] if len(near) > 1 else near)}?" if near else ""


@cache
def vocabulary() -> Vocabulary:
    """The vocabulary that comes with the package."""
    return Vocabulary.from_table(read_table())


def meaning_as_region(known: Vocabulary, name: str) -> Vocabulary:
    """The vocabulary with one structure asked for as regions are: as a whole, and not looked for anywhere."""
    id = known._ids[name]
    return replace(known, _meanings={**known._meanings, key_of(name): _Meaning(name, frozenset({id}), id)})


def _check(table: AnatomyTable, ids: Mapping[str, int], regions: Mapping[str, int]) -> None:
    """The names that rows use for one another exist, and ids count from 0 without a gap."""
    known = {*ids, *(group.name for group in table.groups)}
    problems = []
    if sorted([*ids.values(), *regions.values()]) != list(range(len(table.structures) + len(table.regions))):
        problems.append("ids do not count from 0 without a gap, or a name is used twice")
    if len(known) != len(ids) + len(table.groups):
        problems.append("a group is called as a structure or another group is")
    for structure in table.structures:
        problems += [f"{structure.name}: no region {name!r}" for name in structure.regions or ("",) if name not in regions]
        if structure.flip is Flip.SWAP and (other_side(structure.name) == structure.name or other_side(structure.name) not in ids):
            problems.append(f"{structure.name}: no partner on the other side")
    for name, parents in _named_parents(table).items():
        problems += [f"{name}: no parent {parent!r}" for parent in parents if parent not in known]
    problems += [f"{region.name}: no parent {name!r}" for region in table.regions for name in region.parents if name not in regions]
    if problems:
        raise ValueError(f"table of anatomies: {'; '.join(problems)}")


def _named_parents(table: AnatomyTable) -> dict[str, tuple[str, ...]]:
    return {structure.name: structure.parents for structure in table.structures} | {group.name: group.parents for group in table.groups}


def _parts(table: AnatomyTable) -> dict[str, frozenset[int]]:
    """Every structure counted for itself, its parents, their parents, and so on."""
    parents = _named_parents(table)
    parts = defaultdict[str, set[int]](set)
    for structure in table.structures:
        for name in _upwards(structure.name, parents):
            parts[name].add(structure.id)
    return {name: frozenset(parts[name]) for name in parents}


def _members(table: AnatomyTable) -> dict[str, frozenset[int]]:
    parents = {region.name: region.parents for region in table.regions}
    members = defaultdict[str, set[int]](set)
    for structure in table.structures:
        for own in structure.regions:
            for name in _upwards(own, parents):
                members[name].add(structure.id)
    return {name: frozenset(members[name]) for name in parents} | {ALL: frozenset(structure.id for structure in table.structures)}


def _upwards(name: str, parents: Mapping[str, tuple[str, ...]]) -> set[str]:
    """A name and all that it is part of."""
    found, open_ends = set[str](), [name]
    while open_ends:
        here = open_ends.pop()
        if here not in found:
            found.add(here)
            open_ends += parents[here]
    return found


def _label_keys(structures: Iterable[Structure]) -> dict[Key, int]:
    keys: dict[Key, int] = {}
    for structure in structures:
        for name in (structure.name, *structure.synonyms):
            if keys.setdefault(key_of(name), structure.id) != structure.id:
                raise ValueError(f"table of anatomies: {name!r} of {structure.name} also names another structure")
    return keys


def _meanings(table: AnatomyTable, parts: Mapping[str, frozenset[int]], members: Mapping[str, frozenset[int]]) -> dict[Key, _Meaning]:
    """What may be written after ``--anatomy``, with its side or without.

    Of two meanings the wider wins: ``heart`` is the region, not only the organ.
    """
    found: dict[Key, _Meaning] = {}
    by_name: dict[str, _Meaning] = {}
    for region in table.regions:
        by_name[region.name] = _Meaning(region.name, members[region.name], region.id)
        found |= {key_of(name): by_name[region.name] for name in (region.name, *region.synonyms)}
    spellings = [(group.name, group.synonyms) for group in table.groups]
    spellings += [(structure.name, structure.synonyms) for structure in table.structures]
    for name, synonyms in spellings:
        meaning = by_name.get(name, _Meaning(name, parts[name]))
        for spelling in (name, *synonyms):
            found.setdefault(key_of(spelling), meaning)
    return _sideless(found) | found


def _sideless(found: Mapping[Key, _Meaning]) -> dict[Key, _Meaning]:
    """What names mean without their side, singular and plural: both sides, or the one that exists."""
    sideless: dict[Key, _Meaning] = {}
    for base in dict.fromkeys(base for base, side in found if side and (base, "") not in found):
        sides = [found[base, side] for side in ("left", "right") if (base, side) in found]
        word = without_side(sides[0].word) if len(sides) == 2 else sides[0].word
        meaning = _Meaning(word, frozenset[int]().union(*(one.structures for one in sides)))
        # A word of the answer must mean the answer: a heart has a left and a right myocardium, but "heart_myocardium" is the left.
        if found.get(key_of(word), meaning).structures == meaning.structures:
            sideless |= {(base, ""): meaning, (base + "s", ""): meaning}
    return {key: meaning for key, meaning in sideless.items() if key not in _TOO_VAGUE}
