"""Nipype itself, if it is there, and small inputs for its interfaces."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from unireg_cli.spatial import Grid


@pytest.fixture(scope="session")
def interfaces() -> ModuleType:
    """Our interfaces; the test is skipped where Nipype is not installed. It asks nobody whether it is new enough."""
    os.environ.setdefault("NIPYPE_NO_ET", "1")
    try:
        with warnings.catch_warnings():
            # Warnings of the other package's own imports are none of our business.
            warnings.simplefilter("ignore")
            return importlib.import_module("unireg_cli.interfaces")
    except ImportError as error:
        pytest.skip(f"needs Nipype (pip install 'unireg[nipype]'): {error}")


@pytest.fixture(autouse=True)
def _keep_threads() -> Iterator[None]:
    """Commands in this process set its threads; later tests get theirs back."""
    before, itk = torch.get_num_threads(), sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    yield
    torch.set_num_threads(before)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(itk)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a blank in its name and two images, a label map and two transforms in it."""
    place = tmp_path / "a folder"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def files(folder: Path, sitk_image: Callable[[np.ndarray, Grid], sitk.Image]) -> Path:
    """fix, mov, third: balls at slightly different places; labels; shift.tfm and turn.tfm."""
    grid = Grid.from_arrays((16, 15, 14), (1.5, 1.5, 1.5), (-12.0, -11.0, -10.0), np.eye(3))
    for number, name in enumerate(("fix", "mov", "third")):
        distance = np.linalg.norm(grid.points_lps() - [0.8 * number, 0, 0], axis=-1)
        sitk.WriteImage(sitk_image((100 / (1 + np.exp(distance - 6))).astype(np.float32), grid), str(folder / f"{name}.nii.gz"))
    labels = (np.linalg.norm(grid.points_lps(), axis=-1) < 5).astype(np.uint8)
    sitk.WriteImage(sitk_image(labels, grid), str(folder / "labels.nii.gz"))
    sitk.WriteTransform(sitk.TranslationTransform(3, (3.0, 0.0, 0.0)), str(folder / "shift.tfm"))
    sitk.WriteTransform(sitk.Euler3DTransform((0.0, 0.0, 0.0), 0.0, 0.0, 0.2), str(folder / "turn.tfm"))
    return folder
