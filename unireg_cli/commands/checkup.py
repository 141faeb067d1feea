"""Looks at this installation and this machine, one question at a time."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from importlib.metadata import version
from typing import Any

from unireg_cli.commands.failure import describe_failure
from unireg_cli.commands.resources import Threads, usable_cores

# Name of the distribution -> what is imported.
_PACKAGES = {
    "torch": "torch",
    "numpy": "numpy",
    "scipy": "scipy",
    "SimpleITK": "SimpleITK",
    "nibabel": "nibabel",
    "h5py": "h5py",
    "safetensors": "safetensors",
    "matplotlib": "matplotlib",
    "pillow": "PIL",
    "typer": "typer",
    "rich": "rich",
}
_VARIABLES = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY")
# Voxels along each axis of a usual pair, and of one so small that a machine which cannot hold it is of no use.
_USUAL_SIZE, _SMALL_SIZE = 256, 128


class State(StrEnum):
    """How a check ended; a note is worth knowing, a problem has to be solved."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One answer: ``text`` for people, ``facts`` for programs (what JSON knows)."""

    name: str
    state: State
    text: str
    facts: dict[str, Any] = field(default_factory=dict)


def checkup(threads: Threads, device: str, weights: str | None) -> Iterator[Check]:
    """Every check in turn; one that fails in an unforeseen way is a problem, and the others go on."""
    from unireg_cli.commands.selftest import self_test

    checks: dict[str, Callable[[], Check]] = {
        "versions": check_versions,
        "device": lambda: check_device(device),
        "threads": lambda: check_threads(threads),
        "memory": check_memory,
        "weights": lambda: check_weights(weights),
        "bfloat16": lambda: check_bfloat16(device),
        "self-test": lambda: self_test(device, weights),
    }
    for name, look in checks.items():
        try:
            yield look()
        except Exception as error:
            yield Check(name, State.PROBLEM, describe_failure(error).line)


def check_versions() -> Check:
    """Every package that unireg depends on is there and can be imported."""
    found, missing = {"unireg": version("unireg"), "python": platform.python_version()}, []
    for package, module in _PACKAGES.items():
        try:
            import_module(module)
            found[package] = version(package)
        except (ImportError, OSError) as error:
            missing.append(f"{package} ({error})")
    facts = {"versions": found, "system": platform.system(), "machine": platform.machine()}
    if missing:
        return Check("versions", State.PROBLEM, f"cannot be imported: {', '.join(missing)}; install unireg anew", facts)
    words = ", ".join(f"{name} {number}" for name, number in found.items())
    return Check("versions", State.OK, f"{words}; {platform.system()} {platform.machine()}", facts)


def check_device(asked: str) -> Check:
    """The device that a run would take computes."""
    import torch

    from unireg_cli.registration.device import choose_device

    device, why = choose_device(asked)
    total = float((torch.arange(8, dtype=torch.float32, device=device) * 2).sum())
    cards = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    facts: dict[str, Any] = {
        "chosen": str(device),
        "cuda": [{"name": card.name, "memory_gb": round(card.total_memory / 1e9, 1)} for card in cards],
        "built_for_cuda": torch.version.cuda,
        "mps": torch.backends.mps.is_available(),
    }
    if total != 56.0:
        return Check("device", State.PROBLEM, f"{device} computes wrongly: twice the sum of 0 to 7 is {total:g} there", facts)
    names = [f"cuda:{n} {card.name}, {card.total_memory / 1e9:.0f} GB" for n, card in enumerate(cards)]
    text = "; ".join([why, *names])
    if asked == "auto" and not cards and shutil.which("nvidia-smi"):
        reason = f"built for CUDA {torch.version.cuda}, sees none" if torch.version.cuda else "a build for the CPU only"
        return Check("device", State.NOTE, f"{text}; nvidia-smi is here, but this PyTorch is {reason}", facts)
    return Check("device", State.OK, text, facts)


def check_threads(threads: Threads) -> Check:
    """How many threads a run takes, and who said so."""
    cores, usable = os.cpu_count() or 1, usable_cores()
    set_to = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    facts = {"threads": threads.count, "source": threads.source, "cores": cores, "usable_cores": usable, "variables": set_to}
    text = f"{threads.count} ({threads.source}); {usable} of {cores} cores may be used"
    if threads.count > usable:
        return Check("threads", State.NOTE, f"{text}: more threads than cores slow each other down", facts)
    if threads.count < usable:
        return Check("threads", State.NOTE, f"{text}: the rest stays idle", facts)
    return Check("threads", State.OK, text, facts)


def check_memory() -> Check:
    """Free memory against what pairs need."""
    import numpy as np

    from unireg_cli.registration.memory import available_bytes, needed_bytes
    from unireg_cli.registration.settings import Settings
    from unireg_cli.spatial import Grid

    def needed_gb(edge: int) -> float:
        grid = Grid.from_arrays((edge,) * 3, (1.0,) * 3, (0.0,) * 3, np.eye(3))
        return needed_bytes(grid, grid, Settings()) / 1e9

    free = available_bytes()
    usual, small = needed_gb(_USUAL_SIZE), needed_gb(_SMALL_SIZE)
    needed = {str(_USUAL_SIZE): usual, str(_SMALL_SIZE): small}
    facts = {"available_gb": None if free is None else round(free / 1e9, 2), "needed_gb": needed}
    pairs = f"a pair of {_USUAL_SIZE} voxels along each axis needs about {usual:.1f} GB"
    if free is None:
        return Check("memory", State.NOTE, f"this system does not say how much is free; {pairs}", facts)
    text = f"{free / 1e9:.1f} GB are free; {pairs}"
    state = State.OK if free >= usual * 1e9 else State.NOTE if free >= small * 1e9 else State.PROBLEM
    return Check("memory", state, text if state is not State.PROBLEM else f"{text}, one of {_SMALL_SIZE} about {small:.1f} GB", facts)


def check_weights(asked: str | None) -> Check:
    """The weights that a run would take are whole: their SHA-256 is that of their JSON, and the network takes them."""
    from unireg_cli.io.weights import NO_WEIGHTS, VARIABLE, find_weights
    from unireg_cli.loading import load_model

    path = find_weights(asked)
    if path is None:
        if NO_WEIGHTS in (asked, os.environ.get(VARIABLE)):
            return Check("weights", State.NOTE, "none, as asked for; runs refine only", {"name": None})
        return Check("weights", State.PROBLEM, "none are part of this installation; install unireg anew or name some", {"name": None})
    weights = load_model(path).weights
    facts = {"name": weights.name, "path": str(path), "sha256": weights.sha256, "step": weights.config["step"]}
    facts["licence"] = weights.config["licence"]
    count = sum(tensor.numel() for tensor in weights.tensors.values())
    text = f"{weights.name}, step {weights.config['step']}, {count / 1e6:.1f} million numbers, SHA-256 {weights.sha256} verified"
    return Check("weights", State.OK, f"{text}; {weights.config['licence']}; {path}", facts)


def check_bfloat16(asked: str) -> Check:
    """Whether the network runs in bfloat16 here."""
    from unireg_cli.model.rounding import gains_from_bfloat16
    from unireg_cli.registration.device import choose_device

    device, _ = choose_device(asked)
    pays = gains_from_bfloat16(device)
    if pays:
        return Check("bfloat16", State.OK, f"pays on this {device.type}, and the network uses it", {"pays": True})
    why = "this processor has no instructions for it (AVX-512 BF16 or AMX)" if device.type == "cpu" else f"not on this {device.type}"
    return Check("bfloat16", State.OK, f"does not pay: {why}; the network runs in float32", {"pays": False})
