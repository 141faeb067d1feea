"""What the tune split says about weights, against the tool's own resampling and overlap."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from people import STRUCTURES, people, person

from trainer.datasets import Scan
from trainer.sampling import Gallery
from trainer.tune import TunePair, evaluate, structure_dice, tune_pair, warped_labels
from unireg_cli.evaluation.overlap import dice_per_label
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.network import Network
from unireg_cli.spatial import Affine, Chain, Grid
from unireg_cli.spatial.field import field_from_index
from unireg_cli.spatial.resample import resample
from unireg_cli.types import Interpolation, Mode

Make = Callable[..., Network]
KNOWN = vocabulary()
_TURN = Affine.from_parts(np.array([[0, 0, 1.0], [1, 0, 0], [0, -1, 0]]), (-36.0, -34.0, 33.0))
TURNED = Grid.from_matrix((34, 33, 36), _TURN.matrix @ np.diag([2.1, 2.0, 2.0, 1]))


def pair_of(fixed: Scan, moving: Scan, affine: Affine) -> TunePair:
    return tune_pair(fixed, moving, affine, Gallery(), (20_000,), 4)


def half_lattice(pair: TunePair, fixed: Scan) -> Grid:
    """The half-resolution lattice, from what the pair says about its own place."""
    d, h, w = pair.shown[-1].images.shape[2:]
    full = Grid.from_matrix((w, h, d), fixed.grid.lps_from_index @ np.linalg.inv(pair.lattice_from_index))
    return full.resized((w // 2, h // 2, d // 2))


def by_resampling(moving: Scan, fixed: Scan, chain: Chain) -> np.ndarray:
    return np.asarray(resample(moving.labels.numpy(), moving.grid, fixed.grid, chain, Interpolation.NEAREST))


AFFINE = Affine.from_parts(np.eye(3) * 1.02, (0.9, -1.1, 0.63))


def test_without_a_network_it_is_the_affine_alone() -> None:
    fixed, moving = person(0), person(1, TURNED)
    pair, oracle = pair_of(fixed, moving, AFFINE), by_resampling(moving, fixed, Chain((AFFINE,)))
    assert np.array_equal(warped_labels(pair, None).numpy().reshape(oracle.shape), oracle)
    dice = structure_dice(pair, None)
    assert dice == dice_per_label(fixed.labels.numpy().astype(int), oracle.astype(int))
    assert set(dice) == {1, 2, 3, 4, 5} and 0 < min(dice.values()) < max(dice.values()) < 0.95


@pytest.mark.parametrize("shift", [(1.37, 0.0, 0.0), (0.0, -0.91, 0.0), (0.43, 0.77, -1.21)])
def test_a_known_shift_has_the_dice_of_resampled_labels(shift: tuple[float, float, float]) -> None:
    fixed, moving = person(0), person(1, TURNED)
    pair = pair_of(fixed, moving, AFFINE)
    half = half_lattice(pair, fixed)
    displacement = torch.tensor(shift).view(3, 1, 1, 1).expand(3, *half.shape).contiguous()
    mm = half.cosines @ (np.asarray(shift) * np.asarray(half.spacing))
    oracle = by_resampling(moving, fixed, Chain((Affine.from_parts(np.eye(3), mm), AFFINE)))
    # Only ties of single precision may differ.
    assert float((warped_labels(pair, displacement).numpy().reshape(oracle.shape) != oracle).mean()) < 1e-4
    dice, expected = structure_dice(pair, displacement), dice_per_label(fixed.labels.numpy().astype(int), oracle.astype(int))
    assert dice == pytest.approx(expected, abs=1e-3)
    assert dice != pytest.approx(structure_dice(pair, None), abs=0.02)


def test_a_bent_displacement_has_the_dice_of_its_field() -> None:
    fixed, moving = person(0), person(1, TURNED)
    pair = pair_of(fixed, moving, AFFINE)
    half = half_lattice(pair, fixed)
    # Zero at the edge of the lattice: outside a field ends, while the lattice's edge values go on.
    faded = np.prod(np.stack(np.meshgrid(*[np.sin(np.linspace(0, np.pi, n)) for n in half.shape], indexing="ij")), axis=0)
    displacement = torch.from_numpy(np.stack((1.9 * faded, -1.1 * faded, 1.4 * faded)).astype(np.float32))
    oracle = by_resampling(moving, fixed, Chain((field_from_index(displacement, half), AFFINE)))
    assert float((warped_labels(pair, displacement).numpy().reshape(oracle.shape) != oracle).mean()) < 1e-3
    expected = dice_per_label(fixed.labels.numpy().astype(int), oracle.astype(int))
    assert structure_dice(pair, displacement) == pytest.approx(expected, abs=0.01)


def test_a_structure_that_the_moving_image_lacks_scores_nothing() -> None:
    fixed, moving = person(0), person(1)
    moving.labels[moving.labels == 4] = 0
    fixed.labels[fixed.labels == 2] = 0
    dice = structure_dice(pair_of(fixed, moving, Affine.identity()), None)
    assert set(dice) == {1, 3, 4, 5} and dice[4] == 0


def test_images_are_shown_in_place_and_padding_is_hidden() -> None:
    scan = person(0)
    pair = tune_pair(scan, scan, Affine.identity(), Gallery(), (4_000, 9_000), 16)
    coarse, fine = pair.shown
    assert min(coarse.half.spacing) > max(fine.half.spacing)
    for shown in pair.shown:
        assert torch.equal(shown.images[0], shown.images[1]) and torch.equal(shown.known[0], shown.known[1])
        assert all(n % 16 == 0 for n in shown.images.shape[2:])
        assert shown.half.shape == shown.known.shape[2:]
    known = fine.known
    x, y, z = pair.size
    # All of the image is inside the lattice without padding, and nothing of it in the padding.
    assert not bool(known[..., -(-x // 2) :].any()) and not bool(known[..., -(-y // 2) :, :].any())
    assert bool((known[:, :, z // 4 : z // 3, y // 4 - 1 : y // 4 + 1, x // 4 - 1 : x // 4 + 1] == 1).all())


@pytest.fixture
def setting() -> tuple:
    data = people(3)
    keys = [(0, 1), (1, 2), (2, 0)]
    return data, [(key, Mode.INTER) for key in keys], dict.fromkeys(keys, Affine.identity()), Gallery(), KNOWN


def test_a_network_that_says_nothing_gains_nothing(tiny_network: Make, setting: tuple) -> None:
    found = evaluate(tiny_network(still=True), *setting, voxels=6_000)
    data, pairs, affines, *_ = setting
    each = [np.mean(list(structure_dice(pair_of(data.scans[a], data.scans[b], affines[a, b]), None).values())) for (a, b), _ in pairs]
    assert found.dice_affine == found.dice == pytest.approx(np.mean(each))
    assert (found.folding_percent, found.sdlogj, found.asked_gain) == (0, 0, 0) and found.score == found.dice


def test_a_network_that_moves_things_is_seen_to(tiny_network: Make, setting: tuple) -> None:
    network = tiny_network(awake=0.5)
    found = evaluate(network, *setting, voxels=6_000)
    assert found.dice != found.dice_affine and found.sdlogj > 0.01
    assert found.score == pytest.approx(found.dice - 0.2 * found.sdlogj)
    assert math.isfinite(found.asked_gain) and found.asked_gain != 0
    assert found == evaluate(network, *setting, voxels=6_000)


def test_sets_without_askable_structures_have_no_gain(tiny_network: Make, setting: tuple) -> None:
    data, *rest = setting
    nameless = type(data)(data.name, data.mode, data.scans, (-1,) * len(STRUCTURES), ())
    found = evaluate(tiny_network(still=True), nameless, *rest, voxels=6_000)
    assert math.isnan(found.asked_gain) and found.dice > 0
