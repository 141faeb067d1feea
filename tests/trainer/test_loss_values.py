"""What a step descends: values by hand and gradients by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.losses import (
    displacement_at,
    dissimilarity,
    finding,
    found_again,
    nearly_folded,
    overlap,
    roughness,
    volume_change,
)
from trainer.sampling import Labelled
from unireg_cli.spatial.filters import gaussian, resize_displacement
from unireg_cli.spatial.jacobian import index_determinant
from unireg_cli.spatial.sampling import index_lattice, sample_index


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def side(labels: torch.Tensor, points: torch.Tensor, structures: list[int], matrix: np.ndarray | None = None) -> Labelled:
    valid = torch.ones(points.shape[:2], dtype=torch.bool)
    return Labelled(labels, np.eye(4) if matrix is None else matrix, None, torch.tensor(structures), points, valid)


class TestDissimilarity:
    def test_equal_images_are_not_unlike(self) -> None:
        image = numbers(10, 11, 12)
        everywhere = torch.ones_like(image)
        assert float(dissimilarity(image, image, everywhere)) == pytest.approx(0, abs=0.01)
        assert float(dissimilarity(image, 1 - 0.5 * image, everywhere)) == pytest.approx(0, abs=0.02)
        assert float(dissimilarity(image, numbers(10, 11, 12, seed=1), everywhere)) > 0.8

    def test_gradient_is_that_of_finite_differences(self) -> None:
        fixed, moved, weight = numbers(8, 9, 10), numbers(8, 9, 10, seed=1), numbers(8, 9, 10, seed=2)
        moved = (0.5 * moved + 0.5 * fixed).requires_grad_()
        (3 * dissimilarity(fixed, moved, weight)).backward()
        assert moved.grad is not None
        for seed in range(3):
            way = gaussian(numbers(8, 9, 10, seed=10 + seed) - 0.5, (1.0,) * 3)
            step = 1e-2
            with torch.no_grad():
                up, down = (float(dissimilarity(fixed, moved + s * way, weight)) for s in (step, -step))
            assert 3 * (up - down) / (2 * step) == pytest.approx(float((moved.grad * way).sum()), rel=0.02, abs=2e-4)

    def test_only_the_moved_image_has_a_gradient_and_weights_count(self) -> None:
        fixed, moved = numbers(8, 8, 8).requires_grad_(), numbers(8, 8, 8, seed=1).requires_grad_()
        weight = torch.zeros(8, 8, 8)
        weight[:4] = 1
        dissimilarity(fixed, moved, weight).backward()
        assert fixed.grad is None and moved.grad is not None
        assert bool(moved.grad[:4].any()) and not bool(moved.grad[4:].any())


class TestFoundAgain:
    # A line of labels along x: 0 1 1 2 2 2 0 0.
    labels = torch.tensor([0, 1, 1, 2, 2, 2, 0, 0], dtype=torch.uint8).view(1, 1, 8)

    def at(self, xs: list[float], structure: int, stride: int) -> list[float]:
        points = torch.tensor([[[x, 0.0, 0.0] for x in xs]])
        found = found_again(side(self.labels, points, [structure]), points, (stride, 1, 1))
        return [round(value, 5) for value in found[0].tolist()]

    def test_linear_between_voxels(self) -> None:
        assert self.at([1.0, 1.5, 2.25, 3.0, 0.25, 0.0], 1, 1) == [1.0, 1.0, 0.75, 0.0, 0.25, 0.0]
        assert self.at([2.25, 5.5, 6.0], 2, 1) == [0.25, 0.5, 0.0]

    def test_linear_between_the_corners_of_wide_cells(self) -> None:
        # Cells of two voxels have corners at 0, 2, 4, 6: labels 0, 1, 2, 0.
        assert self.at([2.0, 1.0, 3.0, 0.5, 3.5], 1, 2) == [1.0, 0.5, 0.5, 0.25, 0.25]
        # Of four voxels: labels 0 and 2 at 0 and 4, the edge's 0 beyond.
        assert self.at([4.0, 1.0, 5.0], 2, 4) == [1.0, 0.25, 0.75]

    def test_edge_labels_go_on_outside(self) -> None:
        assert self.at([-3.0, 9.0, 1e6], 0, 1) == [1.0, 1.0, 1.0]

    def test_a_wide_cell_pulls_from_further_away(self) -> None:
        for stride, pull in ((1, 0.0), (2, 0.0), (4, -0.25)):
            points = torch.tensor([[[6.5, 0.0, 0.0]]], requires_grad=True)
            found_again(side(self.labels, points, [2]), points, (stride, 1, 1)).sum().backward()
            assert points.grad is not None
            # From the right of structure 2 its share rises to the left.
            assert points.grad[0, 0].tolist() == pytest.approx([pull, 0, 0])

    def test_gradient_is_that_of_finite_differences_in_three_axes(self) -> None:
        labels = (numbers(5, 6, 7) * 3).to(torch.uint8)
        matrix = np.array([[1.1, 0.2, 0, 0.1], [0, 0.9, 0.1, 0.2], [0.1, 0, 0.8, 0.3], [0, 0, 0, 1]])
        points = (numbers(2, 30, 3, seed=1) * 3 + 1).double().requires_grad_()
        one = side(labels, points, [1, 2], matrix)
        assert torch.autograd.gradcheck(lambda p: found_again(one, p, (1, 2, 1)), (points,), eps=1e-7, atol=1e-5)

    def test_shares_of_all_labels_are_one(self) -> None:
        labels = (numbers(5, 6, 7) * 3).to(torch.uint8)
        points = (numbers(1, 40, 3, seed=1) * 4).expand(3, 40, 3)
        total = found_again(side(labels, points, [0, 1, 2]), points, (2, 2, 1)).sum(dim=0)
        assert torch.allclose(total, torch.ones(40))

    def test_nothing_is_made_on_another_device(self) -> None:
        points = torch.zeros(2, 3, 3, device="meta")
        labels = torch.zeros(4, 4, 4, dtype=torch.uint8, device="meta")
        one = Labelled(labels, np.eye(4), torch.zeros(3, 4, 4, 4, device="meta"), torch.zeros(2, device="meta"), points, points[..., 0] > 0)
        assert found_again(one, points, (1, 1, 1)).device.type == "meta"
        assert one.at(points).device.type == "meta"
        assert overlap(one, one, torch.zeros(3, 2, 2, 2, device="meta"), (2, 1, 1))[0].shape == (2,)


class TestOverlap:
    def pair(self) -> tuple[Labelled, Labelled]:
        """A cube of 6 voxels in a map of 16, and the same cube two voxels further along x; points at all voxels of the first."""
        labels = torch.zeros(16, 16, 16, dtype=torch.uint8)
        labels[5:11, 5:11, 4:10] = 1
        points = (labels == 1).nonzero().flip(1).float()[None]
        return side(labels, points, [1]), side(torch.roll(labels, 2, dims=2), points + torch.tensor([2.0, 0, 0]), [1])

    def test_identity_overlaps_itself(self) -> None:
        one, _ = self.pair()
        shares, has = overlap(one, one, torch.zeros(3, 8, 8, 8), (1, 1, 1))
        assert shares.tolist() == [1.0] and has.tolist() == [True]

    def test_a_shift_costs_its_share_and_its_displacement_gains_it_back(self) -> None:
        one, other = self.pair()
        nothing = torch.zeros(3, 8, 8, 8)
        # Two of six layers do not meet.
        assert overlap(one, other, nothing, (1, 1, 1))[0].tolist() == pytest.approx([4 / 6])
        right = nothing.clone()
        right[0] = 1.0
        assert overlap(one, other, right, (1, 1, 1))[0].tolist() == pytest.approx([1.0])
        assert overlap(other, one, -right, (1, 1, 1))[0].tolist() == pytest.approx([1.0])

    def test_points_off_the_lattice_and_missing_structures_do_not_count(self) -> None:
        one, other = self.pair()
        # Only the two layers that do not meet.
        valid = one.points[..., 0] < 6
        part = Labelled(one.labels, one.index_from_lattice, None, one.structures, one.points, valid)
        assert overlap(part, other, torch.zeros(3, 8, 8, 8), (1, 1, 1))[0].tolist() == [0.0]
        none = Labelled(one.labels, one.index_from_lattice, None, one.structures, one.points, torch.zeros_like(valid))
        shares, has = overlap(none, other, torch.zeros(3, 8, 8, 8), (1, 1, 1))
        assert shares.tolist() == [0.0] and has.tolist() == [False]


class TestDisplacementAt:
    def test_a_constant_is_twice_as_many_full_voxels(self) -> None:
        displacement = torch.tensor([1.0, -2.0, 0.5]).view(3, 1, 1, 1).expand(3, 4, 5, 6)
        assert torch.allclose(displacement_at(displacement, numbers(7, 3) * 8), torch.tensor([2.0, -4.0, 1.0]))

    def test_a_linear_field_is_read_at_the_right_places(self) -> None:
        # Half voxel i has its middle at 2 i + 0.5 of the full lattice.
        ramp = torch.arange(6.0).expand(4, 5, 6)
        displacement = torch.stack((ramp, torch.zeros_like(ramp), torch.zeros_like(ramp)))
        points = torch.tensor([[0.5, 3, 3], [2.5, 3, 3], [3.5, 0, 7], [10.5, 3, 3], [0.0, 3, 3]])
        assert displacement_at(displacement, points)[:, 0].tolist() == pytest.approx([0.0, 2.0, 3.0, 10.0, 0.0])

    def test_it_is_the_field_resized_to_the_full_lattice(self) -> None:
        displacement = gaussian(numbers(3, 4, 5, 6) * 10, (1.0,) * 3)
        full = resize_displacement(displacement, (8, 10, 12))
        lattice = index_lattice((8, 10, 12))
        assert torch.allclose(displacement_at(displacement, lattice), full.permute(1, 2, 3, 0), rtol=0, atol=1e-4)
        assert torch.allclose(sample_index(full, lattice).permute(1, 2, 3, 0), full.permute(1, 2, 3, 0), rtol=0, atol=1e-4)


def test_roughness_of_a_linear_field_is_the_sum_of_its_squared_slopes() -> None:
    slopes = numbers(3, 3)
    lattice = index_lattice((4, 5, 6)).permute(3, 0, 1, 2)
    displacement = torch.einsum("ca,adhw->cdhw", slopes, lattice)
    assert float(roughness(displacement, torch.ones(displacement.shape[1:]))) == pytest.approx(float(slopes.square().sum()), rel=1e-4)
    assert float(roughness(torch.ones(3, 4, 4, 4), torch.ones(4, 4, 4))) == 0


def test_roughness_counts_each_voxel_by_its_weight() -> None:
    displacement = torch.zeros(3, 4, 4, 4)
    displacement[0, :, :, 2:] = 1.0
    weight = torch.zeros(4, 4, 4)
    # The one step lies between x = 1 and x = 2, and the voxel before it carries it; 16 of the 48 steps along x are there.
    weight[:, :, 1] = 0.5
    assert float(roughness(displacement, weight)) == pytest.approx(0.5 * 16 / 48)
    assert float(roughness(displacement, 1 - 2 * weight)) == 0


def test_volume_change_by_hand() -> None:
    determinants = torch.tensor([1.0, np.e, 1 / np.e, -3.0]).view(1, 2, 2)
    weight = torch.tensor([5.0, 1.0, 0.5, 0.0]).view(1, 2, 2)
    assert float(volume_change(determinants, weight)) == pytest.approx(1.5 / 4)
    # What folds is as bad as the least volume that is told apart.
    assert float(volume_change(determinants, 1 - weight.clamp_max(1))) == pytest.approx((0.5 + np.log(0.05) ** 2) / 4, rel=1e-5)


def test_nearly_folded_by_hand() -> None:
    lattice = index_lattice((4, 4, 4)).permute(3, 0, 1, 2)
    assert float(nearly_folded(index_determinant(torch.zeros(3, 4, 4, 4)))) == 0
    # x -> 0.1 x has determinant 0.1, 0.1 below what is left alone; x -> -x has -1.
    assert float(nearly_folded(index_determinant(lattice * torch.tensor([-0.9, 0, 0]).view(3, 1, 1, 1)))) == pytest.approx(0.1, abs=1e-5)
    assert float(nearly_folded(index_determinant(lattice * torch.tensor([-2.0, 0, 0]).view(3, 1, 1, 1)))) == pytest.approx(1.2, abs=1e-5)


def test_finding_by_hand() -> None:
    present = torch.zeros(1, 2, 2, 2)
    present[0, 0] = 1
    # Sure and right: nothing to say. Undecided: ln 2 and a Dice of (2 * 4 * 0.5 + 1) / (4 + 4 + 1).
    assert float(finding(40 * present - 20, present)) == pytest.approx(0, abs=1e-4)
    assert float(finding(torch.zeros_like(present), present)) == pytest.approx(0.6931 + 1 - 5 / 9, abs=1e-4)
