"""The process around the commands: help, version, exit codes, one line for every error."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
from typing import get_args

import pytest

from unireg_cli import __main__
from unireg_cli.__main__ import main
from unireg_cli.commands import flags
from unireg_cli.errors import GeometryError, OutOfMemoryError, QualityGateError, UniregError, UsageError, WeightsError
from unireg_cli.io.header import HeaderChoice
from unireg_cli.io.points import PointSpace
from unireg_cli.types import Modality, Mode, Similarity, TransformFormat, TransformKind


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_help_is_instant():
    """Beside the help of a Typer program with nothing of its own, in one run: half a second is for an idle machine to hold."""
    empty = "import typer; app = typer.Typer(); app.command()(lambda: None); app(['--help'])"
    least, ours = [], []
    for _ in range(5):
        begun = children_seconds()
        subprocess.run([sys.executable, "-c", empty], capture_output=True, check=True)
        between = children_seconds()
        done = subprocess.run([sys.executable, "-m", "unireg_cli", "register", "--help"], capture_output=True, check=True)
        least.append(between - begun)
        ours.append(children_seconds() - between)
    assert b"--fail-on-folding" in done.stdout
    # The least of each, because others on the machine only add.
    assert min(ours) < 2 * min(least)


def test_the_app_loads_nothing_heavy():
    code = "import json, sys, unireg_cli.app; print(json.dumps(list(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert {"unireg_cli.commands.register", "unireg_cli.commands.warp", "typer"} <= set(loaded)
    assert {"torch", "SimpleITK", "numpy", "nibabel", "scipy", "h5py", "matplotlib"}.isdisjoint(loaded)


def test_help_names_the_commands_and_their_flags(capsys):
    assert main(["--help"]) == 0
    assert {"register", "warp", "anatomies", "demo"} <= set(capsys.readouterr().out.split())
    register = ("--also", "--pairs", "--init", "--anatomy", "--mode", "--weights")
    for command, wanted in (("register", register), ("warp", ("--points", "--invert"))):
        assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        assert all(flag in text for flag in wanted)


def test_no_words_show_the_help_and_fail(capsys):
    assert main([]) == 2
    said = capsys.readouterr()
    assert "register" in said.out + said.err and "error" not in said.err


def test_version_names_packages_and_licences(capsys):
    assert main(["--version"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("unireg 0.") and "SimpleITK 2" in text and "Apache-2.0" in text


def test_version_names_the_shipped_weights_or_what_is_wrong_with_them(capsys, shipped, save_weights):
    assert main(["--version"]) == 0 and "No network weights" in capsys.readouterr().out
    path = save_weights(shipped / "unireg-base.safetensors", licence="for research")
    assert main(["--version"]) == 0 and "Weights unireg-base (step 12): for research." in capsys.readouterr().out
    path.with_suffix(".json").write_text("{")
    assert main(["--version"]) == 0 and "unireg-base.json: damaged" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["nonsense"], ["register", "--nonsense"], ["register", "a", "b", "c"], ["warp", "--threads", "many"]])
def test_wrong_words_are_one_line_and_code_2(capsys, words):
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("unireg: error: ") and said.err.count("\n") == 1


def test_the_words_on_the_command_line_are_those_of_the_library():
    """flags.py repeats them, because the library's own load numpy."""
    for words, kind in (
        (flags.ModalityWord, Modality),
        (flags.TransformWord, TransformKind),
        (flags.ModeWord, Mode),
        (flags.SimilarityWord, Similarity),
        (flags.FormatWord, TransformFormat),
        (flags.HeaderWord, HeaderChoice),
        (flags.SpaceWord, PointSpace),
    ):
        assert get_args(words) == tuple(kind)


class TorchOutOfMemoryError(RuntimeError):
    pass


TorchOutOfMemoryError.__name__ = "OutOfMemoryError"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UniregError("said"), 1, "said"),
        (UsageError("said"), 2, "said"),
        (GeometryError("said\nin two lines"), 3, "said in two lines"),
        (WeightsError("said"), 4, "said"),
        (OutOfMemoryError("said"), 5, "said"),
        (QualityGateError("said"), 6, "said"),
        (MemoryError(), 5, "--transform affine"),
        (TorchOutOfMemoryError("CUDA"), 5, "--device cpu"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), 5, "not enough memory"),
        (RuntimeError("size mismatch"), 1, "RuntimeError: size mismatch"),
        (KeyError("x"), 1, "KeyError"),
        (OSError(28, "No space left on device", "out.h5"), 1, "out.h5: No space left on device"),
    ],
)
def test_every_error_is_one_line_and_an_exit_code(capsys, monkeypatch, error, code, words):
    def fail(_words):
        raise error

    monkeypatch.setattr(__main__, "_run", fail)
    assert main([]) == code
    said = capsys.readouterr().err
    assert said.startswith("unireg: error: ") and said.count("\n") == 1 and words in said


def test_traceback_under_v_only(capsys, monkeypatch):
    from unireg_cli.commands.session import start_logging

    def fail(_words):
        start_logging(verbose=True)
        raise KeyError("x")

    monkeypatch.setattr(__main__, "_run", fail)
    assert main([]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_clean_up_and_say_so(capsys, monkeypatch, number, code):
    cleaned = []

    def work(_words):
        try:
            os.kill(os.getpid(), number)
        finally:
            cleaned.append(True)

    before = signal.getsignal(number)
    monkeypatch.setattr(__main__, "_run", work)
    assert main([]) == code
    assert cleaned and signal.getsignal(number) is before
    assert capsys.readouterr().err.startswith("unireg: error: ")


def test_reader_of_stdout_that_leaves_is_no_success(monkeypatch, capsys):
    def fail(_words):
        raise BrokenPipeError

    monkeypatch.setattr(__main__, "_run", fail)
    monkeypatch.setattr(__main__, "_silence_stdout", lambda: None)
    assert main([]) == 1
    assert capsys.readouterr().err == ""


def test_logging_leaves_no_trace(monkeypatch):
    logger = logging.getLogger("unireg")
    before = list(logger.handlers)
    monkeypatch.setattr(__main__, "_run", lambda _words: 0)
    assert main([]) == 0
    assert logger.handlers == before and logger.propagate
