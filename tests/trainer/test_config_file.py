"""TOML and dataclasses, one to one."""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest

from trainer.augmentation import Augmentation
from trainer.config import Asking, Losses, Optimiser, Passes, Segmenting, Source, TrainConfig
from trainer.config_file import as_toml, changed_keys, read_config, write_config
from trainer.synthesis import Intensity
from unireg_cli.errors import InputError, UsageError
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.settings import NetworkSettings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.toml"


def everything_changed(folder: Path) -> TrainConfig:
    """No field as it is by default."""
    sizes = {"encoder": (8, 16), "match": (4, 8), "decoder": (8, 16), "reach": (0.5, 1.5), "neighbours": (7, 7)}
    seeing = {"segmented": (1, 2), "segmenter": (8, 24), "pair_voxels": 11, "sight_voxels": 12}
    first = Source(
        *(str(folder / "a" / "dataset.json"), (), 3, 2.5, 0.1, (10, 20), 0.15, (30, 40), 7, 0.25, 0.5, 0.75, 0.2, 0.3, 0.4),
        segmented=False,
        tune=False,
        unused=('with "quotes"', "back\\slash", "ünïcode \x7f\n", *(f"a rather long name of a label {n}" for n in range(6))),
        limit=4,
    )
    return TrainConfig(
        (first, Source(phantoms=("torso",))),
        *("own-1.0", "mine", 7, 3, 2, ("segmentation",), str(folder / "base.safetensors"), (0.25, 0.75), 5, 6, 8, 9, 10),
        *("cpu", "float32", str(folder / "c"), str(folder / "o")),
        network=NetworkSettings(vocabulary().size, **sizes, condition=9, embedding=11, hidden=4, **seeing),
        losses=Losses(*(0.01 * n for n in range(1, 12))),
        asking=Asking(0.3, 0.1, most=2, finder_structures=5),
        passes=Passes(0.1, (1, 2), (3, 4), 0.2),
        segmenting=Segmenting(0.5, (5, 6), 7, *(0.11 * n for n in range(1, 6)), 3),
        optimiser=Optimiser(1e-05, 2.0, 3e-7, 4, "cosine", 6, 0.5, 0.75, 0.5, "muon", 0.5),
        augmentation=Augmentation(*(0.1 * n for n in range(1, 10)), Intensity(gamma=(-0.1, 1 / 3), inversion=0.0), 0.95),
    )


def same_fields(one: object, other: object) -> list[str]:
    return [entry.name for entry in fields(one) if getattr(one, entry.name) == getattr(other, entry.name)]


def test_nothing_is_lost_on_the_way_to_a_file_and_back(tmp_path: Path, path: Path) -> None:
    config = everything_changed(tmp_path)
    unchanged = TrainConfig((Source("x"),))
    assert same_fields(config, unchanged) == []
    for part in ("network", "losses", "asking", "passes", "segmenting", "optimiser", "augmentation"):
        assert same_fields(getattr(config, part), getattr(unchanged, part)) in ([], ["vocabulary"], ["schedule"])
    write_config(config, path)
    assert read_config(path) == config
    # The writer says everything: what an independent reader finds has as many keys as the dataclasses have fields.
    table = tomllib.loads(path.read_text("utf-8"))
    assert set(table) == {entry.name for entry in fields(TrainConfig)}
    assert set(table["network"]) == {entry.name for entry in fields(NetworkSettings)} - {"vocabulary"}
    assert table["sources"][0]["unused"][:3] == ['with "quotes"', "back\\slash", "ünïcode \x7f\n"]
    assert table["augmentation"]["intensity"]["gamma"] == [-0.1, 1 / 3]


def test_a_short_file_takes_the_defaults_and_paths_from_its_folder(tmp_path: Path, path: Path) -> None:
    path.write_text('steps = 5\ncache = "../c"\ninit = "w.safetensors"\n[[sources]]\npath = "data/dataset.json"\nweight = 2\n')
    source = Source(str(tmp_path / "data" / "dataset.json"), weight=2.0)
    found = read_config(path)
    init = str(tmp_path / "w.safetensors")
    assert found == TrainConfig((source,), steps=5, init=init, cache=str(tmp_path.parent / "c"), output=str(tmp_path / "run"))
    assert type(found.sources[0].weight) is float


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stepz = 5", "run.toml: unknown key 'stepz'; did you mean steps?"),
        ("zzz = 5", "run.toml: unknown key 'zzz'; the keys here are sources, "),
        ("[losses]\nlnnc = 1", "run.toml: losses: unknown key 'lnnc'; did you mean lncc?"),
        ("[augmentation.intensity]\ngama = 1", "run.toml: augmentation.intensity: unknown key 'gama'; did you mean gamma?"),
        ("[network]\nvocabulary = 3", "run.toml: network: unknown key 'vocabulary'"),
        ("steps = 5.0", "run.toml: steps: must be a whole number, found 5.0"),
        ("steps = true", "run.toml: steps: must be a whole number, found True"),
        ("seed = -1", "run.toml: seed must be a number from 0, found -1"),
        ("device = 3", "run.toml: device: must be a text, found 3"),
        ('device = "gpu"', "run.toml: device must be auto, cpu or cuda, found 'gpu'"),
        ("losses = 3", "run.toml: losses: must be a table, found 3"),
        ("[losses]\nlncc = nan", "run.toml: losses: lncc must be a number from 0, found nan"),
        ("[losses]\nlncc = false", "run.toml: losses.lncc: must be a number, found False"),
        ("[optimiser]\nclip = 0", "run.toml: optimiser: clip must be above 0, found 0.0"),
        ('[optimiser]\nmethod = "sgd"', "run.toml: optimiser: method must be adamw or muon, found 'sgd'"),
        ("[optimiser]\nmomentum = 1", "run.toml: optimiser: momentum must be from 0 to below 1, found 1.0"),
        ('[optimiser]\nschedule = "line"', "run.toml: optimiser: schedule must be cosine or constant, found 'line'"),
        ('[optimiser]\nschedule = "constant"\ndecay_from = 9', "run.toml: optimiser: decay_from must be 0 where the schedule is constant"),
        ("[optimiser]\ndecay_from = 1e3", "run.toml: optimiser.decay_from: must be a whole number, found 1000.0"),
        ("init = 3", "run.toml: init: must be a text, found 3"),
        ("[asking]\nall = 0.9\nregion = 0.2", "run.toml: asking: all + region must be at most 1"),
        ("[network]\nreach = [1, 2]", "run.toml: network: network settings: every level needs one entry"),
        ("[augmentation]\nbend = -1", "run.toml: augmentation: augmentation.bend must not be negative"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(path: Path, text: str, words: str) -> None:
    path.write_text(f"{text}\n[[sources]]\npath = 'x'\n")
    with pytest.raises(UsageError) as caught:
        read_config(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the key 'sources' is missing"),
        ("sources = []", "sources must have one with a weight above 0, found 0"),
        ("[sources]\npath = 'x'", "sources: must be a list"),
        ("[[sources]]\nweight = 1", "sources[1]: path must"),
        ("[[sources]]\npath = 'x'\n[[sources]]\npath = 'y'\nvoxels = [3]", "sources[2].voxels: must be a list of 2, found [3]"),
        ("[[sources]]\npath = 'x'\n[[sources]]\npath = 'y'\nvoxels = [3, 2]", "sources[2]: voxels must be two counts above 0 in order"),
        ("[[sources]]\npath = 'x'\ntune = 1", "sources[1].tune: must be true or false, found 1"),
        ("[[sources]]\nphantoms = ['torso', 'tail']", "sources[1]: phantoms must be of torso, "),
        ("[[sources]]\nphantoms = ['torso']\ntune = true", "sources[1]: tune must not be true of phantoms"),
        ("[[sources]]\npath = 'x'\nunused = ['a', 3]", "sources[1].unused[2]: must be a text, found 3"),
    ],
)
def test_what_is_wrong_with_a_source_says_with_which(path: Path, text: str, words: str) -> None:
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_config(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(("content", "words"), [(None, "no such file"), (b"steps = ", "not a TOML file"), (b"\xff", "not a TOML file")])
def test_a_file_that_is_no_config(path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_config(path)


def test_changes_are_named_by_their_keys() -> None:
    old = TrainConfig((Source("x"), Source("y")))
    new = replace(old, steps=3, sources=(Source("x"), Source("y", limit=3)), losses=Losses(lncc=0.5))
    assert changed_keys(as_toml(old), as_toml(old)) == []
    expected = ["losses.lncc: 0.3 -> 0.5", "sources[2].limit: None -> 3", "steps: 10000 -> 3"]
    assert sorted(changed_keys(as_toml(old), as_toml(new))) == expected
