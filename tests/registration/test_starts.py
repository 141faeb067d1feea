from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import corner_error_voxels, cube, organs, show, turn

from unireg_cli.errors import InputError
from unireg_cli.registration.alignment import View
from unireg_cli.registration.starts import candidates
from unireg_cli.spatial import Affine, Grid
from unireg_cli.types import Start

GRID = cube(32, 3.0)


def view(grid: Grid, scene: object, through: Affine | None = None, mask: np.ndarray | None = None) -> View:
    voxels = torch.from_numpy(show(scene, grid, through).voxels)  # type: ignore[arg-type]
    return View(voxels, grid, None if mask is None else torch.from_numpy(mask.astype(np.float32)))


@pytest.mark.parametrize("start", [Start.NONE, Start.HEADER])
def test_the_header_alone_is_the_identity(start: Start) -> None:
    image = view(GRID, organs(34))
    assert {name: a.is_identity for name, a in candidates(image, image, start).items()} == {"header": True}


def test_centers_bring_the_fields_of_view_together(grid: Grid) -> None:
    fixed, moving = view(grid, organs(10)), view(GRID, organs(30))
    found = candidates(fixed, moving, Start.CENTERS)
    assert list(found) == ["centers"]
    assert np.allclose(found["centers"].map(grid.center_lps), GRID.center_lps, rtol=0, atol=1e-9)


def test_moments_find_a_turn_and_a_shift() -> None:
    truth = Affine.from_parts(turn((1, 2, 3), 25), (9.0, -12.0, 6.0))
    found = candidates(view(GRID, organs(32), truth), view(GRID, organs(32)), Start.MOMENTS)
    assert list(found) == ["moments 1", "moments 2", "moments 3", "moments 4"]
    assert min(corner_error_voxels(GRID, affine, truth) for affine in found.values()) < 0.3
    for affine in found.values():
        assert np.allclose(affine.matrix[:3, :3] @ affine.matrix[:3, :3].T, np.eye(3), rtol=0, atol=1e-9)
        assert np.linalg.det(affine.matrix[:3, :3]) == pytest.approx(1.0)


def test_moments_do_not_depend_on_the_lattice(grid: Grid) -> None:
    # The same scene seen on two grids: one of the four is nearly the identity.
    found = candidates(view(grid, organs(11)), view(cube(32, 1.0), organs(11)), Start.MOMENTS)
    turns = [np.degrees(np.arccos(np.clip((np.trace(a.matrix[:3, :3]) - 1) / 2, -1, 1))) for a in found.values()]
    assert min(turns) < 3
    best = list(found.values())[int(np.argmin(turns))]
    assert np.linalg.norm(best.map(np.zeros(3))) < 0.5


def test_auto_tries_all_and_turns_about_the_middle_of_mass() -> None:
    truth = Affine.from_parts(np.eye(3), (12.0, -9.0, 6.0))
    found = candidates(view(GRID, organs(30), truth), view(GRID, organs(30)), Start.AUTO)
    assert {"header", "centers", "mass", "moments 1"} < set(found)
    assert np.allclose(found["mass"].matrix, truth.matrix, rtol=0, atol=0.05)
    turned = found["mass turned +30 about z"]
    assert np.allclose(turned.matrix[:3, :3], turn((0, 0, 1), 30), rtol=0, atol=1e-9)
    middle = found["mass"].invert().map(np.zeros(3))
    assert np.linalg.norm(turned.map(middle) - found["mass"].map(middle)) < 2.5


def test_a_mask_says_what_has_mass() -> None:
    image = view(GRID, organs(30))
    bright = image.values.clone()
    bright[:, :, :3] = 50_000
    mask = np.ones(GRID.shape)
    mask[:, :, :4] = 0
    found = candidates(image, View(bright, GRID, torch.from_numpy(mask).float()), Start.AUTO)["mass"]
    # The body's own rim is cut by the mask on one side.
    assert np.linalg.norm(found.map(np.zeros(3))) < 1.0
    unmasked = candidates(image, View(bright, GRID), Start.AUTO)["mass"]
    assert np.linalg.norm(unmasked.map(np.zeros(3))) > 10


def test_images_far_apart() -> None:
    far = GRID.padded((200, 0, 0), (-200, 0, 0))
    fixed, moving = view(GRID, organs(30)), view(far, organs(30), Affine.from_parts(np.eye(3), -far.center_lps))
    with pytest.raises(InputError, match="do not overlap"):
        candidates(fixed, moving, Start.HEADER)
    found = candidates(fixed, moving, Start.AUTO)
    assert "header" not in found
    assert np.allclose(found["mass"].map(np.zeros(3)), far.center_lps, rtol=0, atol=0.1)
    touching = GRID.padded((30, 0, 0), (-30, 0, 0))
    assert candidates(fixed, View(moving.values, touching), Start.HEADER)["header"].is_identity
