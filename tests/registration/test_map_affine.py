"""Affines by structure maps, from scenes whose affine is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from brightness import BODIES, GRID, balls, network

from unireg_cli.registration.alignment import View
from unireg_cli.registration.map_affine import brought_together
from unireg_cli.registration.maps import map_structures
from unireg_cli.spatial import Affine


def blind(_affine: Affine) -> float:
    """Images that are alike under any affine."""
    return 0.0


def test_an_affine_that_is_off_is_corrected_by_the_centres_of_the_structures() -> None:
    places = [((-14.0, 4.0, -6.0), 0.25), ((12.0, -10.0, 8.0), 0.5), ((6.0, 14.0, -10.0), 0.75), ((-8.0, -14.0, 10.0), 1.0)]
    truth = Affine.from_parts(np.diag([1.1, 0.95, 1.0]), np.array([7.0, -3.0, 2.0]), np.zeros(3))
    fixed = balls(GRID, *[(centre, 7.0, level) for centre, level in places])
    moving = balls(GRID, *[(tuple(truth.map(centre)), 7.0, level) for centre, level in places])
    known = network(0.25, 0.5, 0.75, 1.0)
    maps = map_structures(known, (fixed, moving), BODIES, Affine.identity())
    assert maps is not None and len(maps.structures) == 4
    better = brought_together(maps, Affine.identity(), blind)
    assert better is not None and "corrected by 4 structures" in better[1]
    for centre, _ in places:
        # Rims that look like another ball leave a part of it.
        assert np.linalg.norm(better[0].map(centre) - truth.map(centre)) < 0.2 * np.linalg.norm(truth.map(centre) - centre)
    after = map_structures(known, (fixed, moving), BODIES, better[0])
    assert after is not None and after.agreement(better[0]) > maps.agreement(Affine.identity()) + 0.2
    # What is together already stays where it is.
    same = map_structures(known, (fixed, fixed), BODIES, Affine.identity())
    assert same is not None and same.agreement(Affine.identity()) == pytest.approx(1)
    assert brought_together(same, Affine.identity(), blind) is None


def test_what_the_images_lose_is_weighed_against_what_the_maps_gain() -> None:
    known = network(0.4)
    fixed, moving = balls(GRID, ((0.0, 0.0, 0.0), 12.0, 0.4)), balls(GRID, ((8.0, 0.0, 0.0), 12.0, 0.4))
    maps = map_structures(known, (fixed, moving), BODIES, Affine.identity())
    assert maps is not None
    before = maps.agreement(Affine.identity())

    def shift(affine: Affine) -> float:
        return float(affine.map(np.zeros(3))[0])

    found = brought_together(maps, Affine.identity(), blind)
    assert found is not None and shift(found[0]) == pytest.approx(8, abs=1) and maps.agreement(found[0]) > before + 0.2
    # Images that grow unlike by more than the maps gain stay where they are; where that begins half way, the affine goes half way.
    assert brought_together(maps, Affine.identity(), lambda affine: -shift(affine)) is None
    half = brought_together(maps, Affine.identity(), lambda affine: -max(0.0, shift(affine) - 4.5))
    assert half is not None and shift(half[0]) == pytest.approx(4, abs=0.6)


def test_maps_that_do_not_lead_are_not_believed_against_the_images() -> None:
    known = network(0.4)
    fixed, moving = balls(GRID, ((0.0, 0.0, 0.0), 12.0, 0.4)), balls(GRID, ((8.0, 0.0, 0.0), 12.0, 0.4))
    maps = map_structures(known, (fixed, moving), BODIES, Affine.identity())
    assert maps is not None and maps.leading

    def slightly_less_alike(affine: Affine) -> float:
        return -0.001 * float(affine.map(np.zeros(3))[0])

    assert brought_together(maps, Affine.identity(), slightly_less_alike) is not None
    assert brought_together(replace(maps, leading=False), Affine.identity(), slightly_less_alike) is None
    assert brought_together(replace(maps, leading=False), Affine.identity(), blind) is not None


def test_an_affine_that_would_stretch_too_much_goes_part_of_the_way() -> None:
    known = network(0.4)
    ball = balls(GRID, ((0.0, 0.0, 0.0), 9.0, 0.4))
    # Twice as long from foot to head, about the same centre: more than a correction may stretch.
    long = np.linalg.norm(GRID.points_lps() / [1.0, 1.0, 2.0], axis=-1) < 9.0
    egg = View(torch.from_numpy(np.where(long, 0.4, 0.0).astype(np.float32)), GRID)
    maps = map_structures(known, (ball, egg), BODIES, Affine.identity())
    assert maps is not None
    found = brought_together(maps, Affine.identity(), blind)
    assert found is not None
    stretched = np.linalg.svd(found[0].matrix[:3, :3], compute_uv=False)
    assert 1.3 < stretched[0] < 1.7 and stretched[1:] == pytest.approx([1, 1], abs=0.1)
    assert maps.agreement(found[0]) > maps.agreement(Affine.identity()) + 0.1
