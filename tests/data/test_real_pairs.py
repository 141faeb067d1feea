from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from unireg_cli.evaluation.overlap import dice_per_label
from unireg_cli.io.images import read_image
from unireg_cli.registration.pipeline import register_images
from unireg_cli.registration.settings import Settings
from unireg_cli.spatial import Chain, Image
from unireg_cli.spatial.jacobian import determinant
from unireg_cli.spatial.resample import resample
from unireg_cli.types import Interpolation


def first_pair(folder: Path) -> dict[str, Image]:
    """Images and labels of the first pair of a data set's validation list."""
    pair = json.loads((folder / "dataset.json").read_text())["registration_val"][0]
    found = {}
    for side in ("fixed", "moving"):
        image = folder / pair[side]
        found[side] = read_image(image)
        found[f"{side} labels"] = read_image(folder / "labels" / image.name)
    return found


def mean_dice(pair: dict[str, Image], chain: Chain) -> float:
    """Mean over labels after carrying the moving labels over by the nearest voxel."""
    fixed, moving = pair["fixed labels"], pair["moving labels"]
    carried = resample(moving.voxels, moving.grid, fixed.grid, chain, Interpolation.NEAREST)
    return float(np.mean(list(dice_per_label(fixed.voxels, carried).values())))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["hippocampus_mr", "cardiac_mr"])
def test_labels_that_the_engine_never_saw_come_together(name: str, shared_data: Path) -> None:
    pair = first_pair(shared_data / name)
    result = register_images(pair["fixed"], pair["moving"], Settings())
    assert mean_dice(pair, result.forward) > mean_dice(pair, Chain()) + 0.1
    assert result.field is not None and result.quality.regularity is not None
    assert float(determinant(result.field).min()) > 0
    assert result.quality.regularity.folding_percent == 0
    consistency = result.quality.inverse_consistency
    assert consistency is not None and consistency.mean_voxels < 0.1 and consistency.p99_voxels < 0.5
