"""What is expected of a pair before its refinement: landmarks, structure maps and the network, each from where those before it lead."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

from unireg_cli.model.condition import Condition
from unireg_cli.model.network import Network
from unireg_cli.registration.aligned import Aligned
from unireg_cli.registration.closeup import look_closer
from unireg_cli.registration.judging import KNOWN_LOSS, likeness
from unireg_cli.registration.laying import lay_after, lay_before
from unireg_cli.registration.map_affine import brought_together
from unireg_cli.registration.maps import StructureMaps, map_structures
from unireg_cli.registration.network_grid import body_box, network_grid
from unireg_cli.registration.prediction import Prediction, Question, as_ask, predict
from unireg_cli.registration.schedule import network_alone, network_plan, network_smoothness, settling_width
from unireg_cli.registration.settings import Settings
from unireg_cli.registration.steering import Guide
from unireg_cli.spatial.inverse import invert_index
from unireg_cli.types import Mode

# Structure maps are believed beside landmarks if they bring these so much closer: nobody places landmarks exactly. Made-up torsos, whose
# structures no segmenter was taught, had landmarks with 1 mm of noise 0.93 and 0.84 times as far off with them as without, and then all
# else 0.6 and 0.8 mm further off.
_MUCH_CLOSER = 0.7
# Maps of two people that raise the similarity by less than this over that under the images' own affine are doubted: by the network alone,
# and by a prediction that is smoother because a refinement follows. On tune pairs of a set that training had not seen they gained 0.029 and
# 0.013 at most, and could turn affines so far that Dice fell from 0.63 to 0.16; of sets that were learned from, 0.11 and 0.06 at least. No
# more than that: who doubts right maps loses as much, for images are often more alike without them. Hearts of one person lose most.
_DOUBTED_ALONE, _DOUBTED_REFINED = 0.03, 0.02
# Familiarity from which on images are of a kind that the network has learned from: those of five sets, two or more tune pairs each, lie at
# 0.76 to 0.94, those of two sets that were left out of training, sixteen pairs, at 0.57 to 0.68.
_FAMILIAR = 0.72
# Voxels on which maps are laid together, and landmarks followed, before the network, about: as many as its first lattice after maps has.
_BEGUN_VOXELS = 140_000
# Maps are doubted where they agree by more than this, of one person under the affine that they have corrected, of two under the images'
# own: then what is left of their difference is mostly what is wrong with them.
_NOTHING_LEFT = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """The network's ``prediction`` from the affine of ``aligned``, which structure ``maps``, if any, have corrected.

    ``familiar``: whether the network knows such images, as far as that was looked at; ``known``: whether maps of such images are there, and
    differ under the images' own affine.
    """

    aligned: Aligned
    prediction: Prediction
    maps: StructureMaps | None
    familiar: bool
    known: bool = False


def expect(network: Network, aligned: Aligned, guide: Guide | None, settings: Settings, most_voxels: int | None = None) -> Expectation:
    """Ask the network, under the condition that the settings ask for; on lattices no finer than it was taught on, nor than asked for.

    Structure maps are a belief about each image on its own: if in the end the images are hardly more alike than under the affine alone,
    they may be wrong, as in a kind of image that the segmenter has not seen. Then the network is asked without them too, and they are used
    only if the images are more alike with them. Two people in images that it knows may be a little less alike. Landmarks of the user judge
    instead: maps are used only if they leave these much closer to their partners.
    """
    finest = min(network.settings.pair_voxels, most_voxels or network.settings.pair_voxels)
    mapped, maps = _map(network, aligned, settings)
    familiar = not _looks(network, aligned) or _is_familiar(maps)
    known = maps is not None and familiar and maps.agreement(aligned.affine) <= _NOTHING_LEFT
    found = Expectation(mapped, _predict(network, mapped, maps, guide, settings, finest), maps, familiar, known)
    if maps is None:
        return found
    before, after = likeness(aligned.pair, aligned.affine), likeness(aligned.pair, mapped.affine, found.prediction)
    judges = guide is not None and guide.landmarks is not None
    if after > before + _least_gain(found, settings) and not judges:
        return found
    plain = aligned.undecided()
    other = Expectation(plain, _predict(network, plain, None, guide, settings, finest), None, familiar)
    alone = likeness(plain.pair, plain.affine, other.prediction)
    better = found if after > max(before, alone) else other
    words = f"{'' if better is found else 'not used: '}similarity {after:.3f} with their maps, {alone:.3f} without, {before:.3f} before"
    if guide is not None and judges:
        grid, later = aligned.fixed.grid, aligned.later
        with_maps, without = (guide.mean_error(one.aligned.affine, one.prediction.on, grid, later) for one in (found, other))
        better = found if with_maps < _MUCH_CLOSER * without else other
        words = f"landmarks {with_maps:.2f} mm off with their maps, {without:.2f} without"
    told = mapped.pair.decisions
    better.aligned.pair.decisions.update(familiarity=told["familiarity"], structures=f"{told['structures']} ({words})")
    return better


def _least_gain(found: Expectation, settings: Settings) -> float:
    """How much more alike than under the affine alone the images must be for the maps that led there not to be doubted."""
    if settings.mode is Mode.INTRA:
        maps = found.maps
        alike = maps is not None and maps.leading and maps.agreement(found.aligned.affine) > _NOTHING_LEFT
        return math.inf if alike else 0.0
    if found.known:
        return -KNOWN_LOSS
    return _DOUBTED_ALONE if network_alone(settings) else _DOUBTED_REFINED


def _is_familiar(maps: StructureMaps | None) -> bool:
    """Whether a network that looked for structures knows such images; not where it sees none in both of them."""
    return maps is not None and maps.familiarity >= _FAMILIAR


def _looks(network: Network, aligned: Aligned) -> bool:
    """Whether the network looks for structures: if it was taught any, unless the user knows better where they are."""
    return network.segmenter is not None and (aligned.steering is None or aligned.steering.segmentations is None)


def _map(network: Network, aligned: Aligned, settings: Settings) -> tuple[Aligned, StructureMaps | None]:
    """Where the network believes structures to be, if it looks, and the affine that this brings."""
    if not _looks(network, aligned):
        return aligned, None
    aligned = aligned.undecided()
    pair, asked = aligned.pair, network.known.resolve(settings.anatomy)
    favoured = () if asked.everything else tuple(asked.structures)
    bodies = body_box(pair.foreground > 0), body_box(pair.moving_foreground > 0)
    maps = map_structures(network, (pair.fixed, pair.moving), bodies, aligned.affine, favoured)
    better = None if maps is None else brought_together(maps, aligned.affine, partial(likeness, pair))
    if better is not None:
        affine, pair.decisions["affine"] = better
        aligned = replace(aligned, affine=affine)
    names = [] if maps is None else [network.known.name_of(id) for id in maps.structures]
    pair.decisions["structures"] = f"{len(names)} seen in both images{': ' if names else ''}{', '.join(names)}"
    kind = "like" if _is_familiar(maps) else "unlike"
    pair.decisions["familiarity"] = f"{0 if maps is None else maps.familiarity:.2f}, {kind} images that the network has learned from"
    return aligned, maps


def _predict(
    network: Network, aligned: Aligned, maps: StructureMaps | None, guide: Guide | None, settings: Settings, finest: int
) -> Prediction:
    """The network's passes from where landmarks and structure maps lead, and structure maps laid onto each other after it."""
    pair, steered = aligned.pair, guide is not None
    device, known = pair.fixed.values.device, network.known
    condition = Condition(known.resolve(settings.anatomy), settings.mode, network_smoothness(settings, steered=steered))
    box = body_box(pair.foreground > 0)
    leading = maps is not None and maps.leading
    wanted = network_plan(settings, maps if leading else None)
    plan = [(min(voxels, finest), passes) for voxels, passes in wanted]
    grid = network_grid(pair.fixed.grid, box, pair.moving.grid, min(_BEGUN_VOXELS, plan[-1][0]))
    # Where landmarks show a large motion, images alone would lead the network to the wrong place, and what it finds from there is no
    # longer wrong in a way that a few landmarks could mend.
    spline = None if guide is None else guide.start(aligned.affine, None, grid, device)
    begun = None if spline is None else Prediction(spline, invert_index(spline), grid, grid, None)
    if maps is not None and leading:
        begun = lay_before(pair, aligned.affine, maps, grid, settings, begun)
    question = Question(network.to(device), pair.fixed, pair.moving, aligned.affine, as_ask(condition, known, device))
    found = predict(question, box, plan, begun)
    pair.decisions["network_grid"] = found.lattice.describe()
    found = replace(found, displacement=found.settled(settling_width(settings, steered=steered, mapped=leading)))
    if maps is not None:
        found = lay_after(pair, aligned.affine, maps, found, settings)
    found, told = look_closer(question, box, maps, found, finest)
    if told is not None:
        pair.decisions["closeup"] = told
    return found
