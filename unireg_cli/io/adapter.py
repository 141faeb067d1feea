"""The base of an adapter: the weights that a small file was made for, found by their SHA-256.

Importing this module is cheap, as :mod:`unireg_cli.io.weights` is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unireg_cli.errors import WeightsError
from unireg_cli.io import weights
from unireg_cli.io.weights import DEFAULT_NAME, NO_WEIGHTS, VARIABLE
from unireg_cli.io.weights_config import is_adapter, read_config


def find_base(adapter: Path, config: Mapping[str, Any]) -> Path:
    """The file of the weights that an adapter with this JSON was made for.

    Looked for by its SHA-256, not by its name: what UNIREG_WEIGHTS names, what lies beside the adapter, and what is shipped.

    Raises:
        WeightsError: none of them is it.
    """
    wanted = config["adapter"]["base"]
    seen: list[str] = []
    for path in _candidates(adapter):
        try:
            found = read_config(path)
        except WeightsError:
            # Somebody else's file in the same folder.
            continue
        if found["sha256"] == wanted["sha256"] and not is_adapter(found):
            return path
        if not is_adapter(found):
            seen.append(f"{path.name} is {found['sha256'][:12]}...")
    told = "; ".join(dict.fromkeys(seen)) or "no other weights are here"
    raise WeightsError(
        f"{adapter}: made for the weights {wanted['name']} with SHA-256 {wanted['sha256'][:12]}..., which are not here ({told}); put them "
        f"beside it, name them with {VARIABLE}, or adapt the weights that are here anew"
    )


def _candidates(adapter: Path) -> Iterator[Path]:
    named = os.environ.get(VARIABLE)
    if named and named != NO_WEIGHTS:
        path = weights.find_weights(named)
        if path is not None and path.resolve() != adapter.resolve():
            yield path
    for folder in (weights.shipped_folder(), adapter.parent):
        # The usual one first: nothing else has to be read then.
        files = sorted(folder.glob("*.safetensors"), key=lambda path: (path.stem != DEFAULT_NAME, path.name))
        yield from (path for path in files if path.resolve() != adapter.resolve())
