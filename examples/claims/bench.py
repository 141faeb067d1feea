"""Pairs of the validation lists, and what the network makes of them under any condition, in one process and without files.

The affine of a pair is found once, by the tool's own engine, and kept in a cache folder. "Network only" is what
``unireg register --fast`` does after its affine, the field finished as it would be written; weights of a study without a segmenter, which
learned single passes, are asked for one pass on one lattice instead. Labels are read nearest at the fixed image's own voxels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from unireg_cli.errors import InputError, WeightsError
from unireg_cli.evaluation.overlap import dice_per_label
from unireg_cli.io.atomic import atomic_path
from unireg_cli.io.images import read_image
from unireg_cli.io.weights import NO_WEIGHTS, find_weights
from unireg_cli.io.weights_config import own_smoothness, read_config
from unireg_cli.loading import load_model
from unireg_cli.model.condition import Condition
from unireg_cli.model.network import Network
from unireg_cli.registration.alignment import align
from unireg_cli.registration.network_grid import body_box
from unireg_cli.registration.pipeline import Aligned, Prepared, bend, finish_field, prepare
from unireg_cli.registration.prediction import Question, as_ask, predict, settling
from unireg_cli.registration.result import Registration
from unireg_cli.registration.settings import Settings
from unireg_cli.registration.starts import candidates
from unireg_cli.spatial import Affine, Chain, DisplacementField, Image
from unireg_cli.spatial.jacobian import Regularity, determinant, regularity
from unireg_cli.spatial.resample import resample
from unireg_cli.types import AnyArray, Effort, Interpolation, Mode, Start, TransformKind


@dataclass(frozen=True, slots=True)
class PairList:
    """The validation list of one data set; ``names`` is label value -> name as the set spells it."""

    name: str
    folder: Path
    mode: Mode
    names: dict[int, str]
    pairs: tuple[tuple[Path, Path], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One aligned pair in memory."""

    set: str
    fixed: str
    moving: str
    images: tuple[Image, Image]
    labels: tuple[Image, Image]
    pair: Prepared
    affine: Affine


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """A network in memory with what must be known of it; ``voxels``: of the only lattice it is shown, None for the tool's own."""

    network: Network
    sha256: str
    smoothness: dict[Mode, float]
    recipe: dict[str, object]
    voxels: int | None = None

    def alone(self, case: Case, words: Sequence[str], mode: Mode, smoothness: float | None = None) -> tuple[Chain, DisplacementField]:
        """What the network finds from the case's affine when asked for ``words``, none for all."""
        asked = self.smoothness[mode] if smoothness is None else smoothness
        if self.voxels is None:
            settings = Settings(anatomy=tuple(words), mode=mode, smoothness=asked, effort=Effort.FAST)
            done = bent(case, settings, self.network)
            assert done.field is not None  # only rigid and affine registrations have none
            return done.forward, done.field
        known = self.network.known
        condition = as_ask(Condition(known.resolve(words), mode, asked), known)
        question = Question(self.network, case.pair.fixed, case.pair.moving, case.affine, condition)
        with torch.inference_mode():
            found = predict(question, body_box(case.pair.foreground > 0), ((self.voxels, 1),))
            field = finish_field(found.settled(settling(mode, asked)), found.grid, case.images[0].grid, "auto")[0]
        return chain_of(case, field), field


def load_judge(asked: str | None, voxels: int | None = None) -> Judge:
    """Weights by file or shipped name, see ``find_weights``.

    Raises:
        WeightsError: none there, or damaged ones.
    """
    path = find_weights(asked)
    if path is None:
        raise WeightsError("no weights to measure: name some with --weights")
    model = load_model(path)
    config = model.weights.config
    own = {mode: own_smoothness(config, mode) for mode in Mode}
    return Judge(model.network, model.weights.sha256[:12], own, dict(config.get("recipe", {})), voxels)


def weights_told(asked: str | None) -> str:
    """How rows name the weights that a registration with ``--weights`` takes: the beginning of their SHA-256, or none.

    Raises:
        WeightsError: no such weights.
    """
    path = find_weights(asked)
    return NO_WEIGHTS if path is None else str(read_config(path)["sha256"])[:12]


def pair_list(data: Path, name: str, limit: int | None = None) -> PairList:
    """The validation list of a set.

    Raises:
        InputError: a missing or damaged dataset.json.
    """
    path = data / name / "dataset.json"
    try:
        content = json.loads(path.read_text("utf-8"))
        pairs = tuple((path.parent / pair["fixed"], path.parent / pair["moving"]) for pair in content["registration_val"][:limit])
        names = {int(value): label for value, label in content["labels"]["0"].items() if int(value)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a data set with a validation list ({type(error).__name__}: {error}); see --data") from error
    return PairList(name, path.parent, Mode(content.get("mode", "inter")), names, pairs)


def stem(path: Path) -> str:
    """The file name without its suffixes."""
    return path.name.split(".")[0]


def read_labelled(path: Path) -> tuple[Image, Image]:
    """An image and its label map, which has the same name in the folder beside."""
    return read_image(path), read_image(path.parent.parent / "labels" / path.name)


def cases(listed: PairList, cache: Path, skip: set[tuple[str, str]]) -> Iterator[Case]:
    """The pairs that are not in ``skip`` (fixed, moving), read and aligned one after the other."""
    for fixed, moving in listed.pairs:
        if (stem(fixed), stem(moving)) not in skip:
            one, other = read_labelled(fixed), read_labelled(moving)
            yield make_case(listed.name, (stem(fixed), stem(moving)), (one[0], other[0]), (one[1], other[1]), cache)


def make_case(set_name: str, names: tuple[str, str], images: tuple[Image, Image], labels: tuple[Image, Image], cache: Path) -> Case:
    """Normalise and align one pair; its affine is read from ``cache`` if it is there."""
    with torch.inference_mode():
        pair = prepare(images[0], images[1], Settings(), None, None)
        affine = _affine(pair, f"{set_name}|{names[0]}|{names[1]}", cache / "affines-validation.json")
    return Case(set_name, names[0], names[1], images, labels, pair, affine)


def _affine(pair: Prepared, key: str, file: Path) -> Affine:
    known = json.loads(file.read_text("utf-8")) if file.exists() else {}
    if key not in known:
        starts = candidates(pair.fixed, pair.moving, Start.AUTO)
        affine, _ = align(pair.fixed, pair.moving, starts, TransformKind.AFFINE, pair.measure, lambda _done, _total: None)
        known[key] = affine.matrix.tolist()
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            temporary.write_text(json.dumps(known), "utf-8")
    return Affine(np.asarray(known[key]))


def chain_of(case: Case, field: DisplacementField | None) -> Chain:
    """Fixed -> moving: the field, then the affine."""
    return Chain((case.affine,) if field is None else (field, case.affine))


def dice(case: Case, chain: Chain) -> dict[int, float]:
    """Dice of every label of the fixed map, by nearest labels at its own voxels; a label that the moving map lacks scores 0."""
    fixed, moving = case.labels
    low, high = _window(case, chain)
    grid = fixed.grid.padded((-low).tolist(), (high + 1 - np.asarray(fixed.grid.size)).tolist())
    here = fixed.voxels[low[2] : high[2] + 1, low[1] : high[1] + 1, low[0] : high[0] + 1]
    moved = resample(moving.voxels, moving.grid, grid, chain, Interpolation.NEAREST)
    # Background on both sides counts nowhere.
    named = (here > 0) | (moved > 0)
    return dice_per_label(here[named].astype(np.int64), moved[named].astype(np.int64))


def _window(case: Case, chain: Chain) -> tuple[AnyArray, AnyArray]:
    """First and last index (x, y, z) of fixed voxels of which any is labelled or may meet a labelled voxel of the moving map.

    A field and an affine at most bring together what the affine alone does, as far away as the field reaches; after other chains any may.
    """
    grid, moving = case.labels[0].grid, case.labels[1]
    whole = np.zeros(3, int), np.asarray(grid.size) - 1
    *fields, last = chain.steps
    if not isinstance(last, Affine) or not all(isinstance(field, DisplacementField) for field in fields):
        return whole
    reach = sum(float(np.sqrt(np.square(field.vectors_mm).sum(-1).max())) for field in fields if isinstance(field, DisplacementField))
    low, high = _box(moving.voxels)
    corners = np.array([[(low - 1, high + 1)[bit][axis] for axis, bit in enumerate(bits)] for bits in np.ndindex(2, 2, 2)], float)
    points = last.invert().map(corners @ moving.grid.lps_from_index[:3, :3].T + moving.grid.lps_from_index[:3, 3])
    index = points @ grid.index_from_lps[:3, :3].T + grid.index_from_lps[:3, 3]
    margin = reach / np.asarray(grid.spacing) + 1
    own_low, own_high = _box(case.labels[0].voxels)
    first = np.minimum(own_low, np.floor(index.min(axis=0) - margin))
    final = np.maximum(own_high, np.ceil(index.max(axis=0) + margin))
    return np.clip(first, *whole).astype(int), np.clip(final, *whole).astype(int)


def _box(labels: AnyArray) -> tuple[AnyArray, AnyArray]:
    """First and last index (x, y, z) of what is labelled; all of it if nothing is."""
    ends = [np.flatnonzero((labels > 0).any(axis=tuple(a for a in range(3) if a != axis))) for axis in (2, 1, 0)]
    if not len(ends[0]):
        return np.zeros(3, int), np.asarray(labels.shape[::-1]) - 1
    return np.array([end[0] for end in ends]), np.array([end[-1] for end in ends])


def in_both(case: Case) -> set[int]:
    """Labels that both maps have: the others cannot be brought together."""
    first, second = (set(np.unique(labels.voxels).tolist()) for labels in case.labels)
    return (first & second) - {0}


def roughness(case: Case, field: DisplacementField) -> Regularity:
    """Folding and SDlogJ inside the fixed image's labels; the affine changes neither, for its determinant is one number."""
    inside: AnyArray = resample(case.labels[0].voxels, case.labels[0].grid, field.grid, Chain(), Interpolation.NEAREST) > 0
    return regularity(determinant(field), inside)


def bent(case: Case, settings: Settings, network: Network | None) -> Registration:
    """A registration as the tool does it from the case's affine on, which the network may correct."""
    aligned = Aligned(case.images[0], case.pair, case.affine, case.affine, Chain(), None, case.images[1], ())
    return bend(aligned, settings, network=network)


def register(case: Case, words: Sequence[str], mode: Mode, judge: Judge | None) -> tuple[Chain, DisplacementField | None]:
    """The tool's default mode from the case's affine, with a network or by the engine alone."""
    settings = Settings(anatomy=tuple(words), mode=mode, smoothness=0.5 if judge is None else judge.smoothness[mode])
    done = bent(case, settings, None if judge is None else judge.network)
    return done.forward, done.field


def use_threads(count: int) -> None:
    """How many processor cores to use."""
    torch.set_num_threads(count)
