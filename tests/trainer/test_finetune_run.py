"""Whole small adaptations: what they write, that a stop changes nothing, and that nothing worse than the start is ever kept."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tuning import SMALL, base_weights, listed, options, scripted, told, twins

import trainer.finetune
from trainer.finetune import finetune
from trainer.finetune_look import Exam, Look, Measure
from trainer.finetune_step import Lesson, learn
from trainer.finetune_task import What
from unireg_cli.errors import InputError, UsageError, WeightsError
from unireg_cli.io.weights import WeightsFile, read_weights
from unireg_cli.loading import load_model
from unireg_cli.model.adapter import EMBEDDING, adaptable
from unireg_cli.model.anatomy import vocabulary
from unireg_cli.model.condition import Condition
from unireg_cli.model.network import Network
from unireg_cli.registration.prediction import as_ask

pytestmark = pytest.mark.usefixtures("aligned_people")


@pytest.fixture
def base(tmp_path: Path) -> WeightsFile:
    return base_weights(tmp_path / "base.safetensors")


def displacement(network: Network, *words: str) -> torch.Tensor:
    """What a network makes of two noisy images under a request."""
    random = torch.Generator().manual_seed(3)
    images, known = torch.rand(2, 1, 16, 16, 16, generator=random), torch.ones(2, 1, 8, 8, 8)
    with torch.inference_mode():
        found: torch.Tensor = network(images, known, as_ask(Condition(network.known.resolve(words)), network.known)).displacement
    return found


def test_small_file_holds_what_differs_and_says_how_it_came_about(
    organs: Path, tmp_path: Path, base: WeightsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.5, 0.6, 0.7])
    before, heard = base.path.read_bytes(), list[tuple[str, int, int]]()
    run = options(listed(organs, "mine"), tmp_path, base, anatomy="my_organs", rate=5e-2)
    outcome = finetune(run, progress=lambda *words: heard.append(words))
    assert outcome.improved and outcome.after.score > outcome.before.score and outcome.after.quality >= outcome.before.quality
    assert (outcome.measure, outcome.step, outcome.stopped) == (Measure.DICE, 4, 0)
    assert base.path.read_bytes() == before and not run.folder.exists()
    assert heard[-1] == ("finetune", 4, 4) and ("align", 2, 2) in heard
    tensors = safetensors.torch.load_file(run.output)
    assert not any(name.endswith("convolution.weight") for name in tensors) and "encoder.stem.weight" not in tensors
    assert all(map(adaptable, tensors))
    # The rows of the region and of the new name.
    assert tensors[f"rows:{EMBEDDING}"].shape == (2, 4) and EMBEDDING not in tensors
    config = told(run.output)
    assert config["adapter"]["base"] == {"name": "base", "sha256": base.sha256} and config["adapter"]["anatomy"] == "my_organs"
    assert config["added"] == [{"name": "my_organs", "region": "abdomen", "sought": False}]
    history = config["finetune"]
    assert history["data"] == {"name": "mine", "pairs": 3, "labelled": 3, "scans": 3, "crossed": 0}
    # Each of its two scans with two of those that are learned from.
    assert history["held_out"] == {"name": "mine", "pairs": 1, "judged": 5}
    assert history["judged_by"] == "1 of 10 pairs, held back, and their scans with others"
    assert (history["what"], history["measure"], history["improved"], history["steps"]) == ("controller", "dice", True, 4)
    assert [look["step"] for look in history["looks"]] == [0, 2, 4] and history["before"] == history["looks"][0]
    assert history["after"]["quality"] == outcome.after.quality and config["step"] == outcome.after.step
    assert config["seed"] == 0 and config["versions"]["torch"] == torch.__version__ and str(tmp_path) not in json.dumps(config)


def test_lessons_start_from_what_the_bases_own_did(organs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = {"passes": {"coarse": 0.0, "middle_voxels": [1000, 2000], "later": 1}, "losses": {"volume": 7.0, "overlap": "x"}}
    seen = []

    def look_once(_state: Any, lesson: Lesson, *_: Any) -> None:
        seen.append(lesson.config)
        raise StopIteration

    monkeypatch.setattr(trainer.finetune, "learn", look_once)
    with pytest.raises(StopIteration):
        finetune(options(listed(organs, "lessons"), tmp_path, base_weights(tmp_path / "base.safetensors", recipe=recipe)))
    assert seen[0].passes.coarse == 0.0 and seen[0].passes.middle_voxels == (1000, 2000) and seen[0].losses.volume == 7.0


def test_what_was_not_adapted_for_is_answered_by_the_base_to_the_bit(
    organs: Path, tmp_path: Path, base: WeightsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.5, 0.6, 0.7] * 2)
    for word in ("my_organs", "liver"):
        run = options(listed(organs, "bits"), tmp_path, base, anatomy=word, rate=5e-2, output=tmp_path / f"{word}.safetensors")
        assert finetune(run).step == 4
        model, plain = load_model(run.output), load_model(base.path)
        for words in ((), ("spleen",), ("abdomen",), ("kidneys",)):
            network = model.network_for(words)
            assert network is model.network
            assert torch.equal(displacement(network, *words), displacement(plain.network, *words))
        for words in ((word,), (word, "spleen")):
            assert model.network_for(words) is model.tuned
        told_by_base = displacement(plain.network, "liver" if word == "liver" else "all")
        assert not torch.equal(displacement(model.network_for((word,)), word), told_by_base)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_resumed_run_has_the_numbers_of_an_uninterrupted_one(
    organs: Path, tmp_path: Path, base: WeightsFile, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    pairs = listed(organs, "halves")
    whole, halves = (options(pairs, tmp_path, base, anatomy="mine", output=tmp_path / f"{name}.safetensors") for name in ("a", "b"))
    first = finetune(whole)

    def stopped(state: Any, *rest: Any) -> float:
        if state.step == 2:
            os.kill(os.getpid(), number)
        return learn(state, *rest)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(trainer.finetune, "learn", stopped)
        outcome = finetune(halves)
    assert (outcome.step, outcome.stopped) == (3, number) and signal.getsignal(number) is before
    assert not halves.output.exists() and halves.folder.exists()
    with pytest.raises(UsageError, match="holds an unfinished run; go on with --resume"):
        finetune(halves)
    with pytest.raises(UsageError, match="begun with other pairs, weights or options"):
        finetune(options(pairs, tmp_path, base, anatomy="mine", output=halves.output, seed=1), resume=True)
    assert finetune(halves, resume=True) == first
    assert halves.output.read_bytes() == whole.output.read_bytes()
    one, other = (told(run.output)["finetune"] | {"seconds": 0} for run in (whole, halves))
    assert one == other


def test_best_look_is_kept_and_nothing_more_ends_the_run(
    organs: Path, tmp_path: Path, base: WeightsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    scripted(monkeypatch, [0.5, 0.6, 0.7, 0.65, 0.69, *([0.6] * 20)], seen)
    run = options(listed(organs, "best", (0, 1, 2)), tmp_path, base, steps=20, look_every=1)
    outcome = finetune(run)
    # Eight looks after the second.
    assert (outcome.after.step, outcome.after.quality, outcome.step, len(seen)) == (2, 0.7, 10, 11)
    assert told(run.output)["finetune"]["ended"] == "nothing better in 8 looks"
    kept = safetensors.torch.load_file(run.output)["levels.0.head.controller.bias"]
    assert torch.equal(kept, seen[2]) and not torch.equal(kept, seen[3]) and not torch.equal(kept, seen[1])


def test_a_run_that_may_be_long_is_given_time(organs: Path, tmp_path: Path, base: WeightsFile, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [0.5, *([0.4] * 8), 0.6, *([0.4] * 40)], [])
    outcome = finetune(options(listed(organs, "long", (0, 1, 2)), tmp_path, base, steps=42, look_every=1))
    # Eight quiet looks are 19 % of the steps: it goes on. The end comes when they are 30 %, 12.6 steps.
    assert (outcome.after.step, outcome.step) == (9, 22)


def test_a_run_that_rises_from_below_the_base_is_given_time(
    organs: Path, tmp_path: Path, base: WeightsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    rising = [0.3 + 0.01 * k for k in range(25)]
    scripted(monkeypatch, [0.5, *rising, *([0.4] * 20)], [])
    outcome = finetune(options(listed(organs, "rising", (0, 1, 2)), tmp_path, base, steps=45, look_every=1))
    # 21 looks are below the base, 47 % of the steps. The 25th is the best, and what follows is quiet for 30 % of them, 13.5 steps.
    assert (outcome.after.step, outcome.step) == (25, 39)


def test_time_ends_a_run_after_a_last_look(organs: Path, tmp_path: Path, base: WeightsFile, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [0.5] * 3)
    run = options(listed(organs, "time", (0, 1)), tmp_path, base, steps=None, minutes=1e-6)
    assert finetune(run).step == 0 and told(run.output)["finetune"]["ended"] == "the time is over"


@pytest.mark.parametrize("word", ["liver", "mine", None])
@pytest.mark.parametrize("what", list(What))
def test_nothing_better_writes_what_answers_as_the_base(
    organs: Path, tmp_path: Path, base: WeightsFile, monkeypatch: pytest.MonkeyPatch, word: str | None, what: What
) -> None:
    scripted(monkeypatch, [0.5, 0.49, 0.5])
    run = options(listed(organs, "worse", (0, 1, 2)), tmp_path, base, anatomy=word, what=what, rate=5e-2)
    outcome = finetune(run)
    assert not outcome.improved and outcome.after == outcome.before
    history, model, plain = told(run.output)["finetune"], load_model(run.output), load_model(base.path)
    assert history["improved"] is False and history["after"] == history["before"] and told(run.output)["step"] == 0
    assert told(run.output)["trained"] == base.config["trained"]
    for words in ((), ("liver",), ("spleen",)):
        assert torch.equal(displacement(model.network_for(words), *words), displacement(plain.network, *words))
    if word == "mine":
        # A new name is answered as all is; its embedding is a sum, so not to the last bit.
        own, everything = displacement(model.network_for(("mine",)), "mine"), displacement(plain.network)
        torch.testing.assert_close(own, everything, rtol=1e-4, atol=1e-6)
        assert own.abs().max() > 0.01


def test_looks_leave_most_of_the_time_to_the_steps(
    organs: Path, tmp_path: Path, base: WeightsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look of a fifth of a second is followed by three fifths of steps: in five seconds no more than six and the last one."""
    scripted(monkeypatch, [0.5 + 0.01 * k for k in range(99)])
    quick = Exam.look

    def slow(*words: Any) -> Look:
        time.sleep(0.2)
        return quick(*words)

    monkeypatch.setattr(Exam, "look", slow)
    run = options(listed(organs, "slow", (0, 1, 2)), tmp_path, base, anatomy="liver", steps=None, minutes=5 / 60, look_every=1)
    outcome = finetune(run)
    assert 1 < len(told(run.output)["finetune"]["looks"]) <= 1 + 7 < outcome.step


def test_scans_of_listed_pairs_are_learned_from_in_other_pairs_too(
    organs: Path, tmp_path: Path, base: WeightsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.5, 0.6, 0.7])
    some = [{"0": f"scan{a}.nii.gz", "1": f"scan{b}.nii.gz"} for a, b in ((0, 1), (1, 2), (3, 4))]
    run = options(listed(organs, "chain", training_paired_images=some), tmp_path, base, anatomy="liver")
    finetune(run)
    history = told(run.output)["finetune"]
    assert history["data"] == {"name": "chain", "pairs": 2, "labelled": 2, "scans": 3, "crossed": 1}
    assert history["held_out"] == {"name": "chain", "pairs": 1, "judged": 5}


def test_ruinous_rate_does_not_make_it_worse(organs: Path, tmp_path: Path, base: WeightsFile) -> None:
    """Without a script: the looks themselves see it. Other pairs have been moved nearer by chance."""
    run = options(listed(organs, "ruin", (0, 1, 2)), tmp_path, base, val=twins(organs), anatomy="liver", rate=30.0)
    outcome = finetune(run)
    looks = told(run.output)["finetune"]["looks"]
    assert not outcome.improved and min(look["quality"] or 0 for look in looks[1:]) < looks[0]["quality"]


def test_single_pair_and_unlabelled_pairs_are_judged_by_their_images(organs: Path, tmp_path: Path, base: WeightsFile) -> None:
    one = options(listed(organs, "one", (0, 1)), tmp_path, base, anatomy="liver", output=tmp_path / "one.safetensors")
    assert finetune(one).measure is Measure.SIMILARITY
    assert "the one pair itself, which leaves nothing to hold back" in told(one.output)["finetune"]["judged_by"]
    bare = options(listed(organs, "bare", (0, 1, 2), labelled=False, labels=None), tmp_path, base, anatomy="region_of_mine")
    outcome = finetune(bare)
    assert outcome.measure is Measure.SIMILARITY and 0 < outcome.before.quality < 1
    assert told(bare.output)["finetune"]["data"]["labelled"] == 0
    val = options(listed(organs, "one", (0, 1)), tmp_path, base, val=listed(organs, "val", (3, 4)), output=tmp_path / "val.safetensors")
    assert finetune(val).measure is Measure.DICE and told(val.output)["finetune"]["judged_by"] == "1 pairs of val.json"


def test_everything_adapted_is_a_whole_file_with_the_new_name(
    organs: Path, tmp_path: Path, base: WeightsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.5, 0.6, 0.7])
    run = options(listed(organs, "whole", (0, 1, 2)), tmp_path, base, anatomy="mine", what=What.ALL, rate=5e-3)
    assert finetune(run).improved
    base.path.unlink()
    model = load_model(run.output)
    assert model.tuned is None and model.network.settings.vocabulary == SMALL.vocabulary + 1
    assert "encoder.stem.weight" in read_weights(run.output).tensors and "adapter" not in told(run.output)
    assert displacement(model.network_for(("mine",)), "mine").abs().max() > 0
    assert told(run.output)["trained"]["real"] == ["kidney_left", "liver", "spleen"]


def test_adapted_weights_can_be_adapted_again_only_if_whole(organs: Path, tmp_path: Path, base: WeightsFile) -> None:
    first = options(listed(organs, "first", (0, 1, 2)), tmp_path, base, anatomy="mine", what=What.ALL, steps=2, rate=5e-3)
    finetune(first)
    again = options(
        listed(organs, "again", (0, 1, 2)), tmp_path, read_weights(first.output), anatomy="yours", output=tmp_path / "yours.safetensors"
    )
    finetune(again)
    assert [one["name"] for one in told(again.output)["added"]] == ["mine", "yours"]
    model = load_model(again.output)
    assert model.network_for(("mine",)) is model.network and model.network_for(("yours",)) is model.tuned
    with pytest.raises(WeightsError, match=r"yours\.safetensors: adapted weights themselves, made for mine; name mine with --weights"):
        finetune(options(again.pairs, tmp_path, read_weights(again.output), output=tmp_path / "third.safetensors"))


def test_wrong_use_is_said_before_anything_is_made(organs: Path, tmp_path: Path, base: WeightsFile) -> None:
    run = options(listed(organs, "there", (0, 1)), tmp_path, base)
    run.output.write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"mine\.safetensors exists; choose another --output, or allow it with --overwrite"):
        finetune(run)
    assert run.output.read_bytes() == b"mine" and not run.folder.exists()
    with pytest.raises(InputError, match="no such file; name the JSON of your pairs"):
        finetune(options(tmp_path / "none.json", tmp_path, base, output=tmp_path / "new.safetensors"))
    for words, change in (
        ("--minutes and --steps", {"minutes": 1.0}),
        ("--steps must be at least 1", {"steps": 0}),
        ("--minutes must be above 0", {"steps": None, "minutes": 0.0}),
        (r"NAME\.safetensors", {"output": tmp_path / "mine.pt"}),
    ):
        with pytest.raises(UsageError, match=words):
            options(run.pairs, tmp_path, base, **change)  # type: ignore[arg-type]


def test_names_of_an_adapter_are_the_bases_and_its_own(organs: Path, tmp_path: Path, base: WeightsFile) -> None:
    run = options(listed(organs, "names", (0, 1, 2)), tmp_path, base, anatomy="odd_organ")
    finetune(run)
    model = load_model(run.output)
    assert model.vocabulary.size == vocabulary().size + 1 and model.network.known.size == vocabulary().size
    assert model.training.gaps("odd_organ", model.vocabulary) == [] and model.training.gaps("pancreas", model.vocabulary) == ["pancreas"]
