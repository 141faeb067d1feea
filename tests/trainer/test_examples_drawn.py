"""One training example: what is in it lies where it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from people import STRUCTURES, person
from torch import Tensor

from trainer.augmentation import Augmentation, Views
from trainer.datasets import Scan
from trainer.lattices import Lattices
from trainer.sampling import Example, Gallery, draw_points, halved, make_example, nearest
from trainer.synthesis import Contrast
from unireg_cli.spatial import Affine, Grid
from unireg_cli.spatial.inverse import invert_index
from unireg_cli.spatial.jacobian import index_determinant
from unireg_cli.spatial.sampling import index_lattice, sample_index
from unireg_cli.types import Mode

_TURN = Affine.from_parts(np.array([[0, 0, 1.0], [1, 0, 0], [0, -1, 0]]), (-36.0, -34.0, 33.0))
OBLIQUE = Grid.from_matrix((34, 33, 36), _TURN.matrix @ np.diag([2.1, 2.0, 2.0, 1]))
PLAIN = Augmentation(intensity_probability=0)
STILL = Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 0)


def example(
    fixed: Scan, moving: Scan, settings: Augmentation = PLAIN, *, known_motion: bool = False, seed: int = 0, **changes: Any
) -> Example:
    lattices = Lattices(changes.pop("voxels", 20_000))
    keys: dict[str, Any] = {"lattices": lattices, "divisor": 4, "most_structures": 9, "each": 50, "affine": np.eye(4)} | changes
    return make_example(
        fixed,
        moving,
        STRUCTURES,
        keys.pop("affine"),
        Mode.INTER,
        Views(settings, known_motion=known_motion),
        Gallery(),
        generator=torch.Generator().manual_seed(seed),
        **keys,
    )


def test_images_that_look_different_are_not_compared() -> None:
    kinds = set()
    for seed in range(12):
        plain, made = (example(person(0), person(0), replace(STILL, appearance_probability=often), seed=seed) for often in (0, 1))
        assert plain.alike and not torch.equal(made.shown.images, plain.shown.images)
        same = torch.equal(made.shown.images[0], made.shown.images[1])
        assert made.alike is same
        kinds.add(same)
    assert kinds == {True, False}


def read(image: Tensor, points: Tensor) -> Tensor:
    return sample_index(image[None], points)[0]


class TestNearest:
    LABELS = torch.arange(24, dtype=torch.int16).view(2, 3, 4) + 1

    def test_voxels_by_hand(self) -> None:
        index = torch.tensor([[0.0, 0.0, 0.0], [3.4, 1.6, 0.6], [2.0, 0.4, 1.4]])
        # z * 12 + y * 4 + x + 1 of (3, 2, 1) and (2, 0, 1).
        assert nearest(self.LABELS, index).tolist() == [1, 24, 15]

    def test_nothing_lies_outside(self) -> None:
        index = torch.tensor([[-0.6, 0.0, 0.0], [3.6, 0.0, 0.0], [0.0, 2.6, 0.0], [0.0, 0.0, 1.6], [1e9, -1e9, 0.0]])
        assert nearest(self.LABELS, index).tolist() == [0] * 5


class TestGallery:
    def test_voxels_label_by_label(self) -> None:
        scan, gallery = person(0), Gallery()
        flat, starts = gallery.voxels(scan, len(STRUCTURES))
        assert starts[0] == 0 and starts[-1] == len(flat) == int((scan.labels > 0).sum())
        for label in range(1, len(STRUCTURES)):
            part = flat[starts[label] : starts[label + 1]].long()
            assert torch.equal(part.sort().values, (scan.labels.reshape(-1) == label).nonzero()[:, 0])
        assert gallery.voxels(scan, len(STRUCTURES))[0] is flat

    def test_present_labels(self) -> None:
        scan = person(0)
        scan.labels[scan.labels == 2] = 0
        assert Gallery().present(scan, 6).tolist() == [False, True, False, True, True, True]

    def test_values_at_a_coarser_spacing_show_the_same(self) -> None:
        scan, gallery = person(0), Gallery()
        values, grid = gallery.values(scan, 4.0)
        assert all(3.2 < edge < 4.8 for edge in grid.spacing)
        assert np.allclose(grid.corners_lps(), scan.grid.corners_lps())
        assert scan.values is not None
        assert float(values.float().mean()) == pytest.approx(float(scan.values.float().mean()), rel=0.02)
        assert gallery.values(scan, 4.05)[0] is values and gallery.values(scan, 8.0)[0] is not values


class TestPoints:
    def test_every_point_lies_in_a_voxel_of_its_label(self) -> None:
        scan, chosen = person(0, OBLIQUE), torch.tensor([3, 1, 5])
        points, exist = draw_points(scan, Gallery(), chosen, 6, 200, torch.Generator().manual_seed(0))
        assert points.shape == (3, 200, 3) and exist.tolist() == [True] * 3
        assert bool((nearest(scan.labels, points) == chosen[:, None]).all())
        # Anywhere in a voxel, not in its middle only.
        assert float((points - points.round()).abs().max()) > 0.45 and float((points - points.round()).abs().mean()) > 0.2
        # All of a structure is reached, and in proportion: the mean of the points is its centre.
        centres = [(scan.labels == int(k)).nonzero().flip(1).float().mean(dim=0) for k in chosen]
        assert float((points.mean(dim=1) - torch.stack(centres)).abs().max()) < 0.6

    def test_a_structure_that_is_not_there_has_none(self) -> None:
        scan = person(0)
        scan.labels[scan.labels == 5] = 0
        _, exist = draw_points(scan, Gallery(), torch.tensor([5, 2]), 6, 10, torch.Generator().manual_seed(0))
        assert exist.tolist() == [False, True]


@pytest.mark.parametrize("known_motion", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_points_land_in_their_structure_after_all_maps(seed: int, known_motion: bool) -> None:
    fixed, moving = person(0), person(0 if known_motion else 1, OBLIQUE)
    made = example(fixed, moving, Augmentation(bend_probability=1, bend=0.05), seed=seed, known_motion=known_motion)
    assert made.moving.shift is not None and made.fixed.shift is None
    assert sorted(made.fixed.structures.tolist()) == [1, 2, 3, 4, 5]
    assert torch.equal(made.fixed.structures, made.moving.structures)
    for side in (made.fixed, made.moving):
        right = side.at(side.points) == side.structures[:, None]
        # At most a rounding error away from the border of its voxel.
        assert float(right.float().mean()) > 0.99
        x, y, z = made.size
        inside = ((side.points >= 0) & (side.points <= torch.tensor([x, y, z]) - 1)).all(dim=-1)
        assert torch.equal(side.valid, inside) and float(inside.float().mean()) > 0.8


def test_points_beyond_the_lattice_are_not_valid() -> None:
    # The body that decides the lattice ends before the spleen, at x from 8 to 24 mm.
    fixed = replace(person(0), body=((0, 0, 0), (18, 31, 29)))
    made = example(fixed, person(1), STILL, each=200)
    share = made.fixed.valid.float().mean(dim=1)[made.fixed.structures.argsort()].tolist()
    assert share[0] == 1 and share[1] < 0.1
    assert made.fixed.points[~made.fixed.valid].max() > made.size[0] - 1


@pytest.mark.parametrize("bend", [0.0, 1.0])
def test_images_and_labels_are_of_one_place(bend: float) -> None:
    """The brightness that a structure has in its scan is met at its points in the image of the lattice."""
    fixed, moving = person(0), person(1, OBLIQUE)
    made = example(fixed, moving, Augmentation(intensity_probability=0, bend_probability=bend), voxels=60_000, each=400)
    for image, side, scan in zip(made.shown.images[:, 0], (made.fixed, made.moving), (fixed, moving), strict=True):
        assert scan.values is not None
        for k, label in enumerate(side.structures.tolist()):
            seen = read(image, side.points[k])[side.valid[k]]
            assert float(seen.mean()) == pytest.approx(float(scan.values[scan.labels == label].float().mean()), abs=0.05)


class TestKnownMotion:
    @pytest.mark.parametrize("seed", range(3))
    def test_the_true_displacement_brings_the_moving_image_onto_the_fixed_one(self, seed: int) -> None:
        scan = person(0)
        made = example(scan, scan, known_motion=True, seed=seed, voxels=60_000)
        assert made.motion is not None and made.alike
        points, truth = made.motion
        length = truth.norm(dim=-1)
        # Up to 5 % of the shortest edge.
        assert 0.3 < float(length.max()) < 0.05 * min(made.shown.images.shape[2:]) + 1e-3
        # Both sides read the same place of the same map.
        assert float((made.fixed.index(points) - made.moving.index(points + truth)).abs().max()) < 1e-3
        same = made.fixed.at(points) == made.moving.at(points + truth)
        assert float(same.float().mean()) > 0.999
        here, there, unmoved = (read(made.shown.images[k, 0], at) for k, at in ((0, points), (1, points + truth), (1, points)))
        assert float((here - there).abs().mean()) < 0.01
        assert float((here - unmoved).abs().mean()) > 1.8 * float((here - there).abs().mean())

    def test_it_is_the_inverse_of_what_was_drawn(self) -> None:
        scan = person(0)
        made = example(scan, scan, known_motion=True, seed=1)
        assert made.motion is not None and made.moving.shift is not None
        points, truth = made.motion
        assert float(index_determinant(made.moving.shift).min()) > 0
        inside = ((points > 1) & (points < torch.tensor(made.size) - 2)).all(dim=-1)
        apart = (sample_index(invert_index(made.moving.shift), points).T - truth).norm(dim=-1)[inside]
        assert float(apart.max()) < 0.1 * float(truth.norm(dim=-1).max())

    def test_points_of_a_structure_move_into_it(self) -> None:
        """The same truth for the labels' points: fixed points, displaced, are in the structure of the moving map."""
        scan = person(2)
        made = example(scan, scan, known_motion=True, seed=2)
        assert made.moving.shift is not None
        inverse = invert_index(made.moving.shift)
        moved = made.fixed.points + sample_index(inverse, made.fixed.points).movedim(0, -1)
        found = made.moving.at(moved) == made.fixed.structures[:, None]
        assert float(found[made.fixed.valid].float().mean()) > 0.97

    def test_other_examples_have_none(self) -> None:
        assert example(person(0), person(1), Augmentation(bend_probability=1)).motion is None


class TestLattice:
    @pytest.mark.parametrize("divisor", [4, 16])
    def test_sizes_are_padded(self, divisor: int) -> None:
        made = example(person(0), person(1), divisor=divisor)
        d, h, w = made.shown.images.shape[2:]
        assert made.shown.images.shape == (2, 1, d, h, w) and made.shown.known.shape == (2, 1, d // 2, h // 2, w // 2)
        for padded, plain in zip((w, h, d), made.size, strict=True):
            assert padded % divisor == 0 and 0 <= padded - plain < divisor
        assert made.spacing == pytest.approx((72 * 67.2 * 66 * 1.08**3 / np.prod(made.size)) ** (1 / 3), rel=0.08)

    def test_half_a_lattice_knows_the_mean_of_its_blocks(self) -> None:
        full = torch.rand(2, 1, 4, 6, 8)
        half = halved(full)
        assert half.shape == (2, 1, 2, 3, 4)
        assert float(half[1, 0, 1, 2, 3]) == pytest.approx(float(full[1, 0, 2:4, 4:6, 6:8].mean()))

    def test_known_is_where_the_images_are(self) -> None:
        made = example(person(0), person(1, OBLIQUE), STILL)
        half = index_lattice((made.shown.known.shape[2], made.shown.known.shape[3], made.shown.known.shape[4])) * 2 + 0.5
        for known, side in zip(made.shown.known[:, 0], (made.fixed, made.moving), strict=True):
            index, size = side.index(half), torch.tensor([float(n) for n in reversed(side.labels.shape)])
            outside = ((index < -1.5) | (index > size + 0.5)).any(dim=-1)
            inside = ((index > 1) & (index < size - 2)).all(dim=-1)
            assert bool(outside.any()) and not bool(known[outside].any())
            assert bool((known[inside] == 1).all()) and float(inside.float().mean()) > 0.3

    @pytest.mark.parametrize("settings", [STILL, replace(STILL, view_angle=40, view_scale=0.3, view_shift=0.1)])
    def test_an_affine_brings_the_moving_image_into_place(self, settings: Augmentation) -> None:
        fixed, there = person(0), Affine.from_parts(np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]]), (100.0, -50.0, 20.0))
        matrix = there.matrix @ fixed.grid.lps_from_index
        moving = Scan("far", Grid.from_matrix(fixed.grid.size, matrix), fixed.values, fixed.labels, fixed.body, 7)
        made = example(fixed, moving, settings, affine=there.matrix)
        assert torch.allclose(made.shown.images[0], made.shown.images[1], rtol=0, atol=1e-3)
        assert float((made.shown.known[0] - made.shown.known[1]).abs().mean()) < 1e-3
        index = made.fixed.index(torch.tensor([[3.0, 4.0, 5.0], [20.0, 10.0, 0.0]]))
        assert torch.allclose(index, made.moving.index(torch.tensor([[3.0, 4.0, 5.0], [20.0, 10.0, 0.0]])), rtol=0, atol=1e-3)


class TestPainted:
    def test_one_contrast_is_alike_and_two_are_not(self) -> None:
        scans, draw = (person(0, painted=True), person(1, painted=True)), torch.Generator().manual_seed(0)
        one, other = Contrast.random(6, draw), Contrast.random(6, draw)
        assert example(*scans, contrasts=(one, one)).alike and not example(*scans, contrasts=(one, other)).alike

    def test_structures_have_the_brightness_of_the_contrast(self) -> None:
        means = torch.tensor([0.0, 0.9, 0.1, 0.6, 0.3, 0.75])
        contrast = Contrast(means, torch.zeros(6))
        made = example(person(0, painted=True), person(1, painted=True), contrasts=(contrast, contrast), voxels=60_000, each=300)
        for image, side in zip(made.shown.images[:, 0], (made.fixed, made.moving), strict=True):
            seen = torch.stack([read(image, side.points[k])[side.valid[k]].mean() for k in range(5)])
            wanted = means[side.structures]
            # Shading, blur and gamma change the levels, but what is bright stays bright.
            assert float(torch.corrcoef(torch.stack((seen, wanted)))[0, 1]) > 0.8
            assert float(seen[wanted == 0.9]) > float(seen[wanted == 0.1]) + 0.3


def test_no_more_structures_than_asked_for_and_only_those_of_both() -> None:
    fixed, moving = person(0), person(1)
    moving.labels[moving.labels == 3] = 0
    assert 3 not in example(fixed, moving).fixed.structures
    few = example(fixed, moving, most_structures=2)
    assert len(few.fixed.structures) == 2 and few.fixed.points.shape == (2, 50, 3)


def test_scans_without_common_structures_make_an_example_too() -> None:
    fixed, moving = person(0), person(1)
    moving.labels.zero_()
    made = example(fixed, moving, Augmentation(bend_probability=1))
    assert made.fixed.points.shape == made.moving.points.shape == (0, 50, 3)


def test_same_generator_same_example() -> None:
    one, other = (example(person(0), person(1), Augmentation(), seed=4) for _ in range(2))
    assert torch.equal(one.shown.images, other.shown.images) and torch.equal(one.moving.points, other.moving.points)
    assert not torch.equal(one.shown.images, example(person(0), person(1), Augmentation(), seed=5).shown.images)


def test_a_place_that_is_no_number_has_no_label() -> None:
    labels = torch.ones(3, 3, 3, dtype=torch.uint8)
    index = torch.tensor([[1.0, 1.0, 1.0], [float("nan"), 1.0, 1.0], [float("inf"), 1.0, 1.0], [-1e9, 1.0, 1.0]])
    assert nearest(labels, index).tolist() == [1, 0, 0, 0]
