from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import cube

from unireg_cli.errors import GeometryError, InputError, UsageError
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.registration.segmentations import Segmentations, Structures, codes_on, find_structures
from unireg_cli.spatial import Affine, Grid, Image

GRID = cube(12, 2.0)
IMAGE = Image(np.zeros(GRID.shape, np.float32), GRID, "image.nii")


def labels(*present: int, grid: Grid = GRID, name: str = "labels.nii", dtype: type = np.uint8) -> Image:
    """Blocks of two slices, one a label, from the second slice on."""
    voxels = np.zeros(grid.shape, dtype)
    for number, label in enumerate(present):
        voxels[1 + 2 * number : 3 + 2 * number, 2:8, 2:8] = label
    return Image(voxels, grid, name)


def find(fixed: Image, moving: Image, names: dict[int, str] | None = None, anatomy: tuple[str, ...] = ()) -> Structures:
    return find_structures(Segmentations(fixed, moving, names or {}), IMAGE, IMAGE, anatomy, vocabulary())


def test_without_names_all_common_labels_steer() -> None:
    found = find(labels(5, 900, 3, dtype=np.uint16), labels(900, 7, 5, dtype=np.uint16))
    assert found.labels == (5, 900) and found.names == ("label 5", "label 900") and found.steering_codes == (1, 2)
    assert np.array_equal(np.unique(found.fixed.voxels), [0, 1, 2])
    # Label 900 is the second block of the fixed and the first of the moving map.
    assert found.fixed.voxels[3, 4, 4] == 2 and found.moving.voxels[1, 4, 4] == 2


def test_of_named_labels_those_asked_for_steer_and_the_others_are_scored() -> None:
    names = {6: "liver", 1: "spleen", 2: "kidney_left"}
    found = find(labels(6, 1, 2), labels(6, 1, 2), names, ("liver", "kidneys"))
    assert dict(zip(found.names, found.steering, strict=True)) == {"liver": True, "spleen": False, "kidney_left": True}
    assert all(find(labels(6, 1, 2), labels(6, 1, 2), names).steering)
    assert find(labels(6, 1), labels(6, 1), {6: "liver", 1: "spleen"}, ("abdomen",)).steering == (True, True)


def test_dice_is_that_of_the_labels() -> None:
    found = find(labels(5, 3), labels(5, 3))
    moved = np.roll(found.moving.voxels, 1, axis=0)
    # Blocks of two slices shifted by one: half of each is hit.
    assert found.dice(moved) == (0.5, 0.5) and found.dice(found.moving.voxels) == (1.0, 1.0)
    assert found.dice(np.full_like(moved, -1)) == (0.0, 0.0)


def test_another_grid_is_read_by_the_nearest_voxel_and_told() -> None:
    fine = GRID.resized((24, 24, 24))
    voxels = labels(4).voxels.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    found = find(Image(voxels, fine, "fine.nii"), labels(4))
    assert np.array_equal(found.fixed.voxels, labels(4).voxels // 4)
    assert found.notes == ("fine.nii: lies on another grid than image.nii and was read by the nearest voxel",)


def test_a_named_label_that_one_map_lacks_is_left_out_and_told() -> None:
    found = find(labels(6, 1), labels(6, name="m.nii"), {6: "liver", 1: "spleen"})
    assert found.labels == (6,) and found.notes == ("m.nii: label 1 (spleen) is absent and does not steer",)


@pytest.mark.parametrize(
    ("fixed", "moving", "names", "anatomy", "error", "hint"),
    [
        (labels(6), labels(1), {}, (), InputError, "no label in common"),
        (labels(6), labels(1, name="m.nii"), {6: "liver"}, ("liver",), InputError, r"m\.nii: label 6 \(liver\) is absent; .* has labels 1"),
        (labels(6), labels(6), {6: "liver", 9: "spleen"}, (), InputError, r"label 9 \(spleen\) is absent"),
        (labels(6), labels(1), {6: "liver", 1: "spleen"}, (), InputError, "no label that should steer is in both"),
        (labels(6), labels(6), {6: "liver"}, ("spleen",), UsageError, r"--anatomy spleen: none of --seg-labels \(liver\) is part of it"),
        (Image(np.full(GRID.shape, 0.5), GRID, "ct.nii"), labels(6), {}, (), InputError, r"ct\.nii: .* fractions; is it an image"),
        (labels(6), Image(np.full(GRID.shape, -7), GRID, "ct.nii"), {}, (), InputError, r"ct\.nii: .*-7 is among them"),
        (labels(6, grid=GRID.padded((90, 0, 0), (-90, 0, 0))), labels(6), {}, (), GeometryError, r"does not overlap image\.nii in space"),
    ],
)
def test_what_cannot_steer_is_refused(
    fixed: Image, moving: Image, names: dict[int, str], anatomy: tuple[str, ...], error: type[Exception], hint: str
) -> None:
    with pytest.raises(error, match=hint) as caught:
        find(fixed, moving, names, anatomy)
    assert "\n" not in str(caught.value)


def test_codes_are_read_at_the_nearest_voxel_and_known_outside() -> None:
    codes = torch.from_numpy(labels(1).voxels.astype(np.int16))
    shift = Affine.from_parts(np.eye(3), (0.0, 0.0, 4.0))
    read = codes_on(codes, GRID, GRID, shift)
    assert torch.equal(read[:-2], codes[2:]) and bool((read[-2:] == -1).all())
    half = torch.zeros(3, *GRID.shape)
    half[2] = 0.4
    assert torch.equal(codes_on(codes, GRID, GRID, Affine.identity(), half), codes)
