"""Averaged weights as a file that ``unireg register`` reads, with what it must know of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from trainer.config import TrainConfig
from trainer.datasets import NOT_ASKABLE
from trainer.loop import State
from trainer.pool import Pool
from unireg_cli.io.provenance import plain, versions
from unireg_cli.io.weights import write_weights
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.network import settings_as_json


def export(state: State, pools: list[Pool], config: TrainConfig, path: Path) -> str:
    """Write the averaged weights and their JSON; returns the SHA-256."""
    description = {
        "name": config.name,
        "network": settings_as_json(config.network),
        "trained": _trained(state, pools),
        "smoothness": {"inter": config.smoothness[0], "intra": config.smoothness[1]},
        "step": state.step,
        "licence": config.licence,
        "seed": config.seed,
        "tune": plain(state.results),
        "init": {key: value for key, value in state.origin.items() if key != "trained"},
        "recipe": recipe(config),
        "versions": versions(),
    }
    return write_weights(path, state.average, description)


def _trained(state: State, pools: list[Pool]) -> dict[str, list[str]]:
    """What this run has taught, and what the weights that it began as knew."""
    own = trained_names(pools) if state.step else {}
    before = state.origin.get("trained", {})
    return {kind: sorted({*own.get(kind, ()), *before.get(kind, ())}) for kind in ("real", "synthetic")}


def trained_names(pools: list[Pool]) -> dict[str, list[str]]:
    """Names of the structures with real labels and of those on painted images, as far as any scan shows them."""
    found: dict[str, set[str]] = {"real": set(), "synthetic": set()}
    for pool in pools:
        for scan in pool.learn.scans:
            counts = torch.bincount(scan.labels.reshape(-1).int(), minlength=len(pool.learn.structures))
            ids = [id for id, count in zip(pool.learn.structures, counts.tolist(), strict=False) if count and id != NOT_ASKABLE]
            found["synthetic" if pool.learn.painted else "real"] |= {vocabulary().name_of(id) for id in ids}
    return {kind: sorted(names) for kind, names in found.items()}


def recipe(config: TrainConfig) -> dict[str, Any]:
    """The config as a part of a JSON; of paths only what names the data sets."""
    told: dict[str, Any] = plain(config)
    for entry in told["sources"]:
        entry["path"] = "/".join(Path(entry["path"]).parts[-2:])
    told["init"] = Path(config.init).name
    return {key: value for key, value in told.items() if key not in ("cache", "output", "network", "device")}
