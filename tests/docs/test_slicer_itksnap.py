"""What docs/slicer-itksnap.md says of our files, checked with ITK's readers; its commands and its Python are run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from markdown_pages import DOCS, blocks, unireg_calls

from unireg_cli.__main__ import main
from unireg_cli.io.transforms import read_transform, transform_paths, write_transforms
from unireg_cli.spatial import Affine, Chain, Grid
from unireg_cli.types import TransformFormat

BLOCKS = blocks((DOCS / "slicer-itksnap.md").read_text("utf-8"))
GRID = Grid.from_arrays((20, 18, 16), (1.5, 1.6, 1.7), (-14.0, -13.0, -12.0), np.eye(3))
POINTS = np.random.default_rng(0).uniform(-8, 8, (50, 3))
# As ITK-SNAP writes it: its own class of ITK's linear transforms, a shift of (1, 2, 3) mm about a centre.
BY_HAND = """#Insight Transform File V1.0
#Transform 0
Transform: MatrixOffsetTransformBase_double_3_3
Parameters: 1 0 0 0 1 0 0 0 1 1 2 3
FixedParameters: 5 6 7
"""


def python_blocks(first_line: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == "python" and text.startswith(f"# {first_line}\n")]


def mapped(transform: sitk.Transform) -> np.ndarray:
    return np.array([transform.TransformPoint(point) for point in POINTS.tolist()])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the page's affine command and its conversions were run."""
    folder = tmp_path_factory.mktemp("viewers")
    for name, shift in (("fixed", (0, 0, 0)), ("moving", (1.5, -1.0, 0.5))):
        distance = np.linalg.norm((GRID.points_lps() - GRID.center_lps - shift) / (1.2, 1.0, 0.8), axis=-1)
        image = sitk.GetImageFromArray((100 / (1 + np.exp(distance - 6))).astype(np.float32))
        image.SetSpacing(GRID.spacing)
        image.SetOrigin(GRID.origin)
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    (folder / "by_hand.txt").write_text(BY_HAND)
    before, itk = torch.get_num_threads(), sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (call,) = [words for kind, text in BLOCKS if kind == "sh" for words in unireg_calls(text) if "affine" in words]
        assert main([*call, "--threads", "1", "--quiet"]) == 0, shlex.join(call)
        for text in python_blocks("convert"):
            exec(compile(text, "slicer-itksnap.md", "exec"), {})
        yield folder
    torch.set_num_threads(before)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(itk)


@pytest.fixture
def result(tmp_path: Path, wavy_field) -> tuple[Path, Chain, Chain]:
    """Prefix, forward and inverse of a bent result, as a registration has them."""
    affine = Affine.from_parts(np.diag([1.1, 0.95, 1.0]), (2.0, -1.0, 3.0), (0.0, 0.0, 0.0))
    return tmp_path / "case1_", Chain((wavy_field(GRID), affine)), Chain((affine.invert(), wavy_field(GRID, seed=1)))


def test_composites_are_what_slicer_reads(result):
    """One file, two steps, points of the fixed image to points of the moving one, for ITK's own reader."""
    prefix, forward, inverse = result
    paths = write_transforms(prefix, TransformFormat.H5, forward, inverse, fixed=GRID, moving=GRID)
    for path, chain in ((paths["forward"], forward), (paths["inverse"], inverse)):
        transform = sitk.CompositeTransform(sitk.ReadTransform(str(path)))
        assert transform.GetNumberOfTransforms() == 2
        assert np.abs(mapped(transform) - chain.map(POINTS)).max() < 1e-2


def test_ants_files_are_an_affine_and_itk_vector_images(result):
    prefix, forward, inverse = result
    paths = write_transforms(prefix, TransformFormat.ANTS, forward, inverse, fixed=GRID, moving=GRID)
    assert sitk.ReadTransform(str(paths["affine"])).GetName() == "AffineTransform"
    for role in ("warp", "inverse_warp"):
        header = nibabel.load(paths[role]).header
        assert header.get_intent("code")[0] == 1007 and header.get_data_shape() == (*GRID.size, 1, 3)
        assert header.get_xyzt_units()[0] == "mm"
        # ITK's reader sees vectors on the grid; as displacements they do what the field does.
        image = sitk.ReadImage(str(paths[role]), sitk.sitkVectorFloat64)
        assert image.GetDimension() == 3 and image.GetNumberOfComponentsPerPixel() == 3 and image.GetSize() == GRID.size
        expected = read_transform(paths[role]).map(POINTS)
        assert np.abs(mapped(sitk.DisplacementFieldTransform(image)) - expected).max() < 1e-3


def test_itksnap_gets_one_linear_transform_as_text(place):
    """It takes the first transform of a file for a linear one."""
    lines = (place / "aff_itksnap.txt").read_text().splitlines()
    assert lines[0] == "#Insight Transform File V1.0"
    assert [line for line in lines if line.startswith("Transform:")] == ["Transform: AffineTransform_double_3_3"]
    written, original = (sitk.ReadTransform(str(place / name)) for name in ("aff_itksnap.txt", "aff_0GenericAffine.mat"))
    assert np.abs(mapped(written) - mapped(original)).max() < 1e-9
    # Not the identity: there is something to see.
    assert np.abs(mapped(written) - POINTS).max() > 0.5


def test_c3d_matrix_is_the_same_transform_in_ras(place):
    matrix = np.loadtxt(place / "aff_c3d.mat")
    assert matrix.shape == (4, 4) and (matrix[3] == (0, 0, 0, 1)).all()
    # What ITK-SNAP and greedy do when they read it: these six entries change sign, and it is LPS.
    lps = matrix.copy()
    for row, column in ((2, 0), (2, 1), (0, 2), (1, 2), (0, 3), (1, 3)):
        lps[row, column] *= -1
    expected = mapped(sitk.ReadTransform(str(place / "aff_0GenericAffine.mat")))
    assert np.abs(POINTS @ lps[:3, :3].T + lps[:3, 3] - expected).max() < 1e-6


def test_a_transform_made_in_itksnap_is_a_start(place):
    chain = read_transform(place / "by_hand.txt")
    assert np.allclose(chain.map(POINTS), POINTS + np.array((1.0, 2.0, 3.0)))
    assert np.allclose(mapped(sitk.ReadTransform(str(place / "by_hand.txt"))), chain.map(POINTS))


def test_the_page_names_files_that_are_written_and_python_that_is_python():
    text = (DOCS / "slicer-itksnap.md").read_text("utf-8")
    for fmt in TransformFormat:
        if fmt is not TransformFormat.NII:
            assert all(f"PREFIX{path.name.removeprefix('x_')}" in text for path in transform_paths(Path("x_"), fmt).values())
    console = python_blocks("in Slicer")
    assert len(console) == 1 and len(python_blocks("convert")) == 2
    compile(console[0], "console", "exec")
