"""How much network and refinement each do: steps and smoothness, by effort, mode and what was asked for."""

from __future__ import annotations

from unireg_cli.registration.alignment import ENOUGH, FINEST, coarser
from unireg_cli.registration.maps import StructureMaps
from unireg_cli.registration.prediction import PLAN, beyond_own, settling
from unireg_cli.registration.refinement import Level, Smoothing
from unireg_cli.registration.settings import Settings
from unireg_cli.spatial import Grid
from unireg_cli.types import Effort, Mode, TransformKind

# Most refinement steps per scale, coarsest first, by effort.
_STEPS: dict[Effort, tuple[int, ...]] = {
    Effort.FAST: (60, 40, 20, 0),
    Effort.DEFAULT: (60, 100, 70, 20),
    Effort.BEST: (200, 200, 150, 80),
}
# The same after the network, which leaves the coarsest scale nothing to do.
_STEPS_AFTER: dict[Effort, tuple[int, ...]] = {
    Effort.FAST: (0, 0, 0, 0),
    Effort.DEFAULT: (0, 30, 30, 10),
    Effort.BEST: (0, 100, 150, 80),
}
# The same where structure maps pull and have been laid together before. At coarser scales the images would pull apart what the maps have
# brought together: with (0, 30, 30, 5) hearts lost 0.03 of Dice on tune pairs.
_STEPS_MAPPED: dict[Effort, tuple[int, ...]] = {
    Effort.FAST: (0, 0, 0, 0),
    Effort.DEFAULT: (0, 0, 20, 5),
    Effort.BEST: (0, 0, 60, 40),
}
# Fewest steps where the user's own guides steer: they act at every scale, and the network has not seen them.
_STEPS_STEERED: dict[Effort, tuple[int, ...]] = {
    Effort.FAST: (20, 40, 20, 0),
    Effort.DEFAULT: (20, 60, 60, 30),
    Effort.BEST: (60, 150, 150, 80),
}
# How much more the refinement smooths for one person twice.
_INTRA_STIFFER = 1.2
# How much less the maps of one person do where they alone are laid together, and what is added, with the square of the smoothness, to the
# width that settles the network's part between them, voxels. With finer maps after it (_MAP_STEPS_AFTER) the five tune hearts have with
# --fast 0.839 of Dice at a spread of log |J| of 0.453; 0.73, nothing, and maps on 60,000 voxels gave 0.830 and 0.445. In the default mode
# they have 0.839 and 0.451 and had 0.832 and 0.458. Six hearts of the training list gain 0.005 at equal roughness.
_MAPS_SOFTER = {Mode.INTER: 1.0, Mode.INTRA: 0.5}
_WIDER_MAPPED = {Mode.INTER: 0.0, Mode.INTRA: 2.6}
# What is added to the former from the weights' own smoothness on, with the square of what is above it: at 1 so much. Without it hearts of
# the tune split and six of the training list have log |J| spread by 0.20 at 1, with it by 0.15, and had 0.13; 0.3 gives 0.11 and 0.03 to
# 0.04 of Dice less.
_MAPS_FIRMER = {Mode.INTER: 0.0, Mode.INTRA: 0.2}
# Between two people the same only for organs that slide along each other (StructureMaps.sliding): by so much less where they alone are
# laid together, which is given back up to 1, and by so much more in the refinement that follows; mostly sliding ones are shown to the
# network on fewer lattices (_PLAN_SLIDING). The two tune pairs of abdomen_mr then have 0.815 of Dice at a spread of log |J| of 0.330 with
# --fast and 0.835 and 0.355 in the default mode, and had 0.806 and 0.358, 0.827 and 0.386. Four training pairs have 0.862 and 0.407, 0.870
# and 0.399, and had 0.855 and 0.391, 0.868 and 0.402. 0.45 gains 0.01 to 0.02 more and is rougher by 0.03 to 0.05, as less smoothness would
# be. The parts of a heart are one muscle: those of two people, relied on as far, gain nothing and are rougher by 0.03.
_SLIDING_SOFTER, _SLIDING_STIFFER = 0.3, 0.35
# Between two people the network gives the large, regular part and the refinement adds the detail; what is rough in a prediction it does not
# mend. On tune pairs a prediction asked for smoother by this and settled wider by so many voxels, refined 1.2 instead of 1.7 times as
# smoothly, gained 0.011 of Dice on abdomen_mr and 0.016 on brain_mr and cost hippocampus_mr 0.002, at about the same roughness. Hearts of
# one person lose by both. (Wider still is a little better on pairs that are easy, and rougher on those that are not.) Their refinement is
# what keeps them as smooth as other tools leave them: 2 instead of 2.6 gains 0.002 of Dice, log |J| spreading 0.474 instead of 0.459.
# Where no maps lead, in brains above all, the refinement brings the finest detail: with 0.9 instead of 1.2 brain_mr has 0.649 of Dice at a
# spread of 0.416, and had 0.639 and 0.378; 0.8 gives 0.651 and 0.436.
_SMOOTHER_BEFORE = {Mode.INTER: 0.5, Mode.INTRA: 0.0}
_WIDER_BEFORE = {Mode.INTER: 0.6, Mode.INTRA: 0.0}
_STIFFER_AFTER = {Mode.INTER: 0.9, Mode.INTRA: 2.6}
_STIFFER_AFTER_MAPPED = _STIFFER_AFTER | {Mode.INTER: 1.2}


# How far a step brings structure maps towards each other, as a share of the way, where all structures are relied on altogether. Before the
# network and after it maps are laid together alone, and then pull in the refinement. On tune pairs (examples/claims/tune_split.py; two
# of each set, four hearts) with --fast: 0.8 and smoothing by 2.5 and 1.2 gave abdomen_ct 0.636 of Dice at a spread of log |J| of 0.39,
# abdomen_mr 0.836 and 0.36, hearts 0.822 and 0.42, brain_mr 0.591 and 0.22; without maps before the network abdomen_mr lost 0.03 to 0.05.
# In the default mode 0.8 was rougher (abdomen_ct 0.650 and 0.439) than 0.5 (0.659 and 0.409).
# Since the affine no longer follows the maps alone, 0.5 and refinements 1.3 times as smooth give 0.665 and 0.438 (abdomen_mr 0.868 and
# 0.358), 0.4 gives 0.666 and 0.430 (0.861 and 0.356), and 1.5 times 0.661 and 0.419 (0.864 and 0.339).
_MAP_STRENGTH = 0.45
# As a share of the former, the pull of maps that do not lead, which stand beside images that know as much. On brain_mr, with the softer
# refinement above, 1 gives 0.648 of Dice at a spread of log |J| of 0.448, 0.5 gives 0.649 and 0.416, and no pull 0.645 and 0.396.
_BESIDE = 0.5
# How much more the refinement smooths where maps pull. On the lattice below: 1.45 gives abdomen_ct 0.659 and 0.402, abdomen_mr 0.862 and
# 0.340, hippocampus_mr 0.774 and 0.208; 1.15 gives 0.669 and 0.430, 0.868 and 0.378, 0.780 and 0.244. Since maps are
# found on 1.6 million voxels and affines by them go part of the way, 1.15 gives abdomen_ct 0.672 and 0.419, abdomen_mr 0.869 and 0.329, and
# 1.05 gives 0.676 and 0.432, 0.872 and 0.337; eighteen pairs of hippocampus_mr have 0.790 and 0.237, 0.791 and 0.249. 1.0: 0.676 and 0.436,
# 0.873 and 0.345.
_STIFFER_MAPPED = 1.05
# Most voxels that are refined of two people where maps lead. Maps are found on about as many, and organs have no finer detail that two
# people share: on abdomen_ct at 1.45 five million voxels gave 0.664 and 0.418 in twice the time. Of brains, whose maps do not lead, the
# bend of every gyrus counts: there two million instead of five cost 0.016 of Dice.
_VOXELS_MAPPED = 1_500_000
# Voxels of the network's lattices and passes on each, as in PLAN, after structure maps have been laid together: what is large is done. The
# last one of 4 million instead of 3 gains abdomen_ct 0.003 of Dice with --fast, and hearts of one person hardly any.
_PLAN_MAPPED = ((140_000, 1), (700_000, 1), (4_000_000, 1))
# The same for organs that mostly slide along each other, in a sixth less time of the whole process. With a lattice of
# 700,000 between them, at 0.45, --fast gains 0.007 of Dice on abdomen_mr and is rougher by 0.033.
_PLAN_SLIDING = ((140_000, 1), (1_500_000, 1))
# Where nothing but structure maps has a say: voxels of a scale, about, and most steps there. Tune pairs (five hearts), --fast: scales of
# 60,000 and 400,000 voxels both times, smoothing by 2.5 and 1.2, and a network up to 2 million gave abdomen_ct 0.638, abdomen_mr 0.815 and
# hearts 0.822; 20,000 and 60,000 before, 100,000 after, and 3 million 0.647, 0.829 and 0.824 in four fifths of the time. Ten more steps
# before and 60,000 voxels after then gained 0.003 and 0.002 on abdomens and cost hearts 0.001, in less time. One person's structures agree
# in finer detail: 250,000 voxels after gave hearts 0.002 more at equal roughness; 400,000 the same.
_MAP_STEPS_BEFORE = ((20_000, 40), (60_000, 20))
_MAP_STEPS_AFTER = {Mode.INTER: ((60_000, 12),), Mode.INTRA: ((250_000, 12),)}
_MAP_SMOOTHING = Smoothing(2.0, 1.0)
# The same for the structures that were asked for alone, after that. On two tune pairs each, hearts gain
# 0.03 of Dice and abdomen_mr 0.05, others lose nothing.
_ASKED_STEPS = ((150_000, 10), (400_000, 10))
_ASKED_SMOOTHING, _ASKED_STRENGTH = Smoothing(1.2, 0.6), 0.8
ASKED_PARTS = (1.0, 0.5, 0.25)
"""As much of their way as the images near them bear is gone: all of it, or these parts."""


def network_plan(settings: Settings, maps: StructureMaps | None) -> tuple[tuple[int, int], ...]:
    """Most voxels of the network's lattices, about, and passes on each, coarse first; ``maps`` are those that lead, None if none do."""
    if maps is None:
        return PLAN
    return _PLAN_SLIDING if _sliding(settings, maps) >= 0.5 else _PLAN_MAPPED


def map_levels(grid: Grid, settings: Settings, maps: StructureMaps, *, after_network: bool) -> list[Level]:
    """Scales on which structure maps alone are laid onto each other, the last one no finer than ``grid``."""
    steps = _MAP_STEPS_AFTER[settings.mode] if after_network else _MAP_STEPS_BEFORE
    softer = _SLIDING_SOFTER * _sliding(settings, maps)
    own = _MAPS_SOFTER[settings.mode] - softer + (_MAPS_FIRMER[settings.mode] + softer) * beyond_own(settings.smoothness) ** 2
    return _alone(grid, steps, _MAP_SMOOTHING, (0.5 + settings.smoothness) * own)


def _sliding(settings: Settings, maps: StructureMaps) -> float:
    """As ``StructureMaps.sliding`` between two people; one person has softer maps than these whatever they show."""
    return 0.0 if settings.mode is Mode.INTRA else maps.sliding


def asked_levels(grid: Grid, settings: Settings) -> list[Level]:
    """The same for the maps of structures that were asked for."""
    return _alone(grid, _ASKED_STEPS, _ASKED_SMOOTHING, 0.5 + settings.smoothness)


def _alone(grid: Grid, plan: tuple[tuple[int, int], ...], smoothing: Smoothing, strength: float) -> list[Level]:
    stiff = Smoothing(strength * smoothing.velocity, strength * smoothing.field)
    return [Level(coarser(grid, voxels) if voxels < grid.voxels else grid, steps, stiff) for voxels, steps in plan]


def asked_strength(reliance: float) -> float:
    """As :func:`map_strength` for the structures that were asked for, laid together alone."""
    return _ASKED_STRENGTH * reliance


def map_strength(maps: StructureMaps) -> float:
    """How far a step brings structure maps towards each other, as a share of the way."""
    return _MAP_STRENGTH * maps.reliance * (1.0 if maps.leading else _BESIDE)


def network_alone(settings: Settings) -> bool:
    """Whether nothing follows the network, as long as nobody steers."""
    return settings.effort is Effort.FAST and not settings.iterations


def voxels_for_affine(settings: Settings, *, network: bool) -> int:
    """Voxels of the finest scale on which the affine is looked for."""
    short = network and network_alone(settings) and settings.mode is Mode.INTER and settings.transform is TransformKind.DEFORMABLE
    return ENOUGH if short else FINEST


def network_smoothness(settings: Settings, *, steered: bool) -> float:
    """How smooth the network is told to be, on the scale of ``--smoothness`` and no more than its end.

    More than was asked for of the whole where a refinement adds its own detail.
    """
    return min(1.0, settings.smoothness + (_SMOOTHER_BEFORE[settings.mode] if _refined(settings, steered) else 0.0))


def settling_width(settings: Settings, *, steered: bool, mapped: bool = False) -> float:
    """How wide a Gaussian settles the prediction, voxels of its lattice; wider where a refinement adds its own detail.

    ``mapped``: structure maps lead, and between images of one person they say better than the network what is fine.
    """
    more = _WIDER_BEFORE[settings.mode] if _refined(settings, steered) else 0.0
    if mapped:
        more += _WIDER_MAPPED[settings.mode] * settings.smoothness**2
    return settling(settings.mode, settings.smoothness) + more


def _refined(settings: Settings, steered: bool) -> bool:
    """Whether the images' detail follows the network; guides have a pull of their own."""
    return not steered and not network_alone(settings)


def most_voxels(settings: Settings, *, steered: bool, mapped: bool) -> int:
    """Most voxels of the lattice that is refined and written; ``mapped`` as in :func:`refinement_steps`."""
    fewer = mapped and not steered and settings.effort is Effort.DEFAULT and settings.mode is Mode.INTER
    return min(settings.voxel_budget, _VOXELS_MAPPED) if fewer else settings.voxel_budget


def refinement_steps(settings: Settings, *, network: bool, steered: bool, mapped: bool = False) -> tuple[int, ...]:
    """Most refinement steps per scale, coarsest first; ``mapped``: structure maps pull, beside the images and the user's guides."""
    after = _STEPS_MAPPED if mapped else _STEPS_AFTER
    steps = after[settings.effort] if network else _STEPS[settings.effort]
    if steered:
        steps = tuple(max(pair) for pair in zip(steps, _STEPS_STEERED[settings.effort], strict=True))
    return steps if settings.iterations is None else (*steps[:-1], settings.iterations)


def stiffness(settings: Settings, *, after_network: bool, maps: StructureMaps | None = None) -> float:
    """By what the refinement's usual smoothing is multiplied; ``maps`` as in :func:`network_plan`."""
    mapped = 1.0 if maps is None else _STIFFER_MAPPED + _SLIDING_STIFFER * _sliding(settings, maps)
    own = (_INTRA_STIFFER if settings.mode is Mode.INTRA else 1.0) * mapped
    after = _STIFFER_AFTER if maps is None else _STIFFER_AFTER_MAPPED
    return (0.5 + settings.smoothness) * own * (after[settings.mode] if after_network else 1.0)
