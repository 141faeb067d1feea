"""Grids of every orientation, SimpleITK twins of our objects, and the marks that depend on the machine."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from unireg_cli.spatial import Affine, Chain, DisplacementField, Grid

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def _turn(axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    """Rotation matrix about an axis (Rodrigues)."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


# Columns are the LPS directions of the index axes: an axis that runs to the right is -x, to the front -y.
GRIDS: dict[str, Grid] = {
    "LPS": Grid.from_arrays((20, 22, 18), (1.5, 1.5, 1.5), (-14.0, -17.0, -11.0), np.eye(3)),
    "RAS": Grid.from_arrays((20, 22, 18), (1.5, 1.4, 1.6), (15.0, 13.0, -14.0), np.diag([-1.0, -1.0, 1.0])),
    "LAS": Grid.from_arrays((21, 19, 20), (1.4, 1.6, 1.5), (-16.0, 12.0, -15.0), np.diag([1.0, -1.0, 1.0])),
    "oblique": Grid.from_arrays((20, 21, 19), (1.5, 1.4, 1.6), (-9.0, -21.0, -7.0), _turn((1, 2, 3), 33)),
    "anisotropic": Grid.from_arrays((30, 28, 10), (0.9, 1.1, 3.2), (-12.5, -15.5, -14.5), np.eye(3)),
    "sagittal": Grid.from_arrays((24, 22, 12), (1.2, 1.3, 2.5), (-13.0, -14.0, 15.0), np.array([[0, 0, 1.0], [1, 0, 0], [0, -1, 0]])),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the shared data sets where they are absent."""
    if SHARED_DATA.is_dir():
        return
    skip = pytest.mark.skip(reason="needs the labelled data sets in ../shared/data, which are not here")
    for item in items:
        if item.get_closest_marker("data"):
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    """Two in all: also the programs that tests of several processes start have one each."""
    several = "PYTEST_XDIST_WORKER" in os.environ
    if several:
        os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1 if several else 2)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the labelled data sets; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the labelled data sets in ../shared/data, which are not here")
    return SHARED_DATA


@pytest.fixture(scope="session")
def ants() -> Any:
    """ANTsPy as an oracle; the test is skipped where it is not installed."""
    try:
        with warnings.catch_warnings():
            # Warnings of the other package's own imports are none of our business.
            warnings.simplefilter("ignore")
            return importlib.import_module("ants")
    except ModuleNotFoundError as error:
        pytest.skip(f"needs antspyx as an oracle (pip install antspyx): {error}")


@pytest.fixture(params=list(GRIDS))
def grid(request: pytest.FixtureRequest) -> Grid:
    """One grid of each orientation: the test runs on all."""
    return GRIDS[request.param]


@pytest.fixture(scope="session")
def grids() -> dict[str, Grid]:
    """All test grids by name."""
    return dict(GRIDS)


@pytest.fixture(scope="session")
def sitk_image() -> Callable[[np.ndarray, Grid], sitk.Image]:
    """A SimpleITK image of voxels (D, H, W) or vectors (D, H, W, 3) on a Grid."""

    def make(voxels: np.ndarray, grid: Grid) -> sitk.Image:
        image = sitk.GetImageFromArray(voxels, isVector=voxels.ndim == 4)
        image.SetSpacing(grid.spacing)
        image.SetOrigin(grid.origin)
        image.SetDirection(grid.direction)
        return image

    return make


@pytest.fixture(scope="session")
def sitk_transform(sitk_image: Callable[[np.ndarray, Grid], sitk.Image]) -> Callable[[Chain], sitk.Transform]:
    """The SimpleITK twin of a Chain: what is added to a composite last is applied first."""

    def make(chain: Chain) -> sitk.Transform:
        composite = sitk.CompositeTransform(3)
        for step in reversed(chain.steps):
            if isinstance(step, Affine):
                affine = sitk.AffineTransform(3)
                affine.SetMatrix(step.matrix[:3, :3].ravel().tolist())
                affine.SetTranslation(step.matrix[:3, 3].tolist())
                composite.AddTransform(affine)
            else:
                composite.AddTransform(sitk.DisplacementFieldTransform(sitk_image(step.vectors_mm.astype(np.float64), step.grid)))
        return composite

    return make


@pytest.fixture(scope="session")
def wavy_field() -> Callable[..., DisplacementField]:
    """A smooth field with a few millimetres of displacement; with ``fade`` it is zero at the edge of its grid."""

    def make(grid: Grid, amplitude_mm: float = 2.0, *, fade: bool = True, seed: int = 0) -> DisplacementField:
        phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, (3, 3))
        place = np.stack(np.meshgrid(*[np.linspace(0, 1, n) for n in grid.shape], indexing="ij"), -1)
        waves = [np.prod([np.sin(2 * np.pi * 0.9 * place[..., a] + phase[c, a]) for a in range(3)], axis=0) for c in range(3)]
        vectors = amplitude_mm * np.stack(waves, -1)
        if fade:
            vectors *= np.prod(np.sin(np.pi * place), axis=-1, keepdims=True)
        return DisplacementField(vectors.astype(np.float32), grid)

    return make


@pytest.fixture
def save_weights() -> Callable[..., Path]:
    """Write weights of an untrained network by hand, not by the code under test; ``changes`` replace keys of the JSON."""

    import safetensors.torch

    from unireg_cli.model.anatomy import vocabulary
    from unireg_cli.model.network import Network, settings_as_json
    from unireg_cli.model.settings import NetworkSettings

    def write(path: Path, *, seed: int = 0, **changes: Any) -> Path:
        settings = NetworkSettings(vocabulary().size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            tensors = {name: tensor.contiguous() for name, tensor in Network(settings).state_dict().items()}
        content = safetensors.torch.save(tensors, {"unireg-weights": "1"})
        config = {
            "format": "unireg-weights",
            "format_version": 1,
            "sha256": hashlib.sha256(content).hexdigest(),
            "name": path.stem,
            "network": settings_as_json(settings),
            "trained": {"real": ["liver", "hippocampus_left"], "synthetic": ["spleen", "liver"]},
            "smoothness": 0.25,
            "step": 12,
            "licence": "CC BY-NC-SA 4.0",
        }
        path.write_bytes(content)
        path.with_suffix(".json").write_text(json.dumps(config | changes))
        return path

    return write


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the weights that come with unireg."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr("unireg_cli.io.weights.shipped_folder", lambda: folder)
    return folder


@pytest.fixture(autouse=True)
def _no_weights_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNIREG_WEIGHTS", raising=False)


@pytest.fixture(scope="session")
def tiny_network() -> Callable[..., Any]:
    """A network of four small levels, in inference mode: untrained, with ``awake`` heads that move things and mind the condition,
    or ``still``, giving no displacement at all.
    """

    from unireg_cli.model.anatomy import vocabulary
    from unireg_cli.model.network import Network
    from unireg_cli.model.settings import NetworkSettings

    def make(*, seed: int = 0, awake: float = 0.0, still: bool = False) -> Network:
        settings = NetworkSettings(
            vocabulary().size,
            encoder=(4, 4, 8, 8),
            match=(4, 4, 4, 4),
            decoder=(4, 8, 8, 8),
            neighbours=(7, 7, 27, 27),
            condition=8,
            embedding=4,
            hidden=4,
        )
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            network = Network(settings)
            if awake:
                network.conditions.anatomy.normal_()
            for level in network.levels:
                controller = level.head.controller
                # The last layer's kernel: three rows of ``hidden`` before its three biases.
                controller.bias[-15:-3] *= 0 if still else 1 + 50 * awake
                controller.weight.normal_(0, 0.3 * awake)
                level.trust *= 0 if still else 1
        return network.eval().requires_grad_(False)

    return make
