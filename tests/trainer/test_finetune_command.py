"""``unireg finetune`` from the command line, and what other commands make of its file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk
import torch
from tuning import base_weights, listed, twins

import trainer.finetune_lesson
import trainer.finetune_options
from trainer.finetune_look import Exam, Look
from unireg_cli.__main__ import main
from unireg_cli.io.weights import write_weights
from unireg_cli.io.weights_config import read_config
from unireg_cli.model.adapter import TABLES, adaptable, overlay, rows_asked
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.network import Network, settings_as_json
from unireg_cli.model.settings import NetworkSettings
from unireg_cli.registration.prediction import Prediction, predict


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def unireg(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def call(*words: object) -> Said:
        capfd.readouterr()
        code = main([*map(str, words)])
        said = capfd.readouterr()
        return Said(code, said.out, said.err)

    return call


@pytest.fixture(autouse=True)
def _quick(aligned_people: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """One thread, aligned people, small lattices, an empty folder as the current one."""
    monkeypatch.setattr(trainer.finetune_options.Options, "__post_init__", _small(trainer.finetune_options.Options.__post_init__))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    before, itk = torch.get_num_threads(), sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    yield
    torch.set_num_threads(before)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(itk)


def _small(check: Callable[[Any], None]) -> Callable[[Any], None]:
    def checked(options: Any) -> None:
        object.__setattr__(options, "voxels", (4000, 8000))
        check(options)

    return checked


@pytest.fixture
def adapted(organs: Path, tmp_path: Path, unireg: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An adapter for ``odd_organs``, which every look finds better than before, and its base."""
    monkeypatch.setattr(Exam, "look", lambda _exam, _network, _request, _smoothness, step: Look(step, 0.5 + 0.01 * step, 0.1, 0.0))
    base = base_weights(tmp_path / "base.safetensors")
    words = ["--anatomy", "odd_organs", "--steps", 4, "--look-every", 2, "--rate", 5e-2, "--weights", base.path]
    said = unireg("finetune", listed(organs, "listed"), "-o", "mine.safetensors", *words)
    assert said.code == 0 and said.out == "", said.err
    assert "judged by 1 of 10 pairs, held back, and their scans with others (Dice)" in said.err and "before: Dice 0." in said.err
    assert "step 2: Dice 0." in said.err and "min left" in said.err and "at step 4 of 4; wrote mine.safetensors" in said.err
    return tmp_path / "mine.safetensors", base.path


def register(unireg: Callable[..., Said], organs: Path, prefix: str, *words: object) -> dict[str, Any]:
    said = unireg("register", organs / "scan0.nii.gz", organs / "scan1.nii.gz", "-o", prefix, "--init", "none", "--fast", *words)
    assert said.code == 0, said.err
    record: dict[str, Any] = json.loads(Path(f"{prefix}.json").read_text())
    return record


def test_register_uses_the_file_where_its_name_is_asked_for_and_only_there(
    adapted: tuple[Path, Path], organs: Path, unireg: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, base = adapted
    found: list[torch.Tensor] = []

    def spied(*words: Any) -> Prediction:
        done = predict(*words)
        found.append(done.displacement)
        return done

    monkeypatch.setattr("unireg_cli.registration.expectation.predict", spied)
    sha256 = {path: read_config(path)["sha256"] for path in adapted}
    own = register(unireg, organs, "own", "--weights", mine, "--anatomy", "Odd-Organs")
    assert own["condition"]["anatomy"] == ["odd_organs"] and not any("not trained" in text for text in own["warnings"])
    assert own["weights"] == {
        "name": "mine",
        "sha256": sha256[mine],
        "step": 4,
        "base": {"name": "base", "sha256": sha256[base]},
        "anatomy": "odd_organs",
        "applied": True,
    }
    spleen = register(unireg, organs, "spleen", "--weights", mine, "--anatomy", "spleen")
    plain = register(unireg, organs, "plain", "--weights", base, "--anatomy", "spleen")
    assert spleen["weights"]["applied"] is False and plain["weights"]["name"] == "base"
    own_field, spleen_field, plain_field = found
    assert torch.equal(spleen_field, plain_field) and plain_field.abs().max() > 0.01
    assert not torch.equal(own_field, plain_field)
    assert spleen["quality"] == plain["quality"]


def test_new_name_is_one_of_the_vocabulary_of_its_file_alone(adapted: tuple[Path, Path], organs: Path, unireg: Callable[..., Said]) -> None:
    mine, base = adapted
    shown = unireg("anatomies", "--weights", mine, "--region", "abdomen")
    line = next(line for line in shown.out.splitlines() if line.startswith("odd_organs"))
    assert line.split() == ["odd_organs", "abdomen", "finetuned"]
    assert "odd_organs" not in unireg("anatomies", "--weights", base).out
    two = [organs / "scan0.nii.gz", organs / "scan1.nii.gz", "--dry-run"]
    near = unireg("register", *two, "--weights", mine, "--anatomy", "od_organs")
    assert near.code == 2 and "unknown name 'od_organs'; did you mean odd_organs" in near.err
    unknown = unireg("register", *two, "--weights", base, "--anatomy", "odd_organs")
    assert unknown.code == 2 and "unknown name 'odd_organs'" in unknown.err
    assert unireg("register", *two, "--weights", mine, "--anatomy", "odd_organs,liver").code == 0


def test_wrong_base_is_one_line_and_code_4(adapted: tuple[Path, Path], organs: Path, shipped: Path, unireg: Callable[..., Said]) -> None:
    mine, base = adapted
    base_weights(base, seed=1)
    said = unireg("register", organs / "scan0.nii.gz", organs / "scan1.nii.gz", "--weights", mine, "--anatomy", "odd_organs")
    assert said.code == 4 and said.err.count("\n") == 1
    assert "mine.safetensors: made for the weights base with SHA-256" in said.err and "base.safetensors is" in said.err


def test_exit_codes_and_words_of_wrong_use(organs: Path, tmp_path: Path, shipped: Path, unireg: Callable[..., Said]) -> None:
    base, pairs = base_weights(tmp_path / "base.safetensors").path, listed(organs, "words", (0, 1))
    none = unireg("finetune", pairs, "-o", "new.safetensors")
    assert none.code == 4 and "no weights to begin with" in none.err
    same = unireg("finetune", pairs, "-o", base, "--weights", base, "--overwrite")
    assert same.code == 2 and "is the file of the weights to begin with" in same.err
    both = unireg("finetune", pairs, "-o", "new.safetensors", "--weights", base, "--steps", 1, "--minutes", 1)
    assert both.code == 2 and "give one" in both.err and both.err.count("\n") == 1
    gone = unireg("finetune", "gone.json", "-o", "new.safetensors", "--weights", base)
    assert gone.code == 3 and "gone.json: no such file" in gone.err and not (tmp_path / "new.finetune").exists()


def test_nothing_better_is_said_and_exits_0(organs: Path, tmp_path: Path, unireg: Callable[..., Said]) -> None:
    base = base_weights(tmp_path / "base.safetensors").path
    words = ["--anatomy", "liver", "--steps", 2, "--look-every", 2, "--rate", 30, "--weights", base, "--val", twins(organs)]
    said = unireg("finetune", listed(organs, "worse", (0, 1, 2)), "-o", "mine.safetensors", *words)
    assert said.code == 0 and "no step of 2 was better than the weights as they were" in said.err
    assert read_config(tmp_path / "mine.safetensors")["finetune"]["improved"] is False


def test_file_of_the_shipped_sizes_is_below_a_megabyte(tmp_path: Path) -> None:
    """All that controller may change has changed, and as many names are asked for as a region has."""
    settings = NetworkSettings(vocabulary().size, segmented=tuple(range(170)), segmenter=(24, 48, 96, 128))
    base = Network(settings).state_dict()
    rows = rows_asked(vocabulary().resolve(["abdomen"]), vocabulary())
    changed = {name for name in base if adaptable(name) and name not in TABLES}
    tuned = {name: tensor + 1 if name in changed else tensor for name, tensor in base.items()}
    config = {"name": "mine", "network": settings_as_json(settings), "trained": {"real": [], "synthetic": []}, "smoothness": 0.5}
    path = tmp_path / "mine.safetensors"
    write_weights(path, overlay(base, tuned, rows), config | {"step": 1, "licence": "for tests"})
    assert 100_000 < path.stat().st_size < 1_000_000
