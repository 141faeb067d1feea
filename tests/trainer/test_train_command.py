"""``unireg train`` from the command line, and the recipe of the shipped weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch

from trainer.config import Source
from trainer.config_file import read_config, write_config
from trainer.phantoms import KINDS
from unireg_cli.__main__ import main
from unireg_cli.io.weights import read_weights

Recipe = Callable[..., Path]
RECIPE = Path(__file__).parents[2] / "weights" / "recipe.toml"


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def train(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def call(*words: object) -> Said:
        capfd.readouterr()
        code = main(["train", *map(str, words), "--threads", "1"])
        said = capfd.readouterr()
        return Said(code, said.out, said.err)

    return call


@pytest.fixture(autouse=True)
def _keep_threads() -> Iterator[None]:
    before, itk = torch.get_num_threads(), sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    yield
    torch.set_num_threads(before)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(itk)


def steps_of(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "losses.jsonl").read_text().splitlines()]


def test_trains_into_another_folder_and_goes_on(recipe: Recipe, tmp_path: Path, train: Callable[..., Said]) -> None:
    path, folder = recipe(), tmp_path / "elsewhere"
    said = train(path, "--steps", 2, "--output", folder)
    assert said.code == 0 and said.out == "", said.err
    assert "step 2 of 2" in said.err and ") at step 2: 0." in said.err and "done after step 2, best score 0." in said.err
    assert not (tmp_path / "run").exists() and steps_of(folder) == [1, 2]
    again = train(path, "--steps", 3, "-o", folder)
    assert again.code == 2 and "holds a run already; go on with --resume" in again.err and steps_of(folder) == [1, 2]
    on = train(path, "--steps", 3, "-o", folder, "--resume", "-q")
    assert (on.code, on.out, on.err) == (0, "", "") and steps_of(folder) == [1, 2, 3]


def test_dry_run_prints_a_config_that_reads_back_and_makes_nothing(recipe: Recipe, tmp_path: Path, train: Callable[..., Said]) -> None:
    path = recipe()
    said = train(path, "--dry-run", "--steps", 9)
    assert said.code == 0 and not (tmp_path / "run").exists()
    copy = tmp_path / "deeper" / "copy.toml"
    copy.parent.mkdir()
    copy.write_text(said.out)
    assert read_config(copy) == replace(read_config(path), steps=9)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"stepz": 3}, 2, "run.toml: unknown key 'stepz'; did you mean steps?"),
        ({"init": "no.safetensors"}, 4, "no.safetensors: no such weights file"),
        ({"device": "cuda"}, 2, "device cuda: process 1 here finds 0 CUDA devices"),
    ],
)
def test_what_is_wrong_is_one_line(recipe: Recipe, train: Callable[..., Said], change: dict[str, object], code: int, words: str) -> None:
    if "device" in change and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    said = train(recipe(**change))
    assert said.code == code and words in said.err and said.err.count("\n") == 1


def test_missing_files_are_named(recipe: Recipe, organs: Path, tmp_path: Path, train: Callable[..., Said]) -> None:
    path = recipe()
    path.write_text(path.read_text().replace("dataset.json", "datazet.json"))
    said = train(path, "--dry-run")
    assert said.code == 3 and f"no such data set: {organs / 'datazet.json'}" in said.err
    assert "no such file" in train(tmp_path / "none.toml").err


def test_recipe_of_the_shipped_weights_is_complete() -> None:
    config = read_config(RECIPE)
    sets = {Path(source.path).parent.name: source for source in config.sources if source.path}
    assert set(sets) == {"hippocampus_mr", "cardiac_mr", "abdomen_mr", "abdomen_ct", "brain_mr", "brain_labels"}
    # From the folder of the recipe to the data beside the repository.
    data = RECIPE.parents[2] / "shared" / "data"
    assert all(Path(source.path) == data / name / "dataset.json" for name, source in sets.items())
    (made_up,) = (source for source in config.sources if source.phantoms)
    assert set(made_up.phantoms) == set(KINDS)
    assert config.name == "unireg-base" and "CC BY-NC-SA 4.0" in config.licence
    assert RECIPE.parents[1] not in Path(config.output).parents and RECIPE.parents[1] not in Path(config.cache).parents


@pytest.mark.data
def test_dry_run_of_the_recipe_finds_its_data(shared_data: Path, train: Callable[..., Said]) -> None:
    said = train(RECIPE, "--dry-run")
    assert said.code == 0, said.err
    assert len(tomllib.loads(said.out)["sources"]) == 7


@pytest.mark.slow
def test_small_copy_of_the_recipe_runs_from_end_to_end(recipe: Recipe, tmp_path: Path) -> None:
    """The recipe's own losses, optimiser, requests, network and made-up people, in a process of its own; only the data sets are small."""
    shipped = read_config(RECIPE)
    (made_up,) = (source for source in shipped.sources if source.phantoms)
    (real,) = read_config(recipe()).sources
    phantoms: Source = replace(made_up, phantoms=("arm", "head"), phantom_spacing=6.0, voxels=(20_000, 40_000))
    small = replace(
        *(shipped,),
        sources=(replace(real, voxels=(20_000, 40_000)), phantoms),
        steps=6,
        log_every=3,
        cache=str(tmp_path / "cache"),
        output=str(tmp_path / "small"),
    )
    write_config(small, tmp_path / "small.toml")
    command = [sys.executable, "-m", "unireg_cli", "train", str(tmp_path / "small.toml"), "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"WORLD_SIZE": "1"})
    assert done.returncode == 0, done.stderr
    file = read_weights(tmp_path / "small" / "unireg-base.safetensors")
    assert file.config["step"] == 6 and file.config["licence"] == shipped.licence
    assert file.config["trained"]["real"] == ["kidney_left", "liver", "spleen"]
    assert "humerus_left" in file.config["trained"]["synthetic"] or "humerus_right" in file.config["trained"]["synthetic"]
    assert set(file.config["tune"]) == {"organs"}
    sources = {json.loads(line)["source"] for line in (tmp_path / "small" / "losses.jsonl").read_text().splitlines()}
    assert sources == {"organs", "phantom_arm_head"}
