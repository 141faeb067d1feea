"""Where bfloat16 pays, and where it would be wrong."""

from __future__ import annotations

import pytest
import torch

from unireg_cli.model.rounding import gains_from_bfloat16, is_sound


@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize("products", [True, False])
def test_bfloat16_pays_where_the_processor_knows_it(monkeypatch: pytest.MonkeyPatch, tiles: bool, products: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: products, raising=False)
    assert gains_from_bfloat16(torch.device("cpu")) is (tiles or products)


def test_bfloat16_stays_off_where_torch_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert gains_from_bfloat16(torch.device("cpu")) is False


@pytest.mark.parametrize(("depth", "sound", "sound_taught"), [(16, False, False), (32, True, False), (48, True, True)])
def test_the_coarsest_lattice_is_deep_enough(depth: int, sound: bool, sound_taught: bool) -> None:
    """A sixteenth of the image: one, two and three voxels deep, whichever axis is the thin one."""
    cpu, shapes = torch.device("cpu"), [(64, 80, 64), (64, depth, 80)]
    assert is_sound(cpu, shapes, 16, taught=False) is sound and is_sound(cpu, shapes, 16, taught=True) is sound_taught
    assert is_sound(torch.device("cuda"), shapes, 16, taught=True)
