"""The interfaces know every option of their commands, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import typer

from unireg_cli.app import app

COMMANDS = ("register", "warp", "evaluate")


def interface(interfaces: ModuleType, command: str) -> Any:
    return getattr(interfaces, command.capitalize())


def parameters(command: str) -> tuple[set[str], set[str]]:
    """Long flags, and what each positional word is called."""
    commands: Any = typer.main.get_command(app)
    if command not in commands.commands:
        pytest.skip(f"unireg {command} does not exist in this version")
    known = commands.commands[command].params
    flags = {max(parameter.opts, key=len) for parameter in known if parameter.param_type_name == "option"}
    return flags - {"--help"}, {parameter.name for parameter in known if parameter.param_type_name == "argument"}


def covered(interfaces: ModuleType, command: str) -> tuple[set[str], set[str]]:
    """Flags that some input writes, and the inputs that are words without a flag."""
    formats = {name: trait.argstr for name, trait in interface(interfaces, command).input_spec().traits().items() if trait.argstr}
    own = {name: text for name, text in formats.items() if name != "args"}
    return {text.split()[0] for text in own.values() if text.startswith("--")}, {name for name, text in own.items() if text == "%s"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_an_input_and_every_input_an_option(interfaces: ModuleType, command: str) -> None:
    flags, words = parameters(command)
    inputs, bare = covered(interfaces, command)
    assert inputs == flags
    # FIXED and MOVING are --fixed and --moving, too.
    assert words - {name for name in words if f"--{name}" in flags} == bare


@pytest.mark.parametrize("command", COMMANDS)
def test_inputs_are_named_like_the_flags_and_say_what_they_do(interfaces: ModuleType, command: str) -> None:
    """But --threads is Nipype's own num_threads, which its plugins count."""
    traits = interface(interfaces, command).input_spec().traits()
    ours = {name: trait for name, trait in traits.items() if not name.startswith("trait_") and name not in ("args", "environ")}
    assert ours and all(trait.desc for trait in ours.values())
    other = {name for name, trait in ours.items() if (trait.argstr or "").startswith("--") and trait.argstr.split()[0] != flag(name)}
    assert other <= {"num_threads", "init_transforms"}


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@pytest.mark.parametrize("command", COMMANDS)
def test_outputs_say_what_they_are(interfaces: ModuleType, command: str) -> None:
    traits = interface(interfaces, command).output_spec().traits()
    ours = {name: trait for name, trait in traits.items() if not name.startswith("trait_")}
    assert ours and all(trait.desc for trait in ours.values())


def test_without_nipype_the_import_says_what_to_install() -> None:
    code = "import sys; sys.modules['nipype'] = None; import unireg_cli.interfaces"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and "Error: unireg_cli.interfaces needs Nipype" in last and "pip install 'unireg[nipype]'" in last


def test_an_error_of_nipype_itself_is_not_called_its_absence() -> None:
    code = "import sys; sys.modules['traits'] = None; import unireg_cli.interfaces"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"NIPYPE_NO_ET": "1"})
    if "No module named 'nipype'" not in done.stderr and "needs Nipype" in done.stderr:
        pytest.skip("needs Nipype (pip install 'unireg[nipype]')")
    assert done.returncode == 1 and "traits" in done.stderr.strip().splitlines()[-1]
