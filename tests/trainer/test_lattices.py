"""The coarser lattices of earlier passes and parts of fine ones: all show the same place under the same motion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from people import STRUCTURES, person

from trainer.augmentation import Augmentation, Views
from trainer.config import Passes, Source
from trainer.datasets import Scan
from trainer.lattices import Lattices, random_box
from trainer.pool import draw_lattices
from trainer.sampling import Example, Gallery, make_example
from unireg_cli.spatial import Grid
from unireg_cli.spatial.sampling import sample_index
from unireg_cli.types import Mode


def example(fixed: Scan, moving: Scan, settings: Augmentation, *, known_motion: bool = False, seed: int = 0) -> Example:
    views = Views(settings, known_motion=known_motion)
    keys = {"lattices": Lattices(60_000, (8_000,), 20_000), "divisor": 4, "most_structures": 9, "each": 50}
    generator = torch.Generator().manual_seed(seed)
    return make_example(fixed, moving, STRUCTURES, np.eye(4), Mode.INTER, views, Gallery(), generator=generator, **keys)


class TestLatticesOfEarlierPasses:
    @pytest.mark.parametrize("bend", [0.0, 1.0])
    def test_they_show_the_same_place(self, bend: float) -> None:
        settings = Augmentation(intensity_probability=0, bend_probability=bend)
        made = example(person(0), person(1), settings, seed=3)
        (coarse,) = made.before
        assert coarse.images.numel() < made.shown.images.numel() < 2 * 1.7 * 20_000
        fine = made.shown.half
        to_index = coarse.half.index_from_lps
        points = torch.from_numpy(fine.points_lps().reshape(-1, 3) @ to_index[:3, :3].T + to_index[:3, 3])
        for image, other in zip(made.shown.images[:, 0], coarse.images[:, 0], strict=True):
            seen = sample_index(other[None], points.float() * 2 + 0.5)[0]
            expected = torch.nn.functional.avg_pool3d(image[None], 2).reshape(-1)
            assert float(torch.corrcoef(torch.stack((seen, expected)))[0, 1]) > 0.9

    def test_a_known_motion_is_the_same_on_a_part(self) -> None:
        scan = person(0)
        made = example(scan, scan, Augmentation(intensity_probability=0), known_motion=True, seed=1)
        assert made.motion is not None
        points, truth = made.motion
        inside = ((points + truth >= 1) & (points + truth <= torch.tensor(made.size) - 2.0)).all(dim=-1)
        inside &= ((points >= 1) & (points <= torch.tensor(made.size) - 2.0)).all(dim=-1)
        here, there, unmoved = (sample_index(made.shown.images[k], at)[0] for k, at in ((0, points), (1, points + truth), (1, points)))
        assert int(inside.sum()) > 500
        assert float((here - there)[inside].abs().mean()) < 0.5 * float((here - unmoved)[inside].abs().mean())

    def test_a_random_box_lies_inside_and_keeps_short_axes_whole(self) -> None:
        grid = Grid.from_arrays((50, 40, 7), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0), np.eye(3))
        places = set()
        for seed in range(20):
            box = random_box(grid, 2_000, 8, torch.Generator().manual_seed(seed))
            first = grid.index_from_lps @ np.append(box.origin, 1.0)
            assert box.size[2] == 7 and box.size[0] % 8 == box.size[1] % 8 == 0 and box.spacing == grid.spacing
            assert np.allclose(first, first.round()) and (first[:3] >= -1e-9).all()
            assert (first[:3] + box.size <= np.asarray(grid.size) + 1e-9).all()
            places.add(tuple(first[:2].round().astype(int).tolist()))
        assert len(places) > 10 and random_box(grid, 20_000, 1, torch.Generator()) == grid


def test_every_kind_of_lattices_is_drawn_with_its_share() -> None:
    source = Source(path="x", voxels=(50_000, 100_000), fine=0.5, fine_voxels=(1_000_000, 2_000_000))
    passes = Passes(coarse=0.5, coarse_voxels=(70_000, 90_000), middle_voxels=(300_000, 400_000))
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_lattices(source, passes, generator) for _ in range(400)]
    assert all(50_000 <= (lattices.crop or lattices.voxels) <= 100_000 for lattices in drawn)
    fine = [lattices for lattices in drawn if lattices.crop is not None]
    assert all(1_000_000 <= lattices.voxels <= 2_000_000 for lattices in fine)
    assert all(70_000 <= lattices.before[0] <= 90_000 and 300_000 <= lattices.before[1] <= 400_000 for lattices in fine)
    # The first of two passes never sees more than the second.
    coarse = [lattices for lattices in drawn if lattices.crop is None and lattices.before]
    assert all(lattices.before[0] <= min(90_000, lattices.voxels) for lattices in coarse)
    assert 160 < len(fine) < 240 and 70 < len(coarse) < 130
