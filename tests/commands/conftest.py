"""Small images on disk and the command line in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from unireg_cli.__main__ import main
from unireg_cli.spatial import Grid


@dataclass(frozen=True)
class Outcome:
    """What one call of ``unireg`` left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def unireg(folder: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call ``unireg`` with words in the current folder."""

    def call(*words: object) -> Outcome:
        capfd.readouterr()
        code = main([str(word) for word in words])
        said = capfd.readouterr()
        return Outcome(code, said.out, said.err)

    return call


@pytest.fixture(autouse=True)
def _keep_threads() -> Iterator[None]:
    """Commands set the process's threads; later tests get theirs back."""
    import torch

    before, itk = torch.get_num_threads(), sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    yield
    torch.set_num_threads(before)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(itk)


@pytest.fixture
def save(folder: Path, sitk_image: Callable[[np.ndarray, Grid], sitk.Image]) -> Callable[..., Path]:
    """Write voxels on a grid by SimpleITK, not by the code under test."""

    def write(name: str, voxels: np.ndarray, grid: Grid) -> Path:
        sitk.WriteImage(sitk_image(voxels, grid), name)
        return Path(name)

    return write


@pytest.fixture
def blobs() -> Callable[..., np.ndarray]:
    """A smooth picture defined in space, so that it can be drawn on any grid, shifted by ``shift`` mm."""

    def draw(grid: Grid, shift: tuple[float, float, float] = (0.0, 0.0, 0.0), dtype: type = np.float32) -> np.ndarray:
        points = grid.points_lps() - grid.center_lps - np.asarray(shift)
        values = 60 + 8 * (np.sin(points[..., 0] / 2.2) + np.sin(points[..., 1] / 2.6 + 1) + np.sin(points[..., 2] / 2.9 + 2))
        for place, width, height in (((4.5, 3, -3), 3, 40), ((-4.5, 1.5, 4.5), 2.4, 50), ((1.5, -6, 0), 2.1, 45)):
            distance = ((points - np.asarray(place)) ** 2).sum(-1)
            values += height * np.exp(-distance / (2 * width**2))
        # A soft-edged ball of this in nothing: all that matters lies inside both fields of view.
        body = 1 / (1 + np.exp((np.linalg.norm(points, axis=-1) - 9.5) / 0.8))
        return (body * values).astype(dtype)

    return draw
