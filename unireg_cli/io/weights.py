"""Files of network weights: NAME.safetensors, and NAME.json beside it. Nothing is ever downloaded or unpickled.

Importing this module is cheap: torch and safetensors are loaded where tensors are.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unireg_cli.errors import WeightsError
from unireg_cli.io.atomic import atomic_path
from unireg_cli.io.weights_config import FORMAT, FORMAT_VERSION, check_config, check_version, config_path, read_config

if TYPE_CHECKING:
    from torch import Tensor

VARIABLE = "UNIREG_WEIGHTS"
DEFAULT_NAME = "unireg-base"
NO_WEIGHTS = "none"
"""The word that asks for a run without weights."""
_SUFFIX = ".safetensors"
_SHIPPED_PACKAGE = "unireg_weights"
# A safetensors file begins with the length of its header, little-endian.
_LENGTH_BYTES = 8
_KNOWN_KEYS = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True, slots=True, eq=False)
class WeightsFile:
    """Weights that were read and found whole: ``config`` is the JSON, ``tensors`` lie in CPU memory."""

    name: str
    path: Path
    sha256: str
    config: Mapping[str, Any]
    tensors: dict[str, Tensor]


def shipped_folder() -> Path:
    """The folder of the weights that come with unireg.

    Raises:
        WeightsError: this installation lacks it.
    """
    try:
        return Path(str(files(_SHIPPED_PACKAGE)))
    except ModuleNotFoundError as error:
        raise WeightsError(f"this installation of unireg lacks its weights folder ({_SHIPPED_PACKAGE}); install it anew") from error


def find_weights(asked: str | None) -> Path | None:
    """The file meant by ``asked``, else by the variable UNIREG_WEIGHTS, else the shipped unireg-base.

    What holds a folder separator or ends in .safetensors is a file; any other word names shipped weights. None: ``none`` was
    asked for, or nothing was and nothing is shipped.

    Raises:
        WeightsError: no such file, or no shipped weights of that name.
    """
    source = "--weights"
    if asked is None:
        asked, source = os.environ.get(VARIABLE) or None, VARIABLE
    if asked is None:
        path = shipped_folder() / f"{DEFAULT_NAME}{_SUFFIX}"
        return path if path.exists() else None
    if asked == NO_WEIGHTS:
        return None
    if asked.endswith(_SUFFIX) or "/" in asked or os.sep in asked:
        path = Path(asked)
        if not path.is_file():
            raise WeightsError(f"{source} {asked}: no such file; check the path")
        return path
    names = sorted(path.stem for path in shipped_folder().glob(f"*{_SUFFIX}"))
    if asked not in names:
        known = f"the shipped ones are {', '.join(names)}" if names else "none are shipped"
        raise WeightsError(f"{source} {asked}: no weights of this name, {known}; a file of your own is named with its {_SUFFIX}")
    return shipped_folder() / f"{asked}{_SUFFIX}"


def write_weights(path: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> str:
    """Write NAME.safetensors and NAME.json; atomic. Returns the SHA-256 of the former.

    ``config`` needs the keys name, network, trained, smoothness, step and licence; format, format_version and sha256 are added.

    Raises:
        WeightsError: another suffix, a key that is missing, no tensor, or one that is not finite.
    """
    from safetensors.torch import save

    _check_suffix(path)
    check_config(config, path)
    # Copies: the format holds no views and no two names for one memory.
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    _check_tensors(plain, path)
    # One entry: the order of several would differ from run to run, and the SHA-256 with it.
    content = save(plain, {FORMAT: str(FORMAT_VERSION)})
    digest = hashlib.sha256(content).hexdigest()
    added = {"format": FORMAT, "format_version": FORMAT_VERSION, "sha256": digest}
    text = json.dumps({**added, **{key: value for key, value in config.items() if key not in added}}, indent=2, ensure_ascii=False)
    with atomic_path(config_path(path)) as description, atomic_path(path) as weights:
        description.write_text(text + "\n", encoding="utf-8")
        weights.write_bytes(content)
    return digest


def read_weights(path: Path) -> WeightsFile:
    """Read and check both files of the weights.

    Raises:
        WeightsError: a file that is missing, damaged, truncated, foreign or newer, a tensor that was changed or is not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    _check_suffix(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such weights file; check the path") from None
    except OSError as error:
        raise WeightsError(f"{path}: the weights cannot be read ({error.strerror})") from error
    _check_content(content, path)
    config = read_config(path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != config["sha256"]:
        raise WeightsError(
            f"{path}: its SHA-256 is {digest[:12]}..., {config_path(path).name} says {config['sha256'][:12]}...: "
            "the tensors were changed, or the two files do not belong together; copy both anew"
        )
    try:
        tensors: dict[str, Tensor] = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: damaged, its tensors cannot be read ({error})") from error
    _check_tensors(tensors, path)
    return WeightsFile(config["name"], path, digest, config, tensors)


def _check_suffix(path: Path) -> None:
    if path.suffix != _SUFFIX:
        raise WeightsError(f"{path}: weights are a file NAME{_SUFFIX} with a NAME.json beside it; name the {_SUFFIX} file")


def _check_content(content: bytes, path: Path) -> None:
    """The file is of this format, written by this code, and as long as it says."""
    start = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    if len(content) > _LENGTH_BYTES and content[_LENGTH_BYTES : _LENGTH_BYTES + 1] != b"{":
        raise WeightsError(f"{path}: not a safetensors file; name weights made by unireg")
    if len(content) <= _LENGTH_BYTES or len(content) < start:
        raise WeightsError(f"{path}: truncated, {len(content)} bytes end within the header; copy the file anew")
    header = _header(content[_LENGTH_BYTES:start], path)
    about = header.get("__metadata__")
    if not isinstance(about, dict) or FORMAT not in about:
        raise WeightsError(f"{path}: a safetensors file, but not of unireg (its metadata lack {FORMAT}); name other weights")
    version = about[FORMAT]
    check_version(int(version) if isinstance(version, str) and version.isdecimal() else version, path)
    end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    if len(content) - start != end:
        how = "truncated" if len(content) - start < end else "longer than its header says"
        raise WeightsError(f"{path}: {how}, {len(content) - start} bytes of tensors instead of {end}; copy the file anew")


def _header(text: bytes, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: damaged, its header is not readable ({error}); copy the file anew") from error
    for name, entry in header.items():
        if name != "__metadata__" and not (isinstance(entry, dict) and set(entry) == _KNOWN_KEYS and _are_offsets(entry["data_offsets"])):
            raise WeightsError(f"{path}: damaged, its header does not say where tensor {name!r} lies; copy the file anew")
    found: dict[str, Any] = header
    return found


def _are_offsets(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(number, int) for number in value)


def _check_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors")
    spoiled = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
    if spoiled:
        more = f" and {len(spoiled) - 1} more" if len(spoiled) > 1 else ""
        raise WeightsError(f"{path}: tensor {spoiled[0]!r}{more} holds NaN or infinity; these weights cannot be used")
