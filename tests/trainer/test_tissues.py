"""Structures of one tissue look alike, others do not."""

from __future__ import annotations

import pytest
import torch

from trainer.synthesis import Contrast
from trainer.tissues import tied, tissue_of
from unireg_cli.model.anatomy import vocabulary


def id_of(name: str) -> int:
    id = vocabulary().structure_id(name)
    assert id is not None
    return id


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("kidney_left", "kidney_right", True),
        ("rib_left_3", "rib_right_11", True),
        ("vertebrae_C1", "vertebrae_L5", True),
        ("lung_upper_lobe_left", "lung_middle_lobe_right", True),
        ("cerebral_cortex_left", "precuneus_right", True),
        ("cerebral_white_matter_left", "cerebral_cortex_left", False),
        ("lateral_ventricle_left", "heart_ventricle_left", False),
        ("liver", "spleen", False),
        ("kidney_left", "adrenal_gland_left", False),
    ],
)
def test_what_consists_of_one_tissue(one: str, other: str, alike: bool) -> None:
    assert (tissue_of(id_of(one)) == tissue_of(id_of(other))) is alike


def test_tied_structures_share_their_look_and_others_keep_theirs() -> None:
    contrast = Contrast(torch.arange(6.0) / 10, torch.arange(6.0) / 100)
    # Value 4 is nothing that has a name; 5 is liver.
    both = tied(contrast, {1: id_of("kidney_left"), 2: id_of("spleen"), 3: id_of("kidney_right"), 5: id_of("liver")})
    assert torch.allclose(both.means, torch.tensor([0, 0.1, 0.2, 0.1, 0.4, 0.5]))
    assert torch.allclose(both.stds, torch.tensor([0, 0.01, 0.02, 0.01, 0.04, 0.05]))
    assert torch.allclose(contrast.means, torch.arange(6.0) / 10)
