"""The rules of the Containerfile, read from its text: nothing is built here."""

from __future__ import annotations

import fnmatch
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

# The source folder beside these tests, not the installed package.
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Step:
    """One instruction; ``stage`` counts the FROM lines before it, the first being 0."""

    word: str
    rest: str
    stage: int


def parse(text: str) -> list[Step]:
    """Instructions in order: comment lines left out, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    steps: list[Step] = []
    stage = -1
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            stage += word == "FROM"
            steps.append(Step(word, " ".join(rest.split()), stage))
    return steps


def copied(steps: list[Step]) -> set[str]:
    """What comes from the folder itself."""
    words = [shlex.split(step.rest) for step in steps if step.word == "COPY" and "--from" not in step.rest]
    return {source for line in words for source in line[:-1]}


def problems(text: str) -> list[str]:
    """Which rules a Containerfile breaks."""
    steps = parse(text)
    last = [step for step in steps if step.stage == steps[-1].stage]
    found = []
    for step in steps:
        if step.word == "FROM":
            image = step.rest.split()[0]
            if not re.fullmatch(r"[a-z0-9]+:[\w.-]+", image) or image.endswith(":latest"):
                found.append(f"{image}: a base image is a plain name and a version, without a host")
    if re.search(r"https?:|\b(curl|wget|git clone)\b", text) or any(step.word == "ADD" for step in steps):
        found.append("fetches something by its address")
    users = [place for place, step in enumerate(last) if step.word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", last[users[-1]].rest):
        found.append("ends as root, or as a user whose number is not said")
    runs = [(place, step) for place, step in enumerate(last) if step.word == "RUN"]
    if any(re.search(r"\b(pip|apt|apt-get)\b", step.rest) for _, step in runs):
        found.append("installs in the last stage")
    if users and any(place > users[-1] and "--network=none" not in step.rest for place, step in runs):
        found.append("the user's own steps may use the network")
    for word in ("ENTRYPOINT", "CMD"):
        if [step.rest[:1] for step in last if step.word == word] != ["["]:
            found.append(f"{word} is not one list of words")
    return found


@pytest.fixture(scope="module")
def text() -> str:
    if not (ROOT / "Containerfile").is_file():
        pytest.skip("needs the source folder of unireg, which an installed package lacks")
    return (ROOT / "Containerfile").read_text("utf-8")


def test_it_keeps_the_rules(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("FROM python:", "FROM registry.example/python:", "without a host"),
        ("FROM python:3.12-slim-bookworm\n", "FROM python:latest\n", "without a host"),
        ("USER 1000:1000", "USER root", "as root"),
        ("USER 1000:1000", "", "as root"),
        ("USER 1000:1000", "USER 1000:1000\nUSER 0:0", "as root"),
        ("RUN --network=none", "RUN", "may use the network"),
        ("RUN useradd", "RUN pip install x && useradd", "installs in the last stage"),
        ("COPY trainer trainer", "ADD https://example.org/x.tar /x", "by its address"),
        ('ENTRYPOINT ["unireg"]', "ENTRYPOINT unireg", "ENTRYPOINT"),
    ],
)
def test_broken_rules_are_seen(text: str, old: str, new: str, hint: str) -> None:
    assert old in text
    assert any(hint in problem for problem in problems(text.replace(old, new)))


def test_it_copies_what_the_package_is_made_of(text: str) -> None:
    """Code, weights and papers, as pyproject.toml lists them; without one of them the build or the program would fail."""
    sources = copied(parse(text))
    assert all((ROOT / source).exists() for source in sources)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    build = project["tool"]["setuptools"]
    folders = {build["package-dir"].get(name.split(".")[0], name.split(".")[0]) for name in build["packages"]}
    files = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    data = {str(PurePosixPath(pattern).parent) for patterns in build.get("data-files", {}).values() for pattern in patterns}
    assert sources == folders | files | data and "weights" in folders
    assert any(path.suffix == ".safetensors" for path in (ROOT / "weights").iterdir())


def test_the_extras_it_names_exist(text: str) -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    named = {name for group in re.findall(r"\[([a-z,]+)\]", text) for name in group.split(",")}
    assert named and named <= set(known)


def test_nothing_else_reaches_the_build(text: str) -> None:
    """The ignore file lets pass what is copied: everything is left out first."""
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert kept == copied(parse(text))
    out = [line for line in lines[1:] if not line.startswith("!")]
    assert any(fnmatch.fnmatch("unireg_cli/io/__pycache__", pattern) for pattern in out)


def test_what_it_runs_is_there(text: str) -> None:
    steps = parse(text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert [step.rest for step in steps if step.word == "ENTRYPOINT"] == ['["unireg"]'] and "unireg" in project["scripts"]
    versions = {tuple(map(int, found.split("."))) for found in re.findall(r"^FROM python:(\d+\.\d+)", text, re.MULTILINE)}
    lowest = re.fullmatch(r">=(\d+)\.(\d+)", project["requires-python"])
    assert lowest is not None and all(version >= (int(lowest[1]), int(lowest[2])) for version in versions) and len(versions) == 1
