"""``unireg_cli.register`` and ``warp`` for images in memory."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch

import unireg_cli
from unireg_cli.errors import InputError, UsageError
from unireg_cli.spatial import Affine, Chain, Grid, Image

GRID = Grid.from_arrays((22, 20, 18), (1.5, 1.4, 1.6), (16.0, 15.0, -13.0), np.diag([-1.0, -1.0, 1.0]))
# No multiple of half a voxel: there the edge of the image is a matter of rounding.
MOVE = np.array([1.4, -1.0, 0.9])


def picture(shift: np.ndarray | tuple[float, ...] = (0.0, 0.0, 0.0)) -> np.ndarray:
    points = GRID.points_lps() - GRID.center_lps - np.asarray(shift)
    bumps = [((0, 0, 0), 7.0, 60), ((4, 3, -2), 2.5, 40), ((-4, 1, 4), 2.0, 50)]
    waves = 30 + 8 * sum(np.sin(points[..., axis] / length + axis) for axis, length in enumerate((2.2, 2.6, 2.9)))
    values = waves + sum(h * np.exp(-((points - np.asarray(p)) ** 2).sum(-1) / (2 * w**2)) for p, w, h in bumps)
    # A soft-edged ball of this in nothing: all that matters lies inside the field of view.
    return (values / (1 + np.exp((np.linalg.norm(points, axis=-1) - 9.5) / 0.8))).astype(np.float32)


@pytest.fixture
def pair(sitk_image):
    return sitk_image(picture(), GRID), sitk_image(picture(MOVE), GRID)


def as_nibabel(voxels: np.ndarray) -> nibabel.Nifti1Image:
    ras_from_index = np.diag([-1.0, -1.0, 1.0, 1.0]) @ GRID.lps_from_index
    return nibabel.Nifti1Image(voxels.T, ras_from_index)


def test_register_takes_and_gives_simpleitk(pair, tmp_path):
    result = unireg_cli.register(*pair, transform="affine", init="none", threads=1)
    moved = result.forward.map(GRID.center_lps[None])[0]
    assert np.linalg.norm(moved - GRID.center_lps - MOVE) < 0.2 * 1.4
    assert isinstance(result.warped, sitk.Image) and result.warped.GetSize() == GRID.size
    assert np.corrcoef(sitk.GetArrayFromImage(result.warped).ravel(), picture().ravel())[0, 1] > 0.99
    assert np.allclose(result.inverse.map(result.forward.map(np.eye(3))), np.eye(3), atol=1e-6)
    plan = result.write(tmp_path / "p_")
    assert {path.name for path in tmp_path.iterdir()} == {"p_Warped.nii.gz", "p_Composite.h5", "p_InverseComposite.h5", "p_.json"}
    record = json.loads(plan["record"].read_text())
    assert record["quality"] == result.record()["quality"] and record["surroundings"]["threads"] == 1
    written = sitk.ReadTransform(str(plan["forward"]))
    assert np.allclose(written.TransformPoint((1.0, 2.0, 3.0)), result.forward.map(np.array([[1.0, 2.0, 3.0]]))[0], atol=1e-6)
    with pytest.raises(UsageError, match="exists"):
        result.write(tmp_path / "p_")


def test_register_writes_what_people_look_at_if_asked_to(pair, tmp_path):
    result = unireg_cli.register(*pair, transform="rigid", init="none", threads=1)
    plan = result.write(tmp_path / "q_", picture=True, report=True, inverse_warped=True, transform_format="ants")
    assert plan["picture"].name == "q_.png" and plan["picture"].read_bytes().startswith(b"\x89PNG")
    page = plan["report"].read_text("utf-8")
    assert plan["report"].name == "q_report.html" and "data:image/" in page
    back = sitk.ReadImage(str(plan["inverse_warped"]))
    # The fixed image where the moving one is: what the move took out is background again.
    assert np.corrcoef(sitk.GetArrayFromImage(back).ravel(), sitk.GetArrayFromImage(pair[1]).ravel())[0, 1] > 0.95
    assert set(json.loads(plan["record"].read_text())["outputs"]) >= {"picture", "report", "inverse_warped"}


def test_register_takes_nibabel_and_an_initial_chain():
    matrix = np.eye(4)
    matrix[:3, 3] = MOVE
    result = unireg_cli.register(as_nibabel(picture()), as_nibabel(picture(MOVE)), transform="rigid", init=Affine(matrix), threads=1)
    moved = result.forward.map(GRID.center_lps[None])[0]
    assert np.linalg.norm(moved - GRID.center_lps - MOVE) < 0.2 * 1.4
    assert isinstance(result.warped, nibabel.Nifti1Image) and result.warped.shape == GRID.size
    with pytest.raises(UsageError, match="Jacobian"):
        result.jacobian()


def test_deterministic_holds_for_the_run_alone(pair, monkeypatch):
    from unireg_cli import pair as room

    seen = []
    honest = room.bend

    def look(*words, **more):
        seen.append((torch.are_deterministic_algorithms_enabled(), torch.initial_seed()))
        return honest(*words, **more)

    monkeypatch.setattr(room, "bend", look)
    unireg_cli.register(*pair, transform="rigid", init="none", deterministic=True, seed=11)
    unireg_cli.register(*pair, transform="rigid", init="none", seed=12)
    assert seen == [(True, 11), (False, 12)] and not torch.are_deterministic_algorithms_enabled()


def test_warp_gives_what_it_was_given(sitk_image, tmp_path):
    matrix = np.eye(4)
    matrix[:3, 3] = MOVE
    chain = Chain((Affine(matrix),))
    moving = sitk_image(picture(MOVE), GRID)
    truth = sitk.GetArrayFromImage(sitk.Resample(moving, moving, sitk.TranslationTransform(3, MOVE.tolist())))
    ours = unireg_cli.warp(moving, moving, chain)
    assert isinstance(ours, sitk.Image) and np.abs(sitk.GetArrayFromImage(ours) - truth).max() < 1e-2
    theirs = unireg_cli.warp(as_nibabel(picture(MOVE)), moving, Affine(matrix))
    assert isinstance(theirs, nibabel.Nifti1Image) and np.abs(np.asarray(theirs.dataobj).T - truth).max() < 1e-2
    assert np.allclose(theirs.affine, as_nibabel(picture()).affine)
    sitk.WriteImage(moving, str(tmp_path / "m.nii.gz"))
    sitk.WriteTransform(sitk.TranslationTransform(3, (-MOVE).tolist()), str(tmp_path / "t.tfm"))
    image = unireg_cli.warp(tmp_path / "m.nii.gz", moving, tmp_path / "t.tfm", invert=True)
    assert isinstance(image, Image) and np.abs(image.voxels - truth).max() < 1e-2


def test_what_is_no_image_is_refused(pair):
    with pytest.raises(InputError, match="ndarray"):
        unireg_cli.register(np.zeros((3, 3, 3)), pair[1])
    with pytest.raises(InputError, match="3-D"):
        unireg_cli.warp(sitk.Image(4, 4, sitk.sitkUInt8), pair[0], Chain())
    hole = sitk.GetImageFromArray(np.full((4, 4, 4), np.nan))
    with pytest.raises(InputError, match="NaN"):
        unireg_cli.register(hole, pair[1])


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        unireg_cli.nonsense  # noqa: B018
