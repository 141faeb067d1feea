"""Verdicts of the claims on made-up rows whose answer is known, and how rows are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anatomy
import iterations
import iterations_tried
import parity
import pytest
import smoothness
import study
import tables
import type_verdict
import unseen

from trainer.config_file import read_config
from unireg_cli.errors import InputError, UsageError
from unireg_cli.model.anatomy import vocabulary


def rows_of(columns: Sequence[str], cells: Sequence[Sequence[object]]) -> list[tables.Row]:
    return [{name: str(value) for name, value in zip(columns, each, strict=True)} for each in cells]


def pairs(name: str) -> list[tuple[str, str]]:
    """As many pairs as the validation list of a set has, of as many persons in a ring."""
    count = tables.PAIRS[name]
    return [(f"p{k}", f"p{(k + 1) % count}") for k in range(count)]


def test_rows_are_kept_and_a_cut_line_is_not(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "rows.csv"
    assert tables.read_rows(path) == []
    tables.append_rows(path, ("weights", "b"), [{"weights": "w", "b": 1 / 3}])
    tables.append_rows(path, ("weights", "b"), [{"weights": "w", "b": "x"}])
    with path.open("a") as file:
        file.write("w")
    assert tables.read_rows(path) == [{"weights": "w", "b": "0.333333"}, {"weights": "w", "b": "x"}]
    with pytest.raises(InputError, match="expected the columns a,b"):
        tables.append_rows(path, ("a", "b"), [])
    with pytest.raises(UsageError, match="other weights"):
        tables.of_weights(tables.read_rows(path), "v", path)


def test_frames_of_a_patient_are_one_person() -> None:
    row = {"set": "cardiac_mr", "fixed": "patient084_frame01", "moving": "patient084_frame10"}
    assert tables.persons_of(row) == ("cardiac_mr/patient084",)
    assert tables.persons_of(row | {"moving": "patient085_frame01"}) == ("cardiac_mr/patient084", "cardiac_mr/patient085")


def anatomy_rows(gain: float, loss: float) -> list[tables.Row]:
    """Two structures in every set, with small differences between pairs."""
    cells = []
    for name in tables.SETS:
        for number, (fixed, moving) in enumerate(pairs(name)):
            for asked in ("all", "a", "b"):
                for structure in ("a", "b"):
                    change = 0.0 if asked == "all" else gain + 0.001 * (number % 2) if asked == structure else -loss
                    cells.append(("w", name, fixed, moving, asked, structure, 0.7 + change, 0.3, 0.0))
    return rows_of(anatomy.COLUMNS, cells)


@pytest.mark.parametrize(
    ("gain", "loss", "holds"), [(0.02, 0.01, True), (0.005, 0.01, False), (0.02, 0.03, False), (-0.01, 0.0, False)]
)
def test_anatomy(gain: float, loss: float, holds: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = anatomy_rows(gain, loss)
    verdict = anatomy.judged(rows)
    assert verdict.holds is holds
    assert f"mean gain {gain + 0.0005:+.4f}" in str(verdict) and "never asked for together: not measured" in str(verdict)
    assert "p (Holm)" in capsys.readouterr().out
    anatomy.draw(rows, tmp_path / "matrix.png")
    assert (tmp_path / "matrix.png").stat().st_size > 1000
    names, matrix = anatomy.matrix(rows, "abdomen_ct")
    assert names == ["a", "b"] and matrix[0, 1] == pytest.approx(-loss) and matrix[1, 1] == pytest.approx(gain + 0.0005)


def test_a_part_of_the_pairs_may_refute_a_claim_but_not_show_it() -> None:
    part = [row for row in anatomy_rows(0.02, 0.01) if row["set"] == "cardiac_mr"]
    assert anatomy.judged(part).holds is None
    assert anatomy.judged([row for row in anatomy_rows(0.001, 0.01) if row["set"] == "cardiac_mr"]).holds is False


def test_pairs_never_asked_for_together() -> None:
    assert anatomy.withheld_pairs({}) == [] and anatomy.withheld_pairs({"asking": {"withheld": [["a", "b"]]}}) == [("a", "b")]
    extra = [("w", "abdomen_ct", *pair, "a+b", one, 0.7 + 0.018, 0.3, 0.0) for pair in pairs("abdomen_ct") for one in ("a", "b")]
    rows = anatomy_rows(0.0195, 0.0) + rows_of(anatomy.COLUMNS, extra)
    # 0.018 of 0.0195 + 0.0005.
    assert "mean gain +0.0180, alone +0.0200: 90% of the single gains" in str(anatomy.judged(rows))


def test_structures_of_the_claim_are_in_the_vocabulary() -> None:
    known = vocabulary()
    assert len(set(anatomy.BRAIN)) == 12
    for name in (*anatomy.BRAIN, *(name for pair in anatomy.WITHHELD for name in pair)):
        assert known.structure_id(name) is not None, name


def type_rows(known: float, real: float, line: float) -> list[tables.Row]:
    """intra less inter: error of synthetic pairs, Dice of real ones, error of the owner's line."""
    cells: list[tuple[Any, ...]] = []
    for name in tables.SETS:
        for person in range(4):
            for mode, change in (("inter", 0.0), ("intra", known + 0.01 * person)):
                cells.append(("w", "known", name, f"p{person}", "motion0", "network", "", mode, 2 + change, "", 0.8, "", 0.3))
    for person in range(10):
        # At its own smoothness inter is rougher and overlaps more; that does not count.
        ways = (("network", "inter", 0.05, 0.5), ("as rough", "inter", 0.0, 0.3), ("network", "intra", real, 0.3))
        for method, mode, change, rough in ways:
            names = (f"p{person}_frame01", f"p{person}_frame09")
            cells.append(("w", "real", "cardiac_mr", *names, method, "", mode, "", "", 0.8 + change, "", rough))
    for person in range(4):
        for method in ("network", "default"):
            for word, mode, change in (("", "inter", 0.0), ("liver", "intra", line)):
                cells.append(("w", "line", "abdomen_ct", f"p{person}", "motion0", method, word, mode, 2, 3 + change, 0.8, 0.9, 0.3))
    columns = ("weights", "kind", "set", "fixed", "moving", "method", "anatomy", "mode", "tre", "tre_liver", "dice", "dice_liver", "sdlogj")
    return rows_of(columns, cells)


@pytest.mark.parametrize(
    ("known", "real", "line", "holds"),
    [(-0.2, 0.01, -0.3, True), (0.1, 0.01, -0.3, False), (-0.2, -0.01, -0.3, False), (-0.2, 0.01, 0.1, False)],
)
def test_type(known: float, real: float, line: float, holds: bool, tmp_path: Path) -> None:
    rows = type_rows(known, real, line)
    verdict = type_verdict.judged(rows)
    assert verdict.holds is holds
    assert f"intra - inter {known + 0.015:+.3f}" in str(verdict)
    type_verdict.draw(rows, tmp_path / "type.png")
    assert type_verdict.judged([row for row in type_rows(-0.2, 0.01, -0.3) if row["kind"] != "real"]).holds is None


@pytest.mark.parametrize(("fall", "bump", "holds"), [(4.0, 0.0, True), (2.5, 0.0, False), (4.0, 0.5, False)])
def test_smoothness(fall: float, bump: float, holds: bool, tmp_path: Path) -> None:
    cells = []
    for name in tables.SETS:
        for number, pair in enumerate(pairs(name)):
            for value in smoothness.VALUES:
                # One pair of one set may have a bump at smoothness 3/4.
                odd = bump if (name, number, value) == ("brain_mr", 0, 0.75) else 0.0
                cells.append(("w", name, *pair, value, 0.4 / fall**value + odd, 0.0, 0.7))
    rows = rows_of(smoothness.COLUMNS, cells)
    assert smoothness.judged(rows).holds is holds
    smoothness.draw(rows, tmp_path / "smoothness.png")


def parity_rows(changes: dict[str, float]) -> list[tables.Row]:
    cells = []
    for name in tables.SETS:
        for number, pair in enumerate(pairs(name)):
            for seed in (0, 1):
                cells.append((f"single-{name}", seed, name, *pair, 0.7 + 0.01 * number, 0.3))
                cells.append(("joint", seed, name, *pair, 0.7 + 0.01 * number + changes.get(name, 0.01) + 0.002 * seed, 0.3))
    return rows_of(parity.COLUMNS, cells)


@pytest.mark.parametrize(("changes", "holds"), [({}, True), ({"brain_mr": -0.03}, False), (dict.fromkeys(tables.SETS, -0.005), False)])
def test_parity(changes: dict[str, float], holds: bool, tmp_path: Path) -> None:
    rows = parity_rows(changes)
    verdict = parity.judged(rows)
    assert verdict is not None and verdict.holds is holds
    # The mean of both seeds.
    assert parity.differences(rows)["abdomen_ct", "p0", "p1"] == pytest.approx(changes.get("abdomen_ct", 0.01) + 0.001)
    parity.draw(rows, tmp_path / "parity.png")
    assert parity.judged([row for row in rows if row["run"] == "joint"]) is None


def curve_rows(joint_delay: int) -> list[tables.Row]:
    """Every single run reaches its level at step 500 and its best at 750; the joint run reaches it ``joint_delay`` later."""
    cells = []
    for seed in (0, 1):
        for name in tables.SETS:
            for step, dice in ((250, 0.5), (500, 0.796), (750, 0.8), (1000, 0.79)):
                cells.append((f"single-{name}", seed, step, name, dice, 0.4, 0.3, 0.0, 1.0))
                cells.append(("joint", seed, step + joint_delay, name, dice, 0.4, 0.3, 0.0, 2.0))
    return rows_of(study.CURVE_COLUMNS, cells)


@pytest.mark.parametrize(("delay", "holds", "words"), [(500, True, "2500 steps in all, joint 1000: 40%"), (1000, False, "joint 1500: 60%")])
def test_iterations(delay: int, holds: bool, words: str, tmp_path: Path) -> None:
    rows = curve_rows(delay)
    verdict = iterations.judged(rows)
    assert verdict is not None and verdict.holds is holds and words in str(verdict)
    race = iterations.races(rows, "0")[0]
    assert (race.single, race.joint, race.single_seconds, race.joint_seconds) == (500, 500 + delay, 500.0, 2 * (500 + delay))
    # The best look at step 750 of 1000 is more than a fifth back.
    assert "risen further: none" in str(verdict)
    assert "risen further: brain_mr (seed 0)" in study.still_rising([r for r in rows if (r["set"], r["seed"]) == ("brain_mr", "0")][:4])
    iterations.draw(rows, tmp_path / "iterations.png")


def test_a_level_never_reached_fails() -> None:
    rows = [row | {"dice": "0.7"} if (row["run"], row["set"]) == ("joint", "brain_mr") else row for row in curve_rows(0)]
    verdict = iterations.judged(rows)
    assert verdict is not None and verdict.holds is False and "did not reach the level of brain_mr in 1000 steps" in str(verdict)


def test_what_was_tried_is_told_beside_the_study(capsys: pytest.CaptureFixture[str]) -> None:
    faster, batch = iterations_tried.TRIED[0], next(run for run in iterations_tried.TRIED if run.batch > 1 and len(run.sets) > 1)
    cells = []
    for name in tables.SETS:
        # Levels are 0.795, which single runs of 500 steps have; the joint run of the study has 0.8 at step 1250.
        cells += [[faster.name, 0, step, name, dice, 0.4, 0.3, 0.0, 1.0] for step, dice in ((250, 0.7), (500, 0.8))]
        cells += [[batch.name, 0, 250, name, 0.6, 0.4, 0.3, 0.0, 1.0]]
    plain = curve_rows(500)
    (line,) = iterations_tried.told(rows_of(study.CURVE_COLUMNS, cells), plain)
    assert "levels: abdomen_ct 500, abdomen_mr 500" in line and "; all in 500, 20% (the study's single runs: 2500 in all" in line
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[-12:] for row in said if "joint" in row] == [
        ["joint", "500", *5 * ("0.800", "x2.50")],
        ["joint", "250", *5 * ("0.600", "x4.00")],
    ]
    # One set that stays below its level is said, and no share then.
    for cell in cells:
        cell[4] = 0.7 if cell[3] == "brain_mr" else cell[4]
    (line,) = iterations_tried.told(rows_of(study.CURVE_COLUMNS, cells), plain)
    assert "brain_mr never (the study's" in line


def test_what_was_tried_changes_nothing_else(tmp_path: Path) -> None:
    names = [run.name for run in iterations_tried.TRIED]
    assert len(set(names)) == len(names)
    for tried in iterations_tried.TRIED:
        unchanged = study.Study(tried.name, tried.sets, 0, study.CONFIG)
        base, config = (study.config_of(run, read_config(study.CONFIG), tmp_path, tmp_path, tmp_path) for run in (unchanged, tried.study))
        assert (config.losses, config.network, config.seed) == (base.losses, base.network, 0)
        assert config.steps == tried.steps and config.steps % config.tune_every == 0
        assert [source.path for source in config.sources] == [source.path for source in base.sources]
        # What is no change stays what it is in the study.
        assert (config.optimiser == base.optimiser) is (not tried.optimiser)
        assert all(source.synthetic_contrast == tried.painted for source in config.sources)
        assert config.batch == tried.batch


@pytest.mark.parametrize(("network", "default", "holds"), [(0.63, 0.75, True), (0.52, 0.75, False), (0.63, 0.70, False)])
def test_unseen(network: float, default: float, holds: bool, tmp_path: Path) -> None:
    dice = dict(zip(unseen.METHODS, (0.5, 0.7, network, 0.72, default), strict=True))
    cells = [(method, "abdomen_mr", *pair, value, 0.3) for pair in pairs("abdomen_mr") for method, value in dice.items()]
    rows = rows_of(unseen.COLUMNS, cells)
    verdict = unseen.judged(rows)
    assert verdict is not None and verdict.holds is holds
    unseen.draw(rows, tmp_path / "unseen.png")


def test_a_run_of_one_set_ends_when_a_fifth_of_its_steps_brought_nothing() -> None:
    rising = [(250 * k, 0.1 * k) for k in range(1, 5)]
    assert not study.may_end(rising)
    assert not study.may_end([*rising, (1200, 0.3)])
    assert study.may_end([*rising, (1250, 0.3)])
    # Never before the least number of steps, and never without a look.
    assert not study.may_end([(250, 0.5), (750, 0.4)]) and not study.may_end([])


def test_studies_differ_in_nothing_but_what_they_say(tmp_path: Path) -> None:
    base = read_config(study.CONFIG)
    names = [Path(source.path).parent.name for source in base.sources]
    assert sorted(names) == sorted(tables.SETS) and names[4] == "brain_mr"
    assert base.optimiser.schedule == "constant" and study.SINGLE_STEPS % base.tune_every == 0
    config = study.config_of(study.single("brain_mr", 1), base, tmp_path, tmp_path / "cache", tmp_path / "runs")
    (source,) = config.sources
    assert (source.path, source.voxels, config.seed) == (str(tmp_path / "brain_mr" / "dataset.json"), base.sources[4].voxels, 1)
    assert config.steps == study.SINGLE_STEPS < base.steps
    assert config.output.endswith("single-brain_mr-seed1") and config.optimiser == base.optimiser and config.losses == base.losses
    # The pair of claim 6 shares another file.
    seen, left = study.seeing(), study.seeing_without("abdomen_mr")
    assert set(seen.sets) - set(left.sets) == {"abdomen_mr"} and seen.config == left.config == study.UNSEEN_CONFIG
    both = [study.config_of(run, read_config(run.config), tmp_path, tmp_path / "cache", tmp_path / "runs") for run in (seen, left)]
    assert [len(config.sources) for config in both] == [5, 4] and both[0].optimiser == both[1].optimiser and both[0].steps == both[1].steps
    assert set(both[1].learns) == {"registration", "segmentation"}


def test_curves_of_a_run_replace_its_older_ones(tmp_path: Path) -> None:
    curves, runs = tmp_path / "curves.csv", tmp_path / "runs"
    run = study.single("brain_mr", 0)
    run.folder(runs).mkdir(parents=True)
    other = dict.fromkeys(study.CURVE_COLUMNS, "1") | {"run": "joint", "seed": "0"}
    old = other | {"run": run.name}
    tables.write_rows(curves, study.CURVE_COLUMNS, [other, old])
    line = '{"step": 250, "set": "brain_mr", "dice": 0.5, "dice_affine": 0.4, "sdlogj": 0.1, "folding_percent": 0.0, "asked_gain": null}\n'
    (run.folder(runs) / "tune.jsonl").write_text(line + '{"step": 5')
    study.collect([run], runs, curves)
    assert [(row["run"], row["step"]) for row in tables.read_rows(curves)] == [("joint", "1"), (run.name, "250")]
    assert study.tune_curve(run.folder(runs)) == [(250, 0.5)]


@pytest.mark.parametrize("script", [anatomy, smoothness, parity, iterations, iterations_tried, unseen])
def test_without_rows_a_script_says_how_to_make_them(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--results", str(tmp_path / "none.csv")]
    words += ["--curves", str(tmp_path / "no.csv")] if script is iterations else []
    assert script.main(words) == 1
    assert "no rows yet; make them with --" in capsys.readouterr().err
