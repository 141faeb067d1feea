"""Weights files: written and read to the bit, and refused with a reason when anything is wrong with them."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from unireg_cli.errors import InputError, WeightsError
from unireg_cli.io.weights import find_weights, read_weights, shipped_folder, write_weights
from unireg_cli.io.weights_config import own_smoothness, read_config, weights_summary
from unireg_cli.types import Mode

CONFIG = {
    "name": "small",
    "network": {"width": 4},
    "trained": {"real": ["liver"], "synthetic": []},
    "smoothness": 0.25,
    "step": 12,
    "licence": "CC BY-NC-SA 4.0",
    "note": "any other key is kept",
}
OURS = {"unireg-weights": "1"}


def tensors() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.linspace(-1, 1, 24).reshape(2, 3, 4), "b": torch.tensor([1, 2**40]), "half": torch.ones(3).half()}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    write_weights(path, tensors(), CONFIG)
    return path


def replaced(path: Path, content: bytes) -> None:
    """Other tensors with the SHA-256 that fits them."""
    path.write_bytes(content)
    edited(path, sha256=hashlib.sha256(content).hexdigest())


def edited(path: Path, **changes: object) -> None:
    text = path.with_suffix(".json")
    text.write_text(json.dumps(json.loads(text.read_text()) | changes))


def test_round_trip_to_the_bit(small: Path) -> None:
    found = read_weights(small)
    assert found.tensors.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert found.tensors[name].dtype == tensor.dtype and torch.equal(found.tensors[name], tensor)
    assert (found.name, found.path, found.sha256) == ("small", small, hashlib.sha256(small.read_bytes()).hexdigest())
    assert {key: found.config[key] for key in CONFIG} == CONFIG
    assert weights_summary(found.config) == {"name": "small", "sha256": found.sha256, "step": 12}
    assert {path.name for path in small.parent.iterdir()} == {"small.safetensors", "small.json"}


def test_the_file_is_a_plain_safetensors_file(small: Path) -> None:
    with safetensors.safe_open(small, "pt") as oracle:
        assert oracle.metadata() == OURS
        assert torch.equal(oracle.get_tensor("a.weight"), tensors()["a.weight"])
    about = json.loads(small.with_suffix(".json").read_text())
    assert (about["format"], about["format_version"]) == ("unireg-weights", 1)


def test_views_shared_memory_and_gradients_are_written_as_what_they_hold(tmp_path: Path) -> None:
    base = torch.arange(12.0, requires_grad=True)
    path = tmp_path / "views.safetensors"
    write_weights(path, {"turned": base.reshape(3, 4).T, "every": base[::2], "again": base}, CONFIG)
    found = read_weights(path).tensors
    assert found["turned"].tolist() == base.reshape(3, 4).T.tolist()
    assert found["every"].tolist() == [0, 2, 4, 6, 8, 10] and found["again"].tolist() == list(range(12))


def test_same_content_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    digest = write_weights(other, dict(reversed(tensors().items())), CONFIG)
    assert other.read_bytes() == small.read_bytes() and digest == read_config(small)["sha256"]


@pytest.mark.parametrize(
    ("name", "content", "config", "reason"),
    [
        ("a.pt", tensors(), CONFIG, "name the .safetensors file"),
        ("a.safetensors", {}, CONFIG, "no tensors"),
        ("a.safetensors", {"x": torch.tensor([1.0, torch.inf])}, CONFIG, "'x' holds NaN or infinity"),
        ("a.safetensors", tensors(), {key: CONFIG[key] for key in CONFIG if key != "licence"}, '"licence" must be a text, found nothing'),
        ("a.safetensors", tensors(), CONFIG | {"smoothness": 2}, '"smoothness" must be a number from 0 to 1, or an object'),
    ],
)
def test_nothing_unusable_is_written(tmp_path: Path, name: str, content: dict, config: dict, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        write_weights(tmp_path / name, content, config)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_pair(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in small.parent.iterdir()}

    def full(*_words: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(InputError, match="No space left"):
        patched.setattr(Path, "write_bytes", full)
        write_weights(small, {"x": torch.zeros(2)}, CONFIG)
    assert {path: path.read_bytes() for path in small.parent.iterdir()} == before


def _truncate(length: int) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[:length])


def _change_a_value(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def _replace_a_tensor(path: Path) -> None:
    path.write_bytes(safetensors.torch.save(tensors() | {"a.weight": torch.zeros(2, 3, 4)}, OURS))


def _break_offsets(path: Path) -> None:
    replaced(path, path.read_bytes().replace(b'"data_offsets":[', b'"data_offset_":['))


def _overlap(path: Path) -> None:
    header = {"__metadata__": OURS, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    header["b"] = {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}
    text = json.dumps(header).encode()
    replaced(path, len(text).to_bytes(8, "little") + text + bytes(12))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "no such weights file"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    "empty": (_truncate(0), "truncated"),
    "cut in its length": (_truncate(6), "truncated"),
    "cut in its header": (_truncate(60), "truncated, 60 bytes end within the header"),
    "cut in its tensors": (_truncate(-4), "truncated, 114 bytes of tensors instead of 118"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"x"), "longer than its header says"),
    "pickle": (lambda path: torch.save(tensors(), path), "not a safetensors file"),
    "text": (lambda path: path.write_text("<html>not found</html>"), "not a safetensors file"),
    "header damaged": (lambda path: path.write_bytes(path.read_bytes().replace(b'"dtype"', b'"dtype\xff', 1)), "header is not readable"),
    "header without places": (_break_offsets, "does not say where tensor"),
    "tensors overlap": (_overlap, "tensors cannot be read"),
    "foreign": (lambda path: replaced(path, safetensors.torch.save(tensors())), "not of unireg"),
    "foreign format": (lambda path: replaced(path, safetensors.torch.save(tensors(), {"format": "pt"})), "not of unireg"),
    "newer tensors": (lambda path: replaced(path, safetensors.torch.save(tensors(), {"unireg-weights": "2"})), "newer unireg"),
    "tensors without version": (lambda path: replaced(path, safetensors.torch.save(tensors(), {"unireg-weights": ""})), "format_version"),
    "one bit changed": (_change_a_value, "SHA-256"),
    "one tensor changed": (_replace_a_tensor, "SHA-256"),
    "not a number": (lambda path: replaced(path, safetensors.torch.save({"x": torch.tensor([torch.nan])}, OURS)), "'x' holds NaN"),
    "no tensors": (lambda path: replaced(path, safetensors.torch.save({}, OURS)), "no tensors"),
    "JSON missing": (lambda path: path.with_suffix(".json").unlink(), "small.json that belongs beside it is missing"),
    "JSON cut": (lambda path: path.with_suffix(".json").write_text('{"format": "unireg-we'), "small.json: damaged"),
    "JSON of bytes": (lambda path: path.with_suffix(".json").write_bytes(b"\xff\xfe"), "small.json: damaged"),
    "JSON is a list": (lambda path: path.with_suffix(".json").write_text("[]"), "small.json: not the description"),
    "JSON foreign": (lambda path: edited(path, format="other"), "small.json: not the description"),
    "JSON newer": (lambda path: edited(path, format_version=2), "newer unireg .format 2, this one reads up to 1.; update"),
    "JSON without version": (lambda path: edited(path, format_version=None), "format_version must be a number from 1, found None"),
    "JSON of other weights": (lambda path: edited(path, sha256="0" * 64), "SHA-256"),
    "JSON without hash": (lambda path: edited(path, sha256="abc"), "64 hexadecimal digits, found 'abc'"),
    "name": (lambda path: edited(path, name="../x"), '"name" must be'),
    "network": (lambda path: edited(path, network=[]), '"network" must be'),
    "trained": (lambda path: edited(path, trained={"real": ["liver"]}), '"trained" must be'),
    "trained names": (lambda path: edited(path, trained={"real": "liver", "synthetic": []}), '"trained" must be'),
    "smoothness": (lambda path: edited(path, smoothness=True), '"smoothness" must be a number from 0 to 1, or an object'),
    "step": (lambda path: edited(path, step=1.5), '"step" must be a whole number'),
    "licence": (lambda path: edited(path, licence=" "), '"licence" must be a text'),
}


@pytest.mark.parametrize("case", BROKEN)
def test_every_fault_is_one_line_that_names_file_and_reason(small: Path, case: str) -> None:
    spoil, reason = BROKEN[case]
    spoil(small)
    with pytest.raises(WeightsError, match=reason) as caught:
        read_weights(small)
    text = str(caught.value)
    assert caught.value.exit_code == 4 and "\n" not in text and text.startswith(str(small.parent / "small."))


class Bomb:
    """What goes off when it is unpickled."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("exploded"),)


def test_nothing_is_unpickled(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    replaced(small, pickle.dumps(Bomb()))
    with pytest.raises(WeightsError, match="not a safetensors file"):
        read_weights(small)
    assert not Path("exploded").exists()


def test_what_is_asked_for_goes_before_the_variable_and_that_before_the_shipped(
    small: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_weights(None) is None
    for name in ("unireg-base", "unireg-small"):
        write_weights(shipped / f"{name}.safetensors", tensors(), CONFIG | {"name": name})
    assert find_weights(None) == shipped / "unireg-base.safetensors"
    assert find_weights("unireg-small") == shipped / "unireg-small.safetensors"
    monkeypatch.setenv("UNIREG_WEIGHTS", str(small))
    assert find_weights(None) == small and find_weights("unireg-base") == shipped / "unireg-base.safetensors"
    assert find_weights("none") is None
    monkeypatch.setenv("UNIREG_WEIGHTS", "none")
    assert find_weights(None) is None and find_weights(str(small)) == small
    monkeypatch.setenv("UNIREG_WEIGHTS", "")
    assert find_weights(None) == shipped / "unireg-base.safetensors"


def test_what_cannot_be_found_is_said(small: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.parent)
    # A word is a name: a file of that name in the current folder is not meant.
    with pytest.raises(WeightsError, match="--weights small: no weights of this name, none are shipped"):
        find_weights("small")
    write_weights(shipped / "unireg-base.safetensors", tensors(), CONFIG)
    with pytest.raises(WeightsError, match="the shipped ones are unireg-base"):
        find_weights("small")
    assert find_weights("small.safetensors") == Path("small.safetensors") and find_weights("./small.safetensors") is not None
    with pytest.raises(WeightsError, match=r"--weights nope\.safetensors: no such file"):
        find_weights("nope.safetensors")
    monkeypatch.setenv("UNIREG_WEIGHTS", "no/such")
    with pytest.raises(WeightsError, match="UNIREG_WEIGHTS no/such: no such file"):
        find_weights(None)


def test_an_installation_without_its_weights_folder_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unireg_cli.io.weights._SHIPPED_PACKAGE", "unireg_no_weights")
    with pytest.raises(WeightsError, match="lacks its weights folder"):
        find_weights(None)


def test_the_shipped_folder_is_that_of_the_installation() -> None:
    assert (shipped_folder() / "__init__.py").read_text("utf-8").startswith('"""The network weights that come with unireg')


def test_looking_for_weights_loads_nothing_heavy(small: Path) -> None:
    code = "import sys; from pathlib import Path; from unireg_cli.io.weights import find_weights, read_config;"
    code += "print(read_config(find_weights(sys.argv[1]))['step'], *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(small)], capture_output=True, text=True, check=True)
    step, *loaded = done.stdout.split()
    assert step == "12" and {"torch", "numpy", "safetensors"}.isdisjoint(loaded)


def test_own_smoothness_is_one_number_or_one_for_each_type(tmp_path: Path) -> None:
    assert own_smoothness(CONFIG, Mode.INTER) == own_smoothness(CONFIG, Mode.INTRA) == 0.25
    path = tmp_path / "two.safetensors"
    write_weights(path, tensors(), CONFIG | {"smoothness": {"inter": 0.6, "intra": 1}})
    config = read_config(path)
    assert (own_smoothness(config, Mode.INTER), own_smoothness(config, Mode.INTRA)) == (0.6, 1.0)
    with pytest.raises(WeightsError, match='"smoothness" must be a number from 0 to 1, or an object'):
        write_weights(path, tensors(), CONFIG | {"smoothness": {"inter": 0.6}})
