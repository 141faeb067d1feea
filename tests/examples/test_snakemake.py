"""The Snakemake example by the real Snakemake on a cohort of phantoms: killed, resumed, finished, and its plans by hand."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pipelines import EXAMPLES, environment, make_phantoms, run

WORKFLOW = EXAMPLES / "snakemake"
CONFIG = ("register=--transform affine", "threads=1", "atlases=[p1,p2,p3]", "fusion=majority")
PROGRAM = ("-m", "snakemake", "--snakefile", WORKFLOW / "Snakefile")

needs_snakemake = pytest.mark.skipif(find_spec("snakemake") is None, reason="needs Snakemake (pip install 'unireg[snakemake]')")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import one of the workflow's scripts; their names are common words, so that they are forgotten afterwards."""
    monkeypatch.syspath_prepend(WORKFLOW)
    before = set(sys.modules)

    def load(name: str) -> ModuleType:
        return __import__(name)

    yield load
    for name in {"cohort", "fuse", "gather", "stale"} & set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four phantoms and a blank in its name, where Snakemake runs."""
    folder = tmp_path_factory.mktemp("a study")
    make_phantoms(folder / "phantoms", 4)
    return folder


def snakemake(study: Path, *words: object, profile: str = "local") -> str:
    return run(sys.executable, *PROGRAM, "--profile", WORKFLOW / "profiles" / profile, *words, folder=study)


def records(study: Path, stage: str) -> dict[str, int]:
    """Time of each finished pair."""
    return {path.name: path.stat().st_mtime_ns for path in (study / "results" / stage).glob("*_.json")}


def kill_midway(study: Path) -> dict[str, int]:
    """Start all pairs in one chunk and pull the plug after the second; returns what was finished."""
    words = [sys.executable, *PROGRAM, "--cores", "1", "--config", *CONFIG, "stages=[pairs]"]
    process = subprocess.Popen(
        list(map(str, words)), cwd=study, env=environment(), start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    end = time.monotonic() + 200
    while len(records(study, "pairs")) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    said = process.communicate(timeout=60)[0].decode()
    done = records(study, "pairs")
    assert 2 <= len(done) < 6, said
    return done


@needs_snakemake
@pytest.mark.slow
def test_killed_midway_it_goes_on_with_the_unfinished_pairs_and_comes_to_the_end(study: Path) -> None:
    before = kill_midway(study)
    run(sys.executable, *PROGRAM, "--unlock", folder=study)
    said = snakemake(study, "--cores", "2", "--config", *CONFIG)
    assert said.count("rule register_chunk:") == 3
    summary = json.loads((study / "results/pairs/chunks/0.json").read_text())
    assert (summary["skipped"], summary["done"], summary["failed"]) == (len(before), 6 - len(before), 0)
    after = records(study, "pairs")
    assert len(after) == 6 and {name: after[name] for name in before} == before
    assert len(records(study, "template")) == 4 and len(records(study, "fusion")) == 3
    with (study / "results/pairs/summary.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6 and all(float(row["similarity_after"]) > float(row["similarity_before"]) for row in rows)
    assert fused_overlap(study) > 0.6
    assert "Nothing to be done" in snakemake(study, "--cores", "2", "--config", *CONFIG)


def fused_overlap(study: Path) -> float:
    """Mean Dice of the large organs of the fourth person, who is no atlas."""
    fused, truth = (sitk.ReadImage(str(study / name)) for name in ("results/fusion/p4_fused.nii.gz", "phantoms/p4_labels.nii.gz"))
    assert fused.GetSize() == truth.GetSize() and fused.GetOrigin() == pytest.approx(truth.GetOrigin(), abs=1e-3)
    ours, theirs = sitk.GetArrayViewFromImage(fused), sitk.GetArrayViewFromImage(truth)
    large = [label for label, count in zip(*np.unique(theirs, return_counts=True), strict=True) if label and count > 200]
    dice = [2 * ((ours == label) & (theirs == label)).sum() / ((ours == label).sum() + (theirs == label).sum()) for label in large]
    assert len(large) > 5
    return float(np.mean(dice))


@needs_snakemake
@pytest.mark.slow
def test_profile_for_slurm_is_planned_with_its_executor(study: Path) -> None:
    said = snakemake(study, "--dry-run", "--config", *CONFIG, "chunk=2", "output=elsewhere", profile="slurm")
    # 4 to the template, 6 pairs, 3 atlases to one target, in twos.
    assert "register_chunk        7" in said and "slurm_partition=my_partition" in said


@needs_snakemake
@pytest.mark.slow
def test_profile_for_kubernetes_is_planned_on_its_volume_and_says_what_it_lacks(study: Path) -> None:
    words = ("--dry-run", "--default-storage-prefix", study, "--config", *CONFIG, "output=elsewhere")
    said = snakemake(study, *words, f"volume={study}", profile="kubernetes")
    assert "register_chunk        3" in said
    assert f"-t '{study}/elsewhere/template/p1_to_template_Composite.h5'" in said
    program = (sys.executable, *PROGRAM, "--profile", WORKFLOW / "profiles" / "kubernetes")
    assert "set volume in the config" in run(*program, *words, folder=study, code=1)


PEOPLE = "a,a.nii,al.nii\nb,b.nii,bl.nii\nc,c.nii,\n"


def plan(script: Callable[[str], ModuleType], folder: Path, rows: str = PEOPLE, **changes: Any) -> Any:
    (folder / "people.csv").write_text("subject,image,labels\n" + rows)
    config = {"participants": folder / "people.csv", "template": "t.nii", "output": "out", "stages": ["template", "pairs", "fusion"]}
    config |= {"chunk": 2, "both_directions": False, "atlases": [], "targets": []} | changes
    return script("cohort").make_plan(config)


def test_chunks_cover_each_pair_once(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    made = plan(script, tmp_path)
    names = {stage: [[(p.fixed.name, p.moving.name) for p in chunk] for chunk in chunks] for stage, chunks in made.chunks.items()}
    assert names["template"] == [[("template", "a"), ("template", "b")], [("template", "c")]]
    assert names["pairs"] == [[("a", "b"), ("a", "c")], [("b", "c")]]
    # Who has labels is an atlas, who has none gets them.
    assert names["fusion"] == [[("c", "a"), ("c", "b")]] and made.targets == ["c"]
    assert made.places["pairs", "b", "c"] == 1
    assert made.images("template", 1) == [str(tmp_path / "c.nii"), "t.nii"]
    row = f"/data/t.nii,/data/{tmp_path}/c.nii,/data/out/template/c_to_template_"
    assert made.table("template", 1, "/data/") == f"fixed,moving,output\n{row}\n"
    assert [pair.moving.name for pair in made.labelled("template")] == ["a", "b"]
    both = plan(script, tmp_path, both_directions=True, stages=["pairs"], chunk=100)
    assert len(both.chunks["pairs"]) == 1 and len(both.chunks["pairs"][0]) == 6


def test_a_table_that_no_shell_takes_is_refused_by_its_size(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    people = "".join(f"s{number},{'d' * 200}/{number}.nii,\n" for number in range(600))
    made = plan(script, tmp_path, people, stages=["template"], chunk=600)
    with pytest.raises(ValueError, match=r"chunk 0 of template: its table has 1\d{5} bytes of at most 100000; make chunk smaller"):
        made.table("template", 0)


def test_where_everybody_is_an_atlas_each_gets_labels_from_the_others(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    made = plan(script, tmp_path, "a,a.nii,al.nii\nb,b.nii,bl.nii\n", stages=["fusion"])
    assert made.targets == ["a", "b"]
    assert [(p.fixed.name, p.moving.name) for p in made.chunks["fusion"][0]] == [("a", "b"), ("b", "a")]


@pytest.mark.parametrize(
    ("rows", "changes", "words"),
    [
        ("a,a.nii,\na,b.nii,\n", {}, "name of its own"),
        ("template,a.nii,\n", {}, "none may be called template"),
        ("a b,a.nii,\n", {}, "found 'a b'"),
        ("a,a.nii,\n", {"atlases": ["z"]}, "names z, which"),
    ],
)
def test_tables_that_cannot_be_planned(
    script: Callable[[str], ModuleType], tmp_path: Path, rows: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        plan(script, tmp_path, rows, **changes)


def test_pairs_older_than_an_image_are_forgotten(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    for name, date in (("fix", 100), ("old", 200), ("new", 400), ("a_.json", 300), ("b_.json", 300)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (date, date))
    rows = [("fix", "old", "a_"), ("fix", "new", "b_"), ("fix", "new", "c_")]
    table = tmp_path / "pairs.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([("fixed", "moving", "output"), *([str(tmp_path / cell) for cell in row] for row in rows)])
    assert script("stale").forget(table) == [tmp_path / "b_.json"]
    assert (tmp_path / "a_.json").exists() and not (tmp_path / "b_.json").exists()


def test_fusion_by_hand(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    """Two of three agree in the first voxels; in the fourth all differ."""
    votes = np.array([[1, 1, 0, 3] * 3, [1, 2, 0, 4] * 3, [2, 2, 0, 5] * 3], np.uint8)
    for number, row in enumerate(votes):
        sitk.WriteImage(sitk.GetImageFromArray(row.reshape(3, 2, 2)), str(tmp_path / f"{number}.nii.gz"))
    paths = [str(tmp_path / f"{number}.nii.gz") for number in range(3)]
    fuse = script("fuse").fuse
    majority = sitk.GetArrayFromImage(fuse("majority", paths)).ravel()[:4]
    assert majority.tolist() == [1, 2, 0, 0]
    # An atlas that is right everywhere else is believed against two that are not.
    reliable = np.array([[1] * 30 + [2] * 30 + [0] * 30, [1] * 30 + [2] * 30 + [0] * 30, [2] * 45 + [0] * 45], np.uint16)
    for path, row in zip(paths, reliable, strict=True):
        sitk.WriteImage(sitk.GetImageFromArray(row.reshape(10, 3, 3)), path)
    assert sitk.GetArrayFromImage(fuse("staple", paths)).ravel().tolist() == reliable[0].tolist()
    with pytest.raises(ValueError, match="majority or staple"):
        fuse("guess", paths)
