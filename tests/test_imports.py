"""Doors open one way: the rooms of the package and what each may import (architecture)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainer.pool
import unireg_cli

PACKAGE = Path(unireg_cli.__file__).parent
# By a module of it: in an editable install the bare name may also be found as the folder of its tests.
TRAINER = Path(trainer.pool.__file__).parent
# A room may import itself and these. Rooms not named (commands and the app above them) may import everything.
FLOOR = {"errors", "types"}
ALLOWED = {
    "errors": set(),
    "types": {"errors"},
    "spatial": FLOOR,
    "similarity": FLOOR | {"spatial"},
    "registration": FLOOR | {"spatial", "similarity", "model"},
    "phantom": FLOOR | {"spatial"},
    "model": FLOOR | {"spatial"},
    "evaluation": FLOOR | {"spatial"},
    "report": FLOOR | {"spatial", "similarity", "registration", "evaluation", "io"},
    "io": FLOOR | {"spatial", "registration"},
    # A package of its own beside this one.
    "trainer": FLOOR | {"spatial", "similarity", "registration", "phantom", "model", "evaluation", "io"},
}
FILE_LIBRARIES = {"SimpleITK", "nibabel", "h5py", "safetensors", "pydicom"}
TERMINAL_LIBRARIES = {"typer", "rich", "click"}
# The manual reads what the commands have told Typer.
TERMINAL_ROOMS = {"commands", "manual"}
# Images handed over as objects of these libraries, and ITK's number of threads: no files.
OBJECT_LIBRARIES = {"api.py": {"SimpleITK"}, "commands/resources.py": {"SimpleITK"}}
TOP = {"app.py", "__main__.py"}


def imported(tree: ast.AST, module: str) -> Iterator[str]:
    """Absolute names of everything a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def wrong_doors(name: str, source: str) -> list[str]:
    """What is wrong with the imports of one file, ``name`` relative to the package, or ``trainer/...`` of the one beside it."""
    room = name.removesuffix(".py").split("/")[0]
    module = ".".join([*([] if room == "trainer" else ["unireg_cli"]), *name.removesuffix(".py").split("/")])
    problems = []
    for found in imported(ast.parse(source), module):
        top, _, rest = found.partition(".")
        other = rest.split(".")[0]
        if top == "unireg_cli" and room in ALLOWED and other not in ALLOWED[room] | {room}:
            problems.append(f"{name} imports {found}")
        if top == "trainer" and room not in ("trainer", "commands"):
            problems.append(f"{name} imports {found}: only commands train")
        if top in TERMINAL_LIBRARIES and room not in TERMINAL_ROOMS and name not in TOP:
            problems.append(f"{name} imports {found}: only commands talk to a terminal")
        if top in FILE_LIBRARIES and room != "io" and top not in OBJECT_LIBRARIES.get(name, set()):
            problems.append(f"{name} imports {found}: only io knows files")
    return problems


def test_every_import_goes_through_an_open_door() -> None:
    files = {file.relative_to(PACKAGE).as_posix(): file for file in sorted(PACKAGE.rglob("*.py"))}
    own = len(files)
    files |= {file.relative_to(TRAINER.parent).as_posix(): file for file in sorted(TRAINER.rglob("*.py"))}
    assert own > 10 and len(files) - own > 10
    problems = [problem for name, file in files.items() for problem in wrong_doors(name, file.read_text("utf-8"))]
    assert problems == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("spatial/grid.py", "from unireg_cli.registration.settings import Settings"),
        ("spatial/grid.py", "from unireg_cli import io"),
        ("spatial/grid.py", "from ..io import images"),
        ("spatial/grid.py", "def f():\n    import SimpleITK as sitk"),
        ("similarity/lncc.py", "import unireg_cli.registration.settings"),
        ("registration/pipeline.py", "from rich.progress import Progress"),
        ("registration/pipeline.py", "from unireg_cli.io.images import read_image"),
        ("io/images.py", "import typer"),
        ("io/images.py", "from unireg_cli.commands.register import register"),
        ("api.py", "import nibabel"),
        ("exchange.py", "import h5py"),
        ("commands/warp.py", "import h5py"),
        ("registration/pipeline.py", "from trainer.losses import overlap"),
        ("api.py", "import trainer.run"),
        ("trainer/run.py", "from unireg_cli.commands.session import logger"),
        ("trainer/run.py", "from unireg_cli import report"),
        ("trainer/figures/shapes.py", "import SimpleITK"),
        ("trainer/run.py", "from rich.progress import Progress"),
    ],
)
def test_closed_doors_are_seen(name: str, source: str) -> None:
    assert len(wrong_doors(name, source)) == 1


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after a statement."""
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_spatial_loads_no_file_or_terminal_library() -> None:
    loaded = loaded_by("import unireg_cli.spatial, unireg_cli.spatial.resample, unireg_cli.spatial.jacobian, unireg_cli.spatial.velocity")
    assert {"torch", "numpy", "unireg_cli"} <= loaded
    assert loaded.isdisjoint(FILE_LIBRARIES | {"typer", "rich", "matplotlib"})


def test_package_itself_loads_nothing_heavy() -> None:
    assert loaded_by("import unireg_cli").isdisjoint({"torch", "numpy", "scipy", "matplotlib"} | FILE_LIBRARIES | TERMINAL_LIBRARIES)
