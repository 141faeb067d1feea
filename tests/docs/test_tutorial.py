"""The tutorial as a user walks it: every command, in order, in an empty folder."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from markdown_pages import DOCS, ROOT, Command, blocks, commands, inline_code, prose

from unireg_cli.__main__ import main
from unireg_cli.evaluation.tables import PAIR_COLUMNS
from unireg_cli.io.tables import read_table
from unireg_cli.report.gather import gather

pytestmark = pytest.mark.slow

PAGE = (DOCS / "tutorial.md").read_text("utf-8")


@dataclass(frozen=True)
class Ran:
    """A command of the page, how it ended, and what it said on both streams."""

    command: Command
    code: int
    said: str


@dataclass(frozen=True)
class Walk:
    """All commands, and the folder that they left."""

    folder: Path
    ran: list[Ran]

    def said(self, part: str) -> str:
        """What the one command said that has this in it."""
        (found,) = [one for one in self.ran if part in one.command.text]
        return found.said


def run(command: Command) -> Ran:
    """``unireg`` and Python scripts in this process, all else in a shell."""
    words = shlex.split(command.text) if "\n" not in command.text else []
    if words[:1] not in (["unireg"], ["python"]):
        search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        shell = ["bash", "-euo", "pipefail", "-c", command.text]
        done = subprocess.run(shell, env={**os.environ, "PATH": search}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return Ran(command, done.returncode, done.stdout)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        if words[0] == "unireg":
            code = main(words[1:])
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", words[1:])
                runpy.run_path(words[1], run_name="__main__")
            code = 0
    return Ran(command, code, said.getvalue())


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """Stops at the first command that ends otherwise than the page says."""
    folder = tmp_path_factory.mktemp("tutorial")
    # "Where examples/ of the repository is": of the repository, nothing else is there.
    (folder / "examples").symlink_to(ROOT / "examples")
    threads, itk = torch.get_num_threads(), sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    ran: list[Ran] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("UNIREG_WEIGHTS", raising=False)
        for _, block in blocks(PAGE):
            for command in commands(block):
                ran.append(run(command))
                assert ran[-1].code == command.code, f"{command.text}\n{ran[-1].said}"
        yield Walk(folder, ran)
    torch.set_num_threads(threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(itk)


def test_nothing_on_the_page_is_left_out(walk):
    """Every block is shell, so that the walk above runs it, and no command hides outside of the blocks."""
    assert {kind for kind, _ in blocks(PAGE)} == {"sh"}
    assert PAGE.count("```") == 2 * len(blocks(PAGE)) and not re.search(r"^(    |\t|~~~)", prose(PAGE), re.MULTILINE)
    lines = [line for _, block in blocks(PAGE) for line in block.splitlines()]
    assert sum(line.lstrip().startswith("unireg ") for line in lines) == sum("unireg " in one.command.text for one in walk.ran)
    assert [one.command.code for one in walk.ran].count(3) == 2


def test_every_file_that_the_page_names_is_there(walk):
    named = {code for code in inline_code(PAGE) if re.fullmatch(r"(?:demo|out|results|cohort)/[\w./-]+", code)}
    assert len(named) >= 8
    assert [name for name in sorted(named) if not (walk.folder / name).is_file()] == []
    assert not list(walk.folder.glob("out/never_*")) and not list(walk.folder.glob("out/other_*"))


def test_labels_and_points_come_along(walk):
    names = ("demo/moving_labels.nii.gz", "demo/fixed_labels.nii.gz", "out/labels_in_fixed.nii.gz")
    moving, fixed, warped = (sitk.GetArrayFromImage(sitk.ReadImage(walk.folder / name)) for name in names)
    assert warped.shape == fixed.shape != moving.shape and set(np.unique(warped)) <= set(np.unique(moving))
    assert (warped == fixed).mean() > 0.8
    scores = read_table(walk.folder / "out/score_pairs.csv", PAIR_COLUMNS)[0]
    assert float(scores["dice"]) > float(scores["dice_before"]) + 0.2 and float(scores["tre"]) < 0.3 * float(scores["tre_before"])
    landmarks = [np.genfromtxt(walk.folder / name, delimiter=",", skip_header=1, usecols=(0, 1, 2))
                 for name in ("demo/fixed_landmarks.csv", "demo/moving_landmarks.csv", "out/landmarks_in_fixed.csv")]  # fmt: skip
    before, after = (np.linalg.norm(points - landmarks[0], axis=1).mean() for points in landmarks[1:])
    assert after < 0.3 * before
    # The evaluation carries them the other way, so the same within the stretch of the tissue.
    assert after == pytest.approx(float(scores["tre"]), rel=0.5)


def test_the_table_of_pairs_goes_on_where_it_failed(walk):
    assert "p33" in walk.said("--pairs pairs.csv") and "2 done, 0 skipped, 1 failed" in walk.said("--pairs pairs.csv")
    assert "1 done, 2 skipped, 0 failed" in walk.said("--pairs mended.csv")
    for person in ("p1", "p2", "p3"):
        labels, template = (sitk.ReadImage(walk.folder / name) for name in (f"results/{person}_labels.nii.gz", "cohort/template.nii.gz"))
        assert labels.GetSize() == template.GetSize() and labels.GetOrigin() == template.GetOrigin()


def test_the_bad_one_stands_first(walk):
    first, *others = gather(walk.folder / "results").runs
    assert first.record.name == "bad_.json" and "affine part" in first.reasons[0]
    assert first.suspicion > 1 > max(one.suspicion for one in others)
    assert (walk.folder / "results" / "index.html").is_file()


def test_landmarks_steered(walk):
    plain, steered = (json.loads((walk.folder / "out" / name).read_text()) for name in ("moving_to_fixed.json", "steered_.json"))
    assert not plain["steering"]["landmarks"] and steered["steering"]["landmarks"]
    assert walk.said("unireg doctor").endswith("all is well\n")


def test_the_page_about_python(walk, monkeypatch, capsys):
    """Its blocks too run as they stand, in order, on the tutorial's images."""
    folder = walk.folder / "python"
    folder.mkdir()
    for name in ("fixed.nii.gz", "moving.nii.gz", "moving_labels.nii.gz"):
        (folder / name).symlink_to(walk.folder / "demo" / name)
    monkeypatch.chdir(folder)
    parts = blocks((DOCS / "python.md").read_text("utf-8"))
    names: dict[str, Any] = {}
    for kind, block in parts:
        assert kind == "python"
        exec(compile(block, "python.md", "exec"), names)
    assert len(parts) == 2 and capsys.readouterr().out
    ours, theirs = (sitk.GetArrayFromImage(sitk.ReadImage(name)) for name in ("moving_in_fixed.nii.gz", "moving_in_fixed_by_itk.nii.gz"))
    # ITK cuts decimals where we round, and fills with 0 where we fill with air.
    assert np.median(np.abs(ours.astype(int) - theirs)) <= 1 and (ours == theirs).mean() > 0.3
    assert names["labels"].voxels.shape == ours.shape and Path("case1_Composite.h5").is_file()
