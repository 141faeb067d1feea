"""Measuring end to end on a tiny data set with an untrained network: rows are made once, and synthetic visits are what they say."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import anatomy
import bench
import iterations
import iterations_tried
import motions
import numpy as np
import parity
import pytest
import SimpleITK as sitk
import smoothness
import study
import synthetic
import tables
import torch

from unireg_cli.errors import InputError, WeightsError
from unireg_cli.evaluation.overlap import dice_per_label
from unireg_cli.io.weights import write_weights
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.network import Network, settings_as_json
from unireg_cli.model.settings import NetworkSettings
from unireg_cli.spatial import Affine, Chain, DisplacementField, Image
from unireg_cli.spatial.resample import resample
from unireg_cli.types import Interpolation, Mode


def _scan(person: int) -> tuple[np.ndarray, np.ndarray]:
    """A head and a tail that touch, placed a little otherwise in each person."""
    random = np.random.default_rng(person)
    z, y, x = np.meshgrid(np.arange(18.0), np.arange(22.0), np.arange(20.0), indexing="ij")
    cx, cy, cz = np.array([10, 11, 9]) + random.uniform(-1, 1, 3)
    inside = ((x - cx) / 5) ** 2 + ((y - cy) / 8) ** 2 + ((z - cz) / 5) ** 2 < 1
    labels = np.where(inside, np.where(y < cy, 1, 2), 0).astype(np.uint8)
    image = 100 + 40 * labels + 10 * np.sin(x / 2) * np.cos(y / 3) + random.normal(0, 2, x.shape)
    return image.astype(np.float32), labels


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one data set: hippocampus_mr, five persons, two validation pairs."""
    folder = tmp_path_factory.mktemp("data")
    own = folder / "hippocampus_mr"
    for part in ("images", "labels"):
        (own / part).mkdir(parents=True)
    for person in range(5):
        for part, voxels in zip(("images", "labels"), _scan(person), strict=True):
            sitk.WriteImage(sitk.GetImageFromArray(voxels), str(own / part / f"p{person}.nii.gz"))
    content = {
        "name": "hippocampus_mr",
        "mode": "inter",
        "modality": {"0": "MR"},
        "training": [{"image": f"./images/p{k}.nii.gz", "label": f"./labels/p{k}.nii.gz"} for k in range(5)],
        "labels": {"0": {"0": "background", "1": "hippocampus_anterior", "2": "hippocampus_posterior"}},
        "registration_val": [{"fixed": f"./images/p{k}.nii.gz", "moving": f"./images/p{k + 1}.nii.gz"} for k in range(2)],
    }
    (own / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def common(tiny: Path, tmp_path: Path) -> list[str]:
    """Arguments of a measurement with a small network that has learned nothing."""
    sizes: dict[str, Any] = {"encoder": (8, 8), "match": (4, 4), "decoder": (8, 8), "reach": (1.0, 2.0), "neighbours": (7, 7)}
    settings = NetworkSettings(vocabulary().size, **sizes, condition=8, embedding=4, hidden=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tensors = Network(settings).state_dict()
    weights = tmp_path / "own.safetensors"
    facts = {"name": "own", "network": settings_as_json(settings), "trained": {"real": ["liver"], "synthetic": []}, "smoothness": 0.5}
    write_weights(weights, tensors, facts | {"step": 0, "licence": "none"})
    places = ["--data", str(tiny), "--cache", str(tiny / "cache"), "--sets", "hippocampus_mr"]
    return ["--measure", "--threads", "1", "--weights", str(weights), *places]


def test_rows_are_made_once(common: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.csv"
    words = [*common, "--results", str(path)]
    assert smoothness.main([*words, "--limit", "1"]) == 0
    first = path.read_text()
    assert first.count("\n") == 1 + 9
    assert smoothness.main(words) == 0
    # The rows that were there are the same bytes; the other pair was added.
    assert path.read_text().startswith(first) and len(tables.read_rows(path)) == 18
    assert path.with_suffix(".png").exists()
    capsys.readouterr()
    assert smoothness.main(words[1:]) == 0
    assert "Claim 5" in (said := capsys.readouterr().out) and "hippocampus_mr 2 of 20" in said


def test_anatomy_asks_for_all_and_for_each(common: list[str], tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    assert anatomy.main([*common, "--results", str(path), "--limit", "1"]) == 0
    rows = tables.read_rows(path)
    asked = {(row["asked"], row["structure"]) for row in rows}
    names = ("hippocampus_anterior", "hippocampus_posterior")
    assert asked == {(one, other) for one in ("all", *names) for other in names} and len(rows) == 6


def test_type_measures_what_is_missing(common: list[str], tmp_path: Path) -> None:
    script: Any = importlib.import_module("type")
    path = tmp_path / "rows.csv"
    words = [*common, "--results", str(path), "--limit", "1"]
    assert script.main(words) == 0
    rows = tables.read_rows(path)
    assert [(row["method"], row["mode"]) for row in rows] == 2 * [("affine", ""), ("network", "inter"), ("network", "intra")]
    assert all(0 < float(row["tre"]) < 5 for row in rows)
    # One row taken out is made again, and only that one.
    tables.write_rows(path, script.COLUMNS, rows[:-1])
    assert script.main(words) == 0
    again = tables.read_rows(path)
    assert again[:-1] == rows[:-1] and float(again[-1]["tre"]) == pytest.approx(float(rows[-1]["tre"]), rel=1e-3)


def test_studies_are_trained_once_and_judged(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "reduced.toml"
    lines = ['name = "unireg-study"', "steps = 3", "tune_every = 2", "points = 20", "[[sources]]", 'path = "hippocampus_mr/dataset.json"']
    lines += ["voxels = [2000, 4000]", "partners = 1", "[network]", "encoder = [8, 8]", "match = [4, 4]", "decoder = [8, 8]"]
    lines += ["reach = [1, 2]", "neighbours = [7, 7]", "condition = 8", "embedding = 4", "hidden = 4"]
    recipe.write_text("\n".join(lines))
    monkeypatch.setattr(study, "CONFIG", recipe)
    monkeypatch.setattr(study, "SETS", ("hippocampus_mr",))
    words = ["--data", str(tiny), "--cache", str(tiny / "cache"), "--sets", "hippocampus_mr", "--threads", "1"]
    words += ["--runs", str(tmp_path / "runs"), "--curves", str(tmp_path / "curves.csv"), "--results", str(tmp_path / "parity.csv")]
    assert parity.main([*words, "--retrain", "--steps", "2"]) == 0
    said = capsys.readouterr().out
    assert said.count("from step 0 to 2") == 4 and "Claim 1, parity" in said
    # With one set the joint run learns from the same as the single one: same seed, same numbers.
    assert set(parity.differences(tables.read_rows(tmp_path / "parity.csv")).values()) == {0.0}
    steps = [(row["run"], row["seed"], row["step"]) for row in tables.read_rows(tmp_path / "curves.csv")]
    assert steps == [(run, seed, "2") for seed in "01" for run in ("joint", "single-hippocampus_mr")]
    # Another command of the same study goes on where they stopped.
    assert iterations.main([*words, "--retrain"]) == 0
    said = capsys.readouterr().out
    assert said.count("from step 2 to 3") == 4 and "Claim 2, iterations" in said
    doubled = iterations_tried.Tried("joint-batch-2", "2 examples", ("hippocampus_mr",), 2, batch=2)
    monkeypatch.setattr(iterations_tried, "TRIED", (doubled,))
    tried = [*words, "--results", str(tmp_path / "tried.csv"), "--retrain"]
    assert iterations_tried.main(tried) == 0 and iterations_tried.main(tried) == 0
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines() if line.startswith("2 examples")]
    assert said.count("joint-batch-2, seed 0: from step 0 to 2") == 1 and [row[2:4] for row in rows] == 2 * [["single", "2"]]
    assert parity.main([*words, "--retrain"]) == 0
    assert "from step" not in capsys.readouterr().out


def test_second_visit_shows_the_same_tissue_at_the_true_places(tiny: Path) -> None:
    listed = bench.pair_list(tiny, "hippocampus_mr")
    image, labels = bench.read_labelled(listed.pairs[0][0])
    motion = synthetic.known_motion(listed, labels, np.random.default_rng(1))
    pair = synthetic.visits(image, labels, motion, 5)
    second = pair.labels[1]
    index = pair.truth @ second.grid.index_from_lps[:3, :3].T + second.grid.index_from_lps[:3, 3]
    near = np.clip(np.rint(index).astype(int), 0, np.asarray(second.grid.size) - 1)
    same = second.voxels[near[:, 2], near[:, 1], near[:, 0]] == pair.at
    # Nearest labels differ only at edges; where the motion is forgotten they differ more often.
    still = pair.points @ second.grid.index_from_lps[:3, :3].T + second.grid.index_from_lps[:3, 3]
    near = np.clip(np.rint(still).astype(int), 0, np.asarray(second.grid.size) - 1)
    forgotten = second.voxels[near[:, 2], near[:, 1], near[:, 0]] != pair.at
    assert (~same).mean() < 0.03 and forgotten.mean() > 3 * (~same).mean()
    assert len(pair.points) > 500 and np.abs(pair.truth - pair.points).max() > 0.5


def test_visits_differ_in_noise_contrast_and_field_of_view(tiny: Path) -> None:
    listed = bench.pair_list(tiny, "hippocampus_mr")
    image, labels = bench.read_labelled(listed.pairs[0][0])
    still = motions.Motion(Affine.identity(), ())
    one, other = (synthetic.visits(image, labels, still, seed) for seed in (1, 2))
    assert one.images[1].grid != one.images[0].grid and one.images[1].grid != other.images[1].grid
    assert not np.array_equal(one.images[0].voxels, other.images[0].voxels)
    np.testing.assert_allclose(one.truth, one.points, atol=1e-6)
    again = synthetic.visits(image, labels, still, 1)
    assert np.array_equal(again.images[1].voxels, one.images[1].voxels) and np.array_equal(again.points, one.points)


def test_affine_alone_and_the_whole_tool_begin_at_one_place(tiny: Path) -> None:
    listed = bench.pair_list(tiny, "hippocampus_mr")
    (case,) = bench.cases(listed, tiny / "cache", {("p1", "p2")})
    chain, field = bench.register(case, (), Mode.INTER, None)
    assert field is not None and len(chain.steps) == 2
    # The engine bends, so the labels overlap better than under the affine.
    before, after = (tables.mean(list(bench.dice(case, one).values())) for one in (bench.chain_of(case, None), chain))
    assert after > before + 0.01


@pytest.mark.parametrize("far", [0.0, 3.0, -6.0])
def test_dice_looks_at_all_that_counts(tiny: Path, far: float) -> None:
    (case, *_) = bench.cases(bench.pair_list(tiny, "hippocampus_mr"), tiny / "cache", set())
    grid = case.images[0].grid
    push = Affine.from_parts(np.diag([1.1, 0.9, 1.0]), np.array([far, 1.0, -far]), grid.center_lps)
    vectors = np.zeros((*grid.shape, 3), np.float32)
    vectors[..., 0] = 2 * np.sin(np.arange(grid.size[1]) / 3)[None, :, None]
    chain = Chain((DisplacementField(vectors, grid), push))
    fixed, moving = case.labels
    moved = resample(moving.voxels, moving.grid, fixed.grid, chain, Interpolation.NEAREST)
    whole = dice_per_label(fixed.voxels.astype(int), moved.astype(int))
    assert bench.dice(case, chain) == whole and 0 < min(whole.values()) < 1


def test_what_is_missing_is_named(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--data"):
        bench.pair_list(tmp_path, "brain_mr")
    with pytest.raises(WeightsError):
        bench.load_judge(str(tmp_path / "no.safetensors"))
    labels = Image(np.zeros((4, 4, 4), np.uint8), bench.read_image(tiny / "hippocampus_mr/images/p0.nii.gz").grid.resized((4, 4, 4)))
    with pytest.raises(InputError, match="none of the labels"):
        synthetic.known_motion(bench.pair_list(tiny, "hippocampus_mr"), labels, np.random.default_rng(0))
