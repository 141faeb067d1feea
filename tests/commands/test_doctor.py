"""``unireg doctor``: what it says of a sound machine, and of each fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unireg_cli.commands import checkup, selftest
from unireg_cli.commands.checkup import Check, State
from unireg_cli.commands.resources import Threads

NAMES = ["versions", "device", "threads", "memory", "weights", "bfloat16", "self-test"]


def test_a_sound_machine_is_well(unireg, folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = unireg("doctor", "--json")
    assert done.code == 0 and done.err == ""
    found = json.loads(done.out)
    assert found["well"] is True and found["command"] == "doctor" and [check["name"] for check in found["checks"]] == NAMES
    checks = {check["name"]: check for check in found["checks"]}
    assert {"unireg", "python", "torch", "SimpleITK", "pillow"} <= set(checks["versions"]["facts"]["versions"])
    assert checks["threads"]["facts"]["source"] == "OMP_NUM_THREADS" and checks["threads"]["facts"]["threads"] == 1
    config = json.loads((Path(checks["weights"]["facts"]["path"]).with_suffix(".json")).read_text())
    assert checks["weights"]["facts"]["sha256"] == config["sha256"]
    truth = checks["self-test"]["facts"]
    assert truth["error_before_mm"] > 10 and truth["error_after_mm"] < 6 and truth["folding_percent"] == 0
    assert list(folder.iterdir()) == []


@pytest.fixture
def _quick(monkeypatch):
    """Without the small registration."""
    monkeypatch.setattr(selftest, "self_test", lambda *_: Check("self-test", State.OK, "left out"))


@pytest.mark.usefixtures("_quick")
def test_words_for_people_and_damaged_weights(unireg, save_weights, folder):
    path = save_weights(folder / "own.safetensors")
    good = unireg("doctor", "--weights", "own.safetensors")
    assert good.code == 0 and good.out.splitlines()[-1] == "all is well"
    assert [line.split()[1] for line in good.out.splitlines()[:-1]] == NAMES
    assert "verified" in good.out and "own, step 12" in good.out
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    bad = unireg("doctor", "--weights", "own.safetensors")
    assert bad.code == 1 and "found 1 problem: weights" in bad.err and "all is well" not in bad.out
    line = next(line for line in bad.out.splitlines() if " weights " in line)
    assert line.startswith("problem") and "SHA-256" in line
    assert json.loads(unireg("doctor", "--weights", "own.safetensors", "--json").out)["well"] is False
    assert unireg("doctor", "--weights", "nope.safetensors").code == 1


@pytest.mark.usefixtures("_quick", "shipped")
def test_no_weights_are_a_problem_unless_asked_for(unireg):
    assert unireg("doctor").code == 1
    none = unireg("doctor", "--weights", "none")
    assert none.code == 0 and "refine only" in none.out


@pytest.mark.usefixtures("_quick")
def test_a_device_that_is_not_there(unireg):
    done = unireg("doctor", "--device", "cuda:99")
    assert done.code == 1 and "device" in done.err and "cuda:99" in done.out


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(checkup._PACKAGES, "torch", "no_such_module_here")
    found = checkup.check_versions()
    assert found.state is State.PROBLEM and "torch (No module named 'no_such_module_here')" in found.text


@pytest.mark.parametrize(("count", "usable", "state", "word"), [(4, 4, "ok", ""), (8, 4, "note", "slow"), (1, 4, "note", "idle")])
def test_threads_against_cores(monkeypatch, count, usable, state, word):
    monkeypatch.setattr(checkup, "usable_cores", lambda: usable)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    found = checkup.check_threads(Threads(count, "--threads"))
    assert found.state == state and word in found.text
    assert found.facts["variables"]["SLURM_CPUS_PER_TASK"] == "3" and found.facts["usable_cores"] == usable


@pytest.mark.parametrize(("free", "state"), [(64e9, "ok"), (3e9, "note"), (0.6e9, "problem"), (None, "note")])
def test_memory(monkeypatch, free, state):
    monkeypatch.setattr("unireg_cli.registration.memory.available_bytes", lambda: free)
    assert checkup.check_memory().state == state


@pytest.mark.parametrize("pays", [True, False])
def test_bfloat16(monkeypatch, pays):
    monkeypatch.setattr("unireg_cli.model.rounding.gains_from_bfloat16", lambda _device: pays)
    found = checkup.check_bfloat16("cpu")
    assert found.facts == {"pays": pays} and ("does not pay" in found.text) is not pays


MEASURED: dict[str, Any] = {
    "error_before_mm": 17.0,
    "error_after_mm": 3.0,
    "similarity_before": 0.4,
    "similarity_after": 0.8,
    "folding_percent": 0.0,
    "inverse_p99_voxels": 0.1,
    "file_error_mm": 1e-6,
}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, None),
        ({"error_after_mm": 7.0}, "true error"),
        ({"error_after_mm": float("nan")}, "true error"),
        ({"similarity_after": 0.55}, "rose by 0.150"),
        ({"folding_percent": 0.01}, "folded"),
        ({"inverse_p99_voxels": 0.6}, "inverse"),
        ({"file_error_mm": 0.01}, "file"),
    ],
)
def test_each_number_of_the_self_test_is_held_to_its_limit(change, word):
    faults = selftest._faults(MEASURED | change)
    assert faults == [] if word is None else len(faults) == 1 and word in faults[0]


@pytest.mark.usefixtures("_quick")
def test_an_unforeseen_fault_does_not_hide_the_other_findings(unireg, monkeypatch):
    def fail() -> Check:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(checkup, "check_memory", fail)
    done = unireg("doctor")
    assert done.code == 1 and "ZeroDivisionError: odd" in done.out and len(done.out.splitlines()) == len(NAMES)
