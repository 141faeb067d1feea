from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from unireg_cli.evaluation.overlap import dice_per_label
from unireg_cli.io.images import read_image
from unireg_cli.registration.pipeline import align_images, bend
from unireg_cli.registration.segmentations import Segmentations
from unireg_cli.registration.settings import Settings
from unireg_cli.registration.steering import Steering
from unireg_cli.spatial import Affine, Chain, Image
from unireg_cli.spatial.resample import resample
from unireg_cli.types import Interpolation, Start

SPACING = 3.0


def coarse(image: Image, way: Interpolation) -> Image:
    """The same field of view in larger voxels, so that the test takes minutes and not longer."""
    grid = image.grid.resized(np.rint(image.grid.extent_mm / SPACING).astype(int).tolist())
    return Image(resample(image.voxels, image.grid, grid, Chain(), way), grid, image.name)


def centroids(labels: Image) -> dict[int, np.ndarray]:
    """Middle of each label, LPS mm."""
    points = labels.grid.points_lps()
    return {int(label): points[labels.voxels == label].mean(axis=0) for label in np.unique(labels.voxels) if label}


@pytest.mark.data
@pytest.mark.slow
def test_a_segmented_liver_comes_home_and_the_rest_stays(shared_data: Path) -> None:
    """Training pair ct10, ct13 at 3 mm, from a start at the middles of the organs: what an affine of these images should find."""
    folder = shared_data / "abdomen_ct"
    names = json.loads((folder / "dataset.json").read_text())["labels"]["0"]
    fixed, moving = (coarse(read_image(folder / "images" / f"ct{n}.nii.gz"), Interpolation.LINEAR) for n in (10, 13))
    first, second = (coarse(read_image(folder / "labels" / f"ct{n}.nii.gz"), Interpolation.NEAREST) for n in (10, 13))
    here, there = centroids(first), centroids(second)
    shift = np.mean([there[label] - here[label] for label in here if label in there], axis=0)
    start = Chain((Affine.from_parts(np.eye(3), shift),))
    segmented = Steering(Segmentations(first, second, {int(label): name for label, name in names.items() if label != "0"}))
    scores = []
    for steering, anatomy in ((None, ()), (segmented, ("liver",))):
        settings = Settings(start=Start.NONE, anatomy=anatomy)
        found = bend(align_images(fixed, moving, settings, initial=start, steering=steering), settings)
        carried = resample(second.voxels, second.grid, first.grid, found.forward, Interpolation.NEAREST)
        scores.append(dice_per_label(first.voxels, carried))
        assert found.quality.regularity is not None and found.quality.regularity.folding_percent == 0
    others = [np.mean([value for label, value in score.items() if label != 6]) for score in scores]
    assert scores[1][6] >= 0.93 and others[1] >= others[0] - 0.01
