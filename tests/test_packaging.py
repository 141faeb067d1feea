"""What ``pip install .`` takes along: every package, and the weights with their papers."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

# The source folder beside these tests, not the installed package.
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def build() -> dict[str, Any]:
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("needs the source folder of unireg, which an installed package lacks")
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    return table


def test_every_folder_of_code_is_listed(build: dict[str, Any]) -> None:
    folders = [file.parent for top in ("unireg_cli", "trainer") for file in (ROOT / top).rglob("*.py")]
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(build["packages"]) == packages | {"unireg_weights"}
    assert all((ROOT / name.replace(".", "/") / "__init__.py").is_file() for name in packages)


def test_everything_beside_the_code_is_taken_along(build: dict[str, Any]) -> None:
    for package in ("unireg_cli", "trainer", "unireg_weights"):
        folder = ROOT / build["package-dir"].get(package, package)
        taken = {path for pattern in build["package-data"].get(package, []) for path in folder.glob(pattern)}
        others = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        assert others == taken, package
    assert {"*.safetensors", "*.json", "*.md", "*.toml"} == set(build["package-data"]["unireg_weights"])
