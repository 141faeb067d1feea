from __future__ import annotations

import shlex

import h5py
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from oracle import AFFINE, lps_points, pair, sitk_image, sitk_map, smooth_field

from unireg_cli.errors import InputError, UsageError
from unireg_cli.io.images import write_image
from unireg_cli.io.transforms import apply_commands, as_written, read_transform, transform_paths, write_transforms
from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid, Image
from unireg_cli.spatial.resample import resample
from unireg_cli.types import TransformFormat

FIXED = Grid.from_arrays((16, 18, 14), (2.0, 1.5, 2.5), (10.0, -20.0, 30.0), np.diag([-1.0, -1.0, 1.0]))
H5, ANTS, NII = TransformFormat.H5, TransformFormat.ANTS, TransformFormat.NII


def moving_grid(fixed: Grid) -> Grid:
    """A grid of other axes and spacing around the place that AFFINE sends the fixed image to."""
    grid = Grid.from_arrays((20, 15, 17), (1.7, 2.6, 2.2), (0, 0, 0), np.array([[0, 0, -1.0], [1, 0, 0], [0, -1, 0]]))
    return Grid.from_arrays(grid.size, grid.spacing, AFFINE.map(fixed.center_lps) - grid.center_lps, grid.cosines)


def chains(kind: str, grid: Grid) -> tuple[Chain, Chain]:
    if kind == "deformable":
        return pair(grid)
    affine = AFFINE if kind == "affine" else Affine.identity()
    return Chain((affine,)), Chain((affine.invert(),))


def sitk_transform(paths, fmt: TransformFormat, inverse: bool) -> sitk.Transform:
    """The written files as a SimpleITK user puts them together."""

    def field(path):
        return sitk.DisplacementFieldTransform(sitk.ReadImage(path, sitk.sitkVectorFloat64))

    if fmt is H5:
        return sitk.ReadTransform(paths["inverse" if inverse else "forward"])
    if fmt is NII:
        return field(paths["inverse" if inverse else "forward"])
    affine = sitk.ReadTransform(paths["affine"])
    if inverse:
        return sitk.CompositeTransform([field(paths["inverse_warp"]), affine.GetInverse()])
    return sitk.CompositeTransform([affine, field(paths["warp"])])


@pytest.mark.parametrize("kind", ["deformable", "affine", "identity"])
@pytest.mark.parametrize("fmt", [H5, ANTS])
def test_simpleitk_maps_points_as_we_do(tmp_path, grid, fmt, kind):
    moving, (forward, inverse) = moving_grid(grid), chains(kind, grid)
    paths = write_transforms(tmp_path / "out_", fmt, forward, inverse, fixed=grid, moving=moving)
    assert paths == transform_paths(tmp_path / "out_", fmt) and set(paths.values()) == set(tmp_path.iterdir())
    for chain, view, back in ((forward, grid, False), (inverse, moving, True)):
        points = lps_points(view.padded((2, 2, 2), (2, 2, 2)))
        assert np.abs(sitk_map(sitk_transform(paths, fmt, back), points) - chain.map(points)).max() < 1e-3


@pytest.mark.parametrize("kind", ["deformable", "affine", "identity"])
def test_nii_is_the_whole_forward_chain_inside_the_fixed_image(tmp_path, grid, kind):
    forward, inverse = chains(kind, grid)
    paths = write_transforms(tmp_path / "o", NII, forward, inverse, fixed=grid, moving=moving_grid(grid))
    # Half a voxel inside: on the very face of the field of view rounding decides in which cell a point lies.
    points = lps_points(grid)
    assert np.abs(sitk_map(sitk_transform(paths, NII, False), points) - forward.map(points)).max() < 1e-3


def test_nii_forward_covers_a_fixed_image_larger_than_the_field(tmp_path):
    forward, inverse = pair(FIXED)
    large = FIXED.padded((3, 4, 5), (5, 4, 3)).resized((31, 33, 29))
    paths = write_transforms(tmp_path / "o", NII, forward, inverse, fixed=large, moving=moving_grid(FIXED))
    corners = large.corners_lps() * 0.999 + large.center_lps * 0.001
    assert np.abs(sitk_map(sitk_transform(paths, NII, False), corners) - forward.map(corners)).max() < 1e-3


def test_nii_inverse_is_exact_where_it_can_be_and_near_elsewhere(tmp_path, grid):
    moving = moving_grid(grid)
    forward, inverse = pair(grid)
    paths = write_transforms(tmp_path / "o", NII, forward, inverse, fixed=grid, moving=moving)
    written = read_transform(paths["inverse"]).steps[0]
    nodes = written.grid.points_lps()
    assert np.abs(written.vectors_mm - (inverse.map(nodes) - nodes)).max() < 1e-3
    points = np.concatenate((lps_points(moving), moving.corners_lps() * 0.999 + moving.center_lps * 0.001))
    off = np.linalg.norm(sitk_map(sitk_transform(paths, NII, True), points) - inverse.map(points), axis=1)
    assert off.max() < 0.5 * min(grid.spacing) and off.mean() < 0.1 * min(grid.spacing)


def test_nii_inverse_of_an_affine_is_exact(tmp_path, grid):
    moving, inverse = moving_grid(grid), Chain((AFFINE.invert(),))
    paths = write_transforms(tmp_path / "o", NII, Chain((AFFINE,)), inverse, fixed=grid, moving=moving)
    points = moving.corners_lps()
    assert np.abs(sitk_map(sitk_transform(paths, NII, True), points) - inverse.map(points)).max() < 1e-3


@pytest.mark.parametrize("fmt", list(TransformFormat))
def test_we_read_what_we_wrote(tmp_path, fmt):
    forward, inverse = pair(FIXED)
    paths = write_transforms(tmp_path / "o", fmt, forward, inverse, fixed=FIXED, moving=moving_grid(FIXED))
    points = lps_points(FIXED)
    names = ["forward"] if fmt is not ANTS else ["warp", "affine"]
    read = Chain(tuple(step for name in names for step in read_transform(paths[name]).steps))
    assert np.abs(read.map(points) - forward.map(points)).max() < 1e-3
    if fmt is not NII:
        assert [type(step) for step in read.steps] == [DisplacementField, Affine]
        assert (read.steps[0].vectors_mm == as_written(forward).steps[0].vectors_mm).all()
        assert np.allclose(read.steps[1].matrix, AFFINE.matrix, rtol=0, atol=1e-12)


def test_h5_holds_float32_deflated_and_the_same_bytes_twice(tmp_path):
    grid = Grid.from_arrays((60, 60, 60), (1, 1, 1), (0, 0, 0), np.eye(3))
    forward, inverse = pair(grid)
    paths = [write_transforms(tmp_path / name, H5, forward, inverse, fixed=grid, moving=grid)["forward"] for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with h5py.File(paths[0]) as file:
        kinds = [file[f"TransformGroup/{n}/TransformType"][0].decode() for n in range(3)]
        field = file["TransformGroup/2/TransformParameters"]
        assert kinds == ["CompositeTransform_double_3_3", "AffineTransform_double_3_3", "DisplacementFieldTransform_float_3_3"]
        assert field.dtype == np.float32 and field.shape == (3 * grid.voxels,)
    assert paths[0].stat().st_size < 0.6 * 12 * grid.voxels


def test_h5_of_several_chunks_is_what_hdf5_itself_would_have_packed(tmp_path):
    # 3 x 100,000 numbers are one whole chunk of 2^18 and a part of one.
    grid = Grid.from_arrays((50, 50, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    vectors = np.random.default_rng(5).normal(size=(40, 50, 50, 3)).astype(np.float32)
    chain = as_written(Chain((DisplacementField(vectors, grid),)))
    written = write_transforms(tmp_path / "o_", H5, chain, chain, fixed=grid, moving=grid)["forward"]
    numbers = chain.steps[0].vectors_mm.reshape(-1)
    with h5py.File(written) as ours, h5py.File(tmp_path / "plain.h5", "w") as theirs:
        found = ours["TransformGroup/1/TransformParameters"]
        packing = {"chunks": found.chunks, "compression": "gzip", "compression_opts": 1, "shuffle": True}
        plain = theirs.create_dataset("plain", data=numbers, **packing)
        assert np.array_equal(found[:], numbers) and found.id.get_num_chunks() == plain.id.get_num_chunks() == 2
        assert [found.id.read_direct_chunk((start,)) for start in (0, 1 << 18)] == [
            plain.id.read_direct_chunk((start,)) for start in (0, 1 << 18)
        ]
    points = lps_points(grid)[:50]
    assert np.abs(sitk_map(sitk.ReadTransform(written), points) - chain.map(points)).max() < 1e-4


def test_as_written_moves_nothing_by_more_than_half_a_quantum():
    field = smooth_field(FIXED)
    rounded = as_written(Chain((field, AFFINE)))
    off = np.abs(rounded.steps[0].vectors_mm - field.vectors_mm).max()
    assert 0 < off <= 2**-12 and rounded.steps[1] is AFFINE
    assert (as_written(rounded).steps[0].vectors_mm == rounded.steps[0].vectors_mm).all()


def test_nifti_field_says_what_it_is(tmp_path):
    forward, inverse = pair(FIXED)
    path = write_transforms(tmp_path / "o", ANTS, forward, inverse, fixed=FIXED, moving=FIXED)["warp"]
    header = nibabel.load(path).header
    assert header.get_data_shape() == (16, 18, 14, 1, 3) and int(header["intent_code"]) == 1007 and header.get_data_dtype() == np.float32
    assert b"LPS mm, pull-back" in header["descrip"].tobytes()


def test_ants_refuses_what_it_cannot_hold(tmp_path):
    forward, inverse = pair(FIXED)
    field = smooth_field(FIXED)
    bad = [(forward.then(field), inverse), (Chain((AFFINE, field)), inverse), (forward, Chain((Affine.identity(), field)))]
    for one, other in bad:
        with pytest.raises(UsageError, match="--transform-format h5"):
            write_transforms(tmp_path / "o", ANTS, one, other, fixed=FIXED, moving=FIXED)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fmt", list(TransformFormat))
def test_all_files_or_none(tmp_path, fmt, monkeypatch):
    forward, inverse = pair(FIXED)
    last = list(transform_paths(tmp_path / "o", fmt).values())[-1]
    last.mkdir()
    with pytest.raises(InputError, match=last.name):
        write_transforms(tmp_path / "o", fmt, forward, inverse, fixed=FIXED, moving=FIXED)
    assert list(tmp_path.iterdir()) == [last]


def test_commands_name_the_files_in_the_order_of_ants(tmp_path):
    prefix = tmp_path / "my out_"
    paths = transform_paths(prefix, ANTS)
    commands = apply_commands(paths, ANTS, "fixed.nii", "moving.nii", prefix, "NearestNeighbor")
    words = shlex.split(commands["inverse"])
    assert words[:7] == ["antsApplyTransforms", "-d", "3", "-i", "fixed.nii", "-r", "moving.nii"]
    assert words[-4:] == ["-t", f"[{prefix}0GenericAffine.mat,1]", "-t", f"{prefix}1InverseWarp.nii.gz"]
    assert shlex.split(commands["forward"])[-4:] == ["-t", f"{prefix}1Warp.nii.gz", "-t", f"{prefix}0GenericAffine.mat"]
    h5 = apply_commands(transform_paths(prefix, H5), H5, "f.nii", "m.nii", prefix)
    assert shlex.split(h5["inverse"])[-2:] == ["-t", f"{prefix}InverseComposite.h5"]


@pytest.mark.parametrize("kind", ["deformable", "affine"])
@pytest.mark.parametrize("fmt", list(TransformFormat))
def test_ants_makes_the_same_images(tmp_path, fmt, kind):
    """antsApplyTransforms, called with the very -t arguments of our command lines, against our own resampling."""
    ants = pytest.importorskip("ants")
    moving = moving_grid(FIXED)
    forward, inverse = chains(kind, FIXED)
    prefix = tmp_path / "out_"
    paths = write_transforms(prefix, fmt, forward, inverse, fixed=FIXED, moving=moving)
    images = {name: tmp_path / f"{name}.nii.gz" for name in ("fixed", "moving")}
    for seed, (name, grid) in enumerate((("fixed", FIXED), ("moving", moving))):
        coarse = np.random.default_rng(seed).uniform(0, 100, (4, 4, 4)).astype(np.float32)
        smooth = resample(coarse, grid.resized((4, 4, 4)), grid, Chain(), default=50.0)
        write_image(images[name], Image(smooth, grid))
    commands = apply_commands(paths, fmt, images["fixed"], images["moving"], prefix)
    # Grey values of 0 to 100. The inverse of the nii format is sampled anew, on a lattice of its own.
    most, mean = (1.0, 0.1) if (fmt, kind) == (NII, "deformable") else (1e-2, 1e-3)
    for direction, chain, source, target in (("forward", forward, moving, FIXED), ("inverse", inverse, FIXED, moving)):
        words = shlex.split(commands[direction])
        transforms = [words[i + 1] for i, word in enumerate(words) if word == "-t"]
        flags = [transform.endswith(",1]") for transform in transforms]
        files = [transform.removeprefix("[").removesuffix(",1]") for transform in transforms]
        image, reference = words[words.index("-i") + 1], words[words.index("-r") + 1]
        theirs = ants.apply_transforms(ants.image_read(reference), ants.image_read(image), files, whichtoinvert=flags, defaultvalue=50)
        voxels = sitk.GetArrayFromImage(sitk.ReadImage(image))
        ours = resample(voxels, source, target, chain, default=50.0)
        assert np.ptp(ours) > 30
        off = np.abs(theirs.numpy().transpose(2, 1, 0) - ours)
        # A voxel on the very edge of the image may fall to either side by rounding.
        assert np.quantile(off, 0.999) < most and off.mean() < mean


def test_ants_own_files_are_read_as_ants_applies_them(tmp_path):
    """A composite and a field-plus-affine that antsRegistration itself wrote."""
    ants = pytest.importorskip("ants")
    z, y, x = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in (24, 26, 28)], indexing="ij")
    ball = 100 * np.exp(-((x - 13) ** 2 + (y - 12) ** 2 + 1.5 * (z - 11) ** 2) / 60).astype(np.float32)
    shifted = 100 * np.exp(-(1.3 * (x - 15) ** 2 + (y - 13) ** 2 + (z - 12) ** 2) / 60).astype(np.float32)
    grid = Grid.from_arrays((28, 26, 24), (1.0, 1.2, 1.4), (5, -6, 7), np.diag([-1.0, -1.0, 1.0]))
    for name, voxels in (("fixed", ball), ("moving", shifted)):
        sitk.WriteImage(sitk_image(voxels, grid), tmp_path / f"{name}.nii.gz")
    fixed, moving = (ants.image_read(str(tmp_path / f"{name}.nii.gz")) for name in ("fixed", "moving"))
    for composite in (False, True):
        prefix = str(tmp_path / f"ants{composite}_")
        found = ants.registration(
            fixed,
            moving,
            "SyN",
            outprefix=prefix,
            reg_iterations=(10, 5),
            aff_iterations=(10, 5, 0, 0),
            write_composite_transform=composite,
        )
        files = [found["fwdtransforms"]] if composite else found["fwdtransforms"]
        chain = Chain(tuple(step for name in files for step in read_transform(tmp_path / name).steps))
        assert any(isinstance(step, DisplacementField) for step in chain.steps)
        theirs = ants.apply_transforms(fixed, moving, files).numpy().transpose(2, 1, 0)
        ours = resample(shifted, grid, grid, chain)
        assert np.abs(ours - shifted).max() > 5 and np.quantile(np.abs(theirs - ours), 0.999) < 1e-2
