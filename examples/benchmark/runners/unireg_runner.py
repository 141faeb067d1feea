"""unireg: as its command where it aligns by itself; from START its deformable half alone, through the package.

Words: engine (--weights none), fast, default, best; none writes the start itself, or the identity. The environment variable
UNIREG_WEIGHTS names other weights than the shipped ones, as for the command.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from common import Job, leave_note, matrix_of, read_job

OPTIONS = {"engine": ("--weights", "none"), "fast": ("--fast",), "default": (), "best": ("--best",)}
# Stages of the record that read or write files; the others are the registration.
FILES = ("read", "write", "report")


def main() -> None:
    """Run the job of this process."""
    job = read_job()
    if job.words == ("none",):
        leave_start(job)
    elif job.start is None:
        run_command(job)
    else:
        run_from_start(job)


def leave_start(job: Job) -> None:
    """The start is the result."""
    import SimpleITK as sitk

    target = job.folder / "total.tfm"
    if job.start is None:
        sitk.WriteTransform(sitk.AffineTransform(3), str(target))
    else:
        shutil.copyfile(job.start, target)
    leave_note(job, target.name, 0.0, "-")


def run_command(job: Job) -> None:
    """``unireg register`` as a user types it."""
    prefix = f"{job.folder}/r_"
    words = ["register", job.fixed, job.moving, "-o", prefix, "-q", "--mode", job.mode, "--threads", str(job.threads)]
    words += OPTIONS[job.words[0]]
    subprocess.run([sys.executable, "-m", "unireg_cli", *words], check=True)
    record = json.loads(Path(f"{prefix}.json").read_text("utf-8"))
    seconds = sum(stage["seconds"] for stage in record["timing"]["stages"] if stage["name"] not in FILES)
    weights = record["weights"] or {}
    leave_note(job, "r_Composite.h5", seconds, version_told(str(weights.get("sha256", ""))))


def run_from_start(job: Job) -> None:
    """Prediction and refinement from the given affine, which stays as it is."""
    import torch

    from unireg_cli.io.images import read_image
    from unireg_cli.io.transforms import write_transforms
    from unireg_cli.registration.pipeline import Aligned, bend, prepare
    from unireg_cli.registration.settings import Settings
    from unireg_cli.spatial import Affine, Chain
    from unireg_cli.types import Effort, Mode, TransformFormat

    torch.set_num_threads(job.threads)
    network, smoothness, sha256 = None, None, ""
    mode, effort = Mode(job.mode), Effort(job.words[0]) if job.words[0] != "engine" else Effort.DEFAULT
    if job.words[0] != "engine":
        network, smoothness, sha256 = load(mode)
    settings = Settings(mode=mode, effort=effort, **({} if smoothness is None else {"smoothness": smoothness}))
    fixed, moving = read_image(Path(job.fixed)), read_image(Path(job.moving))
    affine = Affine(matrix_of(job.start or ""))
    begin = time.perf_counter()
    torch.manual_seed(settings.seed)
    with torch.inference_mode():
        pair = prepare(fixed, moving, settings, None, None)
    found = bend(Aligned(fixed, pair, affine, affine, Chain(), None, moving, ()), settings, network=network)
    seconds = time.perf_counter() - begin
    grids = {"fixed": fixed.grid, "moving": moving.grid}
    paths = write_transforms(f"{job.folder}/r_", TransformFormat.H5, found.forward, found.inverse, **grids)
    leave_note(job, Path(paths["forward"]).name, seconds, version_told(sha256))


def load(mode: object) -> tuple[object, float, str]:
    """The network that the command would take, its own smoothness for ``mode``, and its SHA-256."""
    from unireg_cli.io.weights import find_weights
    from unireg_cli.io.weights_config import own_smoothness
    from unireg_cli.loading import load_model

    path = find_weights(os.environ.get("UNIREG_WEIGHTS"))
    if path is None:
        raise SystemExit("no weights to run with; this row needs them")
    model = load_model(path)
    return model.network, own_smoothness(model.weights.config, mode), model.weights.sha256


def version_told(sha256: str) -> str:
    """The package's version, and which weights."""
    from importlib.metadata import version

    return f"unireg {version('unireg')}, weights {sha256[:12] or 'none'}"


if __name__ == "__main__":
    main()
