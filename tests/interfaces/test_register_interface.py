"""``Register``: its words reach the command, its outputs are those the command plans, and its hash is that of what matters."""

from __future__ import annotations

import csv
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from unireg_cli.__main__ import main

AFFINE = {"transform": "affine"}


def planned(register: Any, capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What the command says to the words of an interface, without doing it."""
    capfd.readouterr()
    words = shlex.split(register.cmdline)
    assert words[:2] == ["unireg", "register"]
    code = main([*words[1:], "--dry-run", "--json"])
    said = capfd.readouterr()
    assert code == 0, said.err
    runs: list[dict[str, Any]] = json.loads(said.out)["runs"]
    return runs


def listed(register: Any) -> dict[str, Any]:
    outputs: dict[str, Any] = register._list_outputs()
    return outputs


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"output": "p_", "transform_format": "ants", "picture": True},
        {"transform": "rigid", "transform_format": "nii", "inverse_warped": True, "picture": "other name.png", "report": True},
        {"transform": "deformable", "weights": "none", "jacobian": True, "log_jacobian": True},
        {"also": ["mov.nii.gz"], "also_output": ["x y.nii.gz"], "also_labels": "labels.nii.gz", "also_labels_output": "l.nii.gz"},
    ],
)
def test_outputs_are_those_that_the_command_plans(
    interfaces: ModuleType, files: Path, capfd: pytest.CaptureFixture[str], inputs: dict[str, Any]
) -> None:
    register = interfaces.Register(fixed="fix.nii.gz", moving="mov.nii.gz", **(AFFINE | inputs))
    outputs = listed(register)
    (run,) = planned(register, capfd)
    single = {name: path for name, path in outputs.items() if isinstance(path, str)}
    every = [*single.values(), *outputs.get("also_warped", [])]
    assert sorted(every) == sorted(str(Path(path).absolute()) for path in run["outputs"].values())
    # Each under its own name, and a trait for each.
    assert all(single[role] == str(Path(path).absolute()) for role, path in run["outputs"].items() if not role.startswith("also_"))
    assert set(outputs) <= set(interfaces.Register.output_spec().get())
    assert not any(Path(path).exists() for path in every)


def test_chains_are_ready_for_warp_in_every_format(interfaces: ModuleType, files: Path) -> None:
    for kind, forward, inverse, inverted in (
        ("h5", ["Composite.h5"], ["InverseComposite.h5"], [False]),
        ("nii", ["Warp.nii.gz"], ["InverseWarp.nii.gz"], [False]),
        ("ants", ["1Warp.nii.gz", "0GenericAffine.mat"], ["0GenericAffine.mat", "1InverseWarp.nii.gz"], [True, False]),
    ):
        outputs = listed(interfaces.Register(fixed="fix.nii.gz", moving="mov.nii.gz", output="p_", transform_format=kind, **AFFINE))
        assert outputs["forward_transforms"] == [str(files / f"p_{name}") for name in forward]
        assert outputs["inverse_transforms"] == [str(files / f"p_{name}") for name in inverse]
        assert outputs["inverse_transforms_invert"] == inverted


def test_an_answer_to_compare_with_is_listed_beside_the_first(
    interfaces: ModuleType, files: Path, capfd: pytest.CaptureFixture[str], shipped: Path, save_weights: Callable[..., Path]
) -> None:
    weights = save_weights(shipped / "unireg-base.safetensors")
    register = interfaces.Register(fixed="fix.nii.gz", moving="mov.nii.gz", output="p_", anatomy="liver", compare_with="all", picture=True)
    register.inputs.weights = str(weights)
    outputs = listed(register)
    runs = planned(register, capfd)
    assert len(runs) == 2 and outputs["warped"] == [str(files / "p_Warped.nii.gz"), str(files / "p_all_Warped.nii.gz")]
    for number, run in enumerate(runs):
        assert all(outputs[role][number] == str(Path(path).absolute()) for role, path in run["outputs"].items())


def test_what_is_known_reaches_the_command(interfaces: ModuleType, files: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a.csv", "b.csv"):
        (files / name).write_text("x,y,z\n1,2,3\n")
    register = interfaces.Register(fixed="fix.nii.gz", moving="mov.nii.gz", weights="none")
    register.inputs.trait_set(fixed_seg="labels.nii.gz", moving_seg="labels.nii.gz")
    register.inputs.trait_set(fixed_points="a.csv", moving_points="b.csv", space="ras")
    (run,) = planned(register, capfd)
    assert {f"{files}/labels.nii.gz", f"{files}/a.csv", f"{files}/b.csv"} <= set(json.dumps(run["options"]).split('"'))


def test_every_value_reaches_the_command(interfaces: ModuleType, files: Path, capfd: pytest.CaptureFixture[str]) -> None:
    register = interfaces.Register(fixed="fix.nii.gz", moving="mov.nii.gz", output="p q_", transform="deformable", weights="none")
    register.inputs.trait_set(init_transforms=["shift.tfm", "turn.tfm"], init_invert=[True, False], fixed_mask="labels.nii.gz")
    register.inputs.trait_set(fixed_modality="ct", moving_modality="mr", similarity="mind", smoothness=0.25, iterations=7, fast=True)
    register.inputs.trait_set(field_spacing="4", interpolation="nearest", default_value=-1000.0, device="cpu", seed=3)
    register.inputs.trait_set(deterministic=True, max_memory=2.5, fail_on_folding=1.0, header="sform", num_threads=3)
    (run,) = planned(register, capfd)
    options, settings = run["options"], run["options"]["settings"]
    assert [(spec["path"], spec["invert"]) for spec in options["init"]] == [(f"{files}/shift.tfm", True), (f"{files}/turn.tfm", False)]
    assert (options["output"], options["fixed_mask"], options["threads"]) == ("p q_", f"{files}/labels.nii.gz", 3)
    assert (options["default_value"], options["max_memory_gb"], options["fail_on_folding"]) == (-1000.0, 2.5, 1.0)
    assert (options["interpolation"], options["header"], options["smoothness"]) == ("nearest", "sform", 0.25)
    chosen = {name: settings[name] for name in ("fixed_modality", "moving_modality", "similarity", "effort", "iterations", "seed")}
    assert chosen == {"fixed_modality": "ct", "moving_modality": "mr", "similarity": "mind", "effort": "fast", "iterations": 7, "seed": 3}
    assert settings["deterministic"] and settings["field_spacing"] == "4" and settings["device"] == "cpu"


def test_anatomy_and_mode_reach_the_command(interfaces: ModuleType, files: Path) -> None:
    words = shlex.split(interfaces.Register(fixed="fix.nii.gz", moving="mov.nii.gz", anatomy=["liver", "spleen"], mode="intra").cmdline)
    assert [words[i + 1] for i, word in enumerate(words) if word == "--anatomy"] == ["liver", "spleen"]
    assert words[words.index("--mode") + 1] == "intra" and words[words.index("--threads") + 1] == "1"


def test_what_contradicts_itself_is_said_before_it_runs(interfaces: ModuleType, files: Path) -> None:
    register = interfaces.Register(fixed="fix.nii.gz", moving="mov.nii.gz", also=["mov.nii.gz", "fix.nii.gz"], also_output=["a.nii.gz"])
    with pytest.raises(ValueError, match="argument 'also'"):
        _ = register.cmdline
    with pytest.raises(ValueError, match="requires a value for one of the inputs 'pairs'"):
        _ = interfaces.Register().cmdline
    with pytest.raises(Exception, match="weights"):
        interfaces.Register(weights=3)


def hashed(register: Any) -> str:
    value: str = register.inputs.get_hashval(hash_method="content")[1]
    return value


def test_hash_is_that_of_what_changes_the_result(interfaces: ModuleType, files: Path) -> None:
    register = interfaces.Register(fixed="fix.nii.gz", moving="mov.nii.gz", output="p_", log="log.txt")
    register.inputs.trait_set(also="mov.nii.gz", also_output="w.nii.gz")
    before = hashed(register)
    for name in ("p_", "log.txt", "w.nii.gz"):
        (files / name).write_text("what the first run has written")
    register.inputs.trait_set(num_threads=8, max_memory=3.0, quiet=True, overwrite=True)
    assert hashed(register) == before
    (files / "mov.nii.gz").write_bytes((files / "third.nii.gz").read_bytes())
    changed = hashed(register)
    register.inputs.seed = 5
    assert len({before, changed, hashed(register)}) == 3


def write_table(files: Path) -> Path:
    table = files / "pairs.csv"
    with table.open("w", newline="") as stream:
        rows = [(files / "fix.nii.gz", files / f"{name}.nii.gz", f"{name}_") for name in ("mov", "third")]
        csv.writer(stream).writerows([("fixed", "moving", "output"), *rows])
    return table


def test_many_pairs_have_lists_of_outputs_and_the_hash_of_their_images(
    interfaces: ModuleType, files: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    register = interfaces.Register(pairs=write_table(files), transform_format="ants", resume=True, **AFFINE)
    outputs = listed(register)
    assert outputs["warped"] == [str(files / f"{name}_Warped.nii.gz") for name in ("mov", "third")]
    assert outputs["forward_transforms"][1] == [str(files / "third_1Warp.nii.gz"), str(files / "third_0GenericAffine.mat")]
    runs = planned(register, capfd)
    assert [str(Path(run["outputs"]["record"]).absolute()) for run in runs] == outputs["record"]
    before = hashed(register)
    (files / "third.nii.gz").write_bytes((files / "mov.nii.gz").read_bytes())
    assert hashed(register) != before


@pytest.mark.slow
def test_runs_and_finds_what_it_wrote(interfaces: ModuleType, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    register = interfaces.Register(pairs=write_table(files), transform="rigid", init="none", quiet=True)
    outputs = register.run().outputs
    assert outputs.warped == [str(files / f"{name}_Warped.nii.gz") for name in ("mov", "third")]
    assert all(Path(path).is_file() for path in outputs.forward + outputs.record)
    # The same again: outputs exist, which the command calls an error, and so does Nipype.
    with pytest.raises(RuntimeError, match=r"mov_Warped\.nii\.gz exists"):
        register.run()
