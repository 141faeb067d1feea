from __future__ import annotations

import pytest
import torch

from unireg_cli.errors import UsageError
from unireg_cli.registration.device import choose_device


def test_the_processor_is_always_there() -> None:
    device, reason = choose_device("cpu")
    assert device == torch.device("cpu") and reason == "cpu (asked for)"


def test_auto_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == (torch.device("cpu"), "cpu (auto: no CUDA device)")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    device, reason = choose_device("auto")
    assert device.type == "cuda" and "auto" in reason


@pytest.mark.parametrize("asked", ["cuda", "cuda:0", "cuda:3"])
def test_a_device_that_is_absent_is_an_error(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match=f"--device {asked}: PyTorch sees 0 CUDA devices"):
        choose_device(asked)


def test_a_number_beyond_the_devices_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1")[0] == torch.device("cuda:1")
    with pytest.raises(UsageError, match="sees 2 CUDA devices"):
        choose_device("cuda:2")


def test_metal_that_is_absent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no Metal device"):
        choose_device("mps")


@pytest.mark.parametrize("asked", ["gpu", "", "cuda:x", "meta"])
def test_names_that_are_none(asked: str) -> None:
    with pytest.raises(UsageError, match="--device must be auto, cpu, cuda"):
        choose_device(asked)
