"""``unireg register`` under a condition: anatomy, type, smoothness and weights, from the words to the record."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import unireg_cli
from unireg_cli import loading
from unireg_cli.errors import UsageError, WeightsError
from unireg_cli.spatial import Grid

GRID = Grid.from_arrays((22, 20, 18), (1.5, 1.5, 1.5), (-16.0, -15.0, -13.0), np.eye(3))
PAIR = ("fix.nii.gz", "mov.nii.gz", "-o", "p_", "--threads", "1", "--fast")


@pytest.fixture(autouse=True)
def _images(save, blobs, shipped):
    save("fix.nii.gz", blobs(GRID), GRID)
    save("mov.nii.gz", blobs(GRID, (1.5, -1.0, 0.5)), GRID)


@pytest.fixture
def tiny(save_weights) -> Path:
    return save_weights(Path("tiny.safetensors"))


def table(*rows: tuple[str, ...], header: tuple[str, ...] = ("fixed", "moving", "output")) -> None:
    with Path("pairs.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def plan(unireg, *words: str) -> dict:
    done = unireg("register", *PAIR, *words, "--dry-run", "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)["runs"][0]


def test_unknown_anatomy_is_said_before_any_file_or_heavy_package(unireg, folder):
    """The images and the weights are missing, too: that would have been found later."""
    words = ["register", "no.nii", "neither.nii", "--anatomy", "liver,spleeen", "--weights", "no.safetensors"]
    done = unireg(*words)
    assert done.code == 2 and "unknown name 'spleeen'; did you mean spleen" in done.err and done.err.count("\n") == 1
    assert "unknown name 'spleeen'" in unireg("register", "--pairs", "no.csv", "--anatomy", "spleeen").err
    for call in (words, ["register", "--pairs", "no.csv", "--anatomy", "spleeen"]):
        code = f"import sys; from unireg_cli.__main__ import main; print(main({call!r}), *sys.modules)"
        code, *loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        assert code == "2" and {"torch", "SimpleITK", "nibabel", "scipy", "safetensors"}.isdisjoint(loaded)


def test_words_are_resolved_in_the_plan(unireg, tiny):
    words = ("--anatomy", "HEPAR,left kidney", "--anatomy", "abdomen", "--mode", "intra", "--weights", "tiny.safetensors")
    found = plan(unireg, *words)
    assert found["condition"] == {"anatomy": ["liver", "kidney_left", "abdomen"], "mode": "intra", "smoothness": 0.25}
    assert found["weights"] == {"name": "tiny", "sha256": json.loads(tiny.with_suffix(".json").read_text())["sha256"], "step": 12}
    assert found["options"]["weights"] == "tiny.safetensors" and found["options"]["settings"]["smoothness"] == 0.25
    text = unireg("register", *PAIR, *words, "--dry-run").out
    assert "weights: tiny (SHA-256 " in text and "mode: intra" in text and "anatomy: ['liver', 'kidney_left', 'abdomen']" in text


def test_smoothness_may_be_one_for_each_type(unireg, save_weights):
    save_weights(Path("two.safetensors"), smoothness={"inter": 0.25, "intra": 0.75})
    found = [plan(unireg, "--weights", "two.safetensors", "--mode", mode)["condition"] for mode in ("inter", "intra")]
    assert [condition["smoothness"] for condition in found] == [0.25, 0.75]


def test_smoothness_is_the_weights_own_unless_asked_for(unireg, tiny):
    assert plan(unireg)["condition"] == {"anatomy": ["all"], "mode": "inter", "smoothness": 0.5}
    assert plan(unireg, "--weights", "tiny.safetensors")["condition"]["smoothness"] == 0.25
    assert plan(unireg, "--weights", "tiny.safetensors", "--smoothness", "0.5")["condition"]["smoothness"] == 0.5
    assert plan(unireg, "--weights", "tiny.safetensors", "--smoothness", "0")["condition"]["smoothness"] == 0


def test_the_variable_and_the_shipped_weights_are_found(unireg, tiny, shipped, save_weights, monkeypatch):
    assert plan(unireg)["weights"] is None
    save_weights(shipped / "unireg-base.safetensors", seed=1)
    save_weights(shipped / "other.safetensors", seed=2)
    assert plan(unireg)["weights"]["name"] == "unireg-base"
    assert plan(unireg, "--weights", "other")["weights"]["name"] == "other"
    monkeypatch.setenv("UNIREG_WEIGHTS", str(tiny))
    assert plan(unireg)["weights"]["name"] == "tiny"
    assert plan(unireg, "--weights", "none")["weights"] is None
    assert plan(unireg, "--weights", "none")["condition"]["smoothness"] == 0.5


def test_the_record_says_what_was_asked_for_and_of_which_weights(unireg, tiny):
    done = unireg("register", *PAIR, "--weights", "tiny.safetensors", "--anatomy", "Spleen", "--mode", "intra", "--json", "-q")
    assert done.code == 0 and done.err == "", done.err
    record = json.loads(done.out)
    assert record == json.loads(Path("p_.json").read_text())
    assert record["condition"] == {"anatomy": ["spleen"], "mode": "intra", "smoothness": 0.25}
    assert record["weights"] == {"name": "tiny", "sha256": json.loads(tiny.with_suffix(".json").read_text())["sha256"], "step": 12}
    assert record["options"]["settings"]["anatomy"] == ["spleen"] and record["options"]["settings"]["mode"] == "intra"
    assert not [text for text in record["warnings"] if "trained" in text]


def test_an_untrained_structure_warns(unireg, tiny):
    words = ("--weights", "tiny.safetensors", "--anatomy", "pancreas,hippocampi", "--anatomy", "liver,abdomen")
    done = unireg("register", *PAIR, *words, "--json")
    assert done.code == 0, done.err
    said = [text for text in json.loads(done.out)["warnings"] if "not trained on" in text]
    assert len(said) == 2 and all(f"unireg: warning: {text}" in done.err for text in said)
    assert said[0].startswith("--anatomy pancreas: the weights tiny were not trained on it")
    assert said[1].startswith("--anatomy hippocampus: the weights tiny were not trained on hippocampus_right, ")
    assert "hippocampus_left" not in said[1]


def test_without_any_weights_nobody_follows_a_condition_which_is_said(unireg):
    done = unireg("register", *PAIR, "--anatomy", "liver", "--mode", "intra", "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["weights"] is None
    assert [text for text in record["warnings"] if "no network weights to follow --anatomy and --mode;" in text]


def test_an_affine_run_reads_no_weights(unireg, monkeypatch):
    monkeypatch.setenv("UNIREG_WEIGHTS", "no.safetensors")
    words = ("fix.nii.gz", "mov.nii.gz", "-o", "p_", "--threads", "1", "--transform", "rigid", "--init", "none")
    done = unireg("register", *words, "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["weights"] is None and record["condition"] is None
    assert unireg("register", *words[:-4], "--overwrite").code == 4


BROKEN = {
    "missing": (lambda path: path.unlink(), "tiny.safetensors: no such file"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "tiny.safetensors: truncated"),
    "foreign": (lambda path: path.write_bytes(b"PK\3\4" * 99), "tiny.safetensors: not a safetensors file"),
    "changed tensor": (lambda path: _flip(path), "tiny.safetensors: its SHA-256 is"),
    "no JSON": (lambda path: path.with_suffix(".json").unlink(), "tiny.json"),
    "damaged JSON": (lambda path: path.with_suffix(".json").write_text("{"), "tiny.json: damaged"),
    "unknown structure": (lambda path: _retrain(path, "warp_core"), "tiny.json: trained on structures that this unireg does not"),
    "another network": (lambda path: _edit(path, network={"width": 4}), "tiny.safetensors: network settings"),
}


def _flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def _edit(path: Path, **changes: object) -> None:
    text = path.with_suffix(".json")
    text.write_text(json.dumps(json.loads(text.read_text()) | changes))


def _retrain(path: Path, name: str) -> None:
    _edit(path, trained={"real": [name], "synthetic": []})


@pytest.mark.parametrize("case", BROKEN)
def test_unusable_weights_are_one_line_and_code_4(unireg, folder, tiny, case):
    spoil, reason = BROKEN[case]
    spoil(tiny)
    before = {path.name for path in folder.iterdir()}
    done = unireg("register", *PAIR, "--weights", "tiny.safetensors")
    assert done.code == 4 and done.out == "" and reason in done.err
    assert done.err.startswith("unireg: error: ") and done.err.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == before


def test_many_pairs_read_the_weights_once(unireg, tiny, monkeypatch):
    read, honest = [], loading.read_weights
    monkeypatch.setattr(loading, "read_weights", lambda path: read.append(path) or honest(path))
    table(
        ("fix.nii.gz", "mov.nii.gz", "a_", "liver,spleen", "intra", ""), ("fix.nii.gz", "mov.nii.gz", "b_", "", "", "0.75"),
        ("fix.nii.gz", "mov.nii.gz", "c_", "livr", "", ""),
        header=("fixed", "moving", "output", "anatomy", "mode", "smoothness"),
    )  # fmt: skip
    done = unireg("register", "--pairs", "pairs.csv", "--weights", "tiny.safetensors", "--fast", "--threads", "1", "--anatomy", "liver")
    assert done.code == 2 and "line 4: --anatomy: unknown name 'livr'" in done.err and "2 done, 0 skipped, 1 failed" in done.err
    assert read == [Path("tiny.safetensors")]
    first, second = (json.loads(Path(f"{name}_.json").read_text()) for name in "ab")
    assert first["condition"] == {"anatomy": ["liver", "spleen"], "mode": "intra", "smoothness": 0.25}
    assert second["condition"] == {"anatomy": ["liver"], "mode": "inter", "smoothness": 0.75}
    assert first["weights"] == second["weights"] and first["weights"]["name"] == "tiny"


def test_resume_goes_on_with_the_same_weights_only(unireg, tiny, save_weights):
    table(("fix.nii.gz", "mov.nii.gz", "a_"))
    words = ("register", "--pairs", "pairs.csv", "--fast", "--threads", "1", "--weights", "tiny.safetensors")
    assert unireg(*words).code == 0
    assert json.loads(unireg(*words, "--resume", "--json").out)["skipped"] == 1
    # The same by another road: what counts is the hash, and the smoothness that came of it.
    assert json.loads(unireg(*words[:-1], "./tiny.safetensors", "--smoothness", "0.25", "--resume", "--json").out)["skipped"] == 1
    save_weights(tiny, seed=3)
    done = unireg(*words, "--resume")
    assert done.code == 2 and "finished with another network" in done.err
    assert json.loads(unireg(*words, "--resume", "--overwrite", "--json").out)["done"] == 1


def test_python_takes_the_same_arguments(tiny):
    result = unireg_cli.register(
        "fix.nii.gz", "mov.nii.gz", anatomy="Liver,spleen", mode="intra", weights=tiny, fast=True, threads=1
    )  # fmt: skip
    record = result.record()
    assert record["condition"] == {"anatomy": ["liver", "spleen"], "mode": "intra", "smoothness": 0.25}
    assert record["weights"]["name"] == "tiny" and record["options"]["weights"] == "tiny.safetensors"
    result.write("q_")
    assert json.loads(Path("q_.json").read_text())["weights"] == record["weights"]
    with pytest.raises(UsageError, match="did you mean liver"):
        unireg_cli.register("fix.nii.gz", "mov.nii.gz", anatomy=["livr"])
    with pytest.raises(WeightsError, match="no such file"):
        unireg_cli.register("fix.nii.gz", "mov.nii.gz", weights="no.safetensors")
