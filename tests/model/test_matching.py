"""Comparing neighbours, against sums over single voxels done by hand."""

from __future__ import annotations

import pytest
import torch

from unireg_cli.model.matching import NEIGHBOURS, Match, _Products, correlation, products_at_once


def test_neighbours_are_all_or_those_that_share_a_face() -> None:
    assert len(NEIGHBOURS[27]) == len(set(NEIGHBOURS[27])) == 27
    assert set(NEIGHBOURS[7]) == {(1, 1, 1), (0, 1, 1), (2, 1, 1), (1, 0, 1), (1, 2, 1), (1, 1, 0), (1, 1, 2)}


@pytest.mark.parametrize("neighbours", [7, 27])
def test_correlation_by_hand(neighbours: int) -> None:
    fixed, moved = torch.randn(1, 3, 4, 5, 6), torch.randn(1, 3, 4, 5, 6)
    found = correlation(fixed, moved, neighbours)
    assert found.shape == (1, neighbours, 4, 5, 6)
    for place in ((1, 2, 3), (0, 0, 0), (3, 4, 5)):
        here = fixed[0, :, place[0], place[1], place[2]]
        for k, step in enumerate(NEIGHBOURS[neighbours]):
            # Beyond the edge its voxels repeat.
            z, y, x = (min(max(at + part - 1, 0), n - 1) for at, part, n in zip(place, step, (4, 5, 6), strict=True))
            there = moved[0, :, z, y, x]
            cosine = float((here * there).sum() / (here.norm() * there.norm()))
            assert float(found[0, k, place[0], place[1], place[2]]) == pytest.approx(cosine, abs=1e-5)


def test_correlation_of_nothing_is_nothing() -> None:
    empty = torch.zeros(1, 2, 3, 3, 3)
    assert torch.equal(correlation(empty, empty, 7), torch.zeros(1, 7, 3, 3, 3))


@pytest.mark.parametrize("neighbours", [7, 27])
@pytest.mark.parametrize("step", [(2, 1, 1), (1, 0, 1), (1, 1, 2), (1, 1, 1)])
def test_match_points_at_the_best_neighbour(neighbours: int, step: tuple[int, int, int]) -> None:
    match = Match(neighbours)
    similarity = torch.full((1, neighbours, 2, 2, 2), -1.0)
    similarity[:, NEIGHBOURS[neighbours].index(step)] = 1.0
    z, y, x = (part - 1 for part in step)
    # exp(-20) of a weight is left for each of the others.
    assert torch.allclose(match(similarity)[0, :, 1, 0, 1], torch.tensor([x, y, z], dtype=torch.float32), rtol=0, atol=1e-6)


def test_match_is_the_weighted_mean_and_zero_where_all_are_alike() -> None:
    match = Match(7)
    assert torch.allclose(match(torch.full((1, 7, 2, 2, 2), 0.3)), torch.zeros(1, 3, 2, 2, 2), rtol=0, atol=1e-6)
    similarity = torch.zeros(1, 7, 1, 1, 1)
    similarity[0, NEIGHBOURS[7].index((1, 1, 2))] = 0.1
    # Six weights of 1 and one of e^(10 * 0.1), that of x + 1; the one of x - 1 pulls back.
    e = 2.718281828
    assert match(similarity)[0, :, 0, 0, 0].tolist() == pytest.approx([(e - 1) / (6 + e), 0, 0], abs=1e-6)


def test_match_of_a_moved_image_is_its_motion() -> None:
    # Random features tell every place apart; the moved image shows at x + 1 what the fixed one shows at x.
    fixed = torch.randn(1, 16, 6, 6, 6)
    moved = torch.roll(fixed, 1, dims=4)
    found = Match(27)(correlation(fixed, moved, 27))[0, :, :, :, 1:-2].mean(dim=(1, 2, 3))
    assert found.tolist() == pytest.approx([1, 0, 0], abs=0.15)


@pytest.mark.parametrize("neighbours", [7, 27])
def test_products_plane_by_plane_are_those_at_once(neighbours: int) -> None:
    fixed, moved = torch.randn(3, 4, 5, 6), torch.randn(3, 6, 7, 8)
    one, other = _Products.apply(fixed, moved, neighbours), products_at_once(fixed, moved, neighbours)
    assert torch.allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("neighbours", [7, 27])
def test_gradients_of_products_are_their_slopes(neighbours: int) -> None:
    fixed = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    moved = torch.randn(2, 4, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda one, other: _Products.apply(one, other, neighbours), (fixed, moved))


def test_features_in_bfloat16_are_compared_in_float32() -> None:
    fixed, moved = torch.randn(1, 4, 3, 3, 3).bfloat16(), torch.randn(1, 4, 3, 3, 3).bfloat16()
    assert torch.equal(correlation(fixed, moved, 7), correlation(fixed.float(), moved.float(), 7))
