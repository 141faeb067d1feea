"""ANTs through ANTsPy: its own preset SyN, or the stages of the authors' scripts as calls of antsRegistration.

``preset`` is ants.registration's default. ``quick`` and ``cc RADIUS`` are antsRegistrationSyNQuick.sh and antsRegistrationSyN.sh -t s as
of ANTs 2.6: intensities winsorised to [0.005, 0.995], centres of mass, rigid and affine by MI with 32 bins on a quarter of the voxels, then
SyN[0.2,3,0]; no step at full resolution in the quick one. With START: SyN alone from there, as -t so -i START does.
"""

from __future__ import annotations

import os
import shutil
import time
from importlib.metadata import version

from common import Job, leave_note, read_job

# The scripts take other scales for images with more voxels along a side.
LARGEST_SIDE = 256
SHRINK, SMOOTH = "8x4x2x1", "3x2x1x0vox"


def main() -> None:
    """Run the job of this process."""
    job = read_job()
    os.environ["ANTS_RANDOM_SEED"] = "1"  # the preset gives no seed of its own
    import ants

    fixed, moving = ants.image_read(job.fixed), ants.image_read(job.moving)
    prefix = f"{job.folder}/ants_"
    begin = time.perf_counter()
    if job.words[0] == "preset":
        kind = "SyN" if job.start is None else "SyNOnly"
        initial = {} if job.start is None else {"initial_transform": [job.start]}
        transforms = ants.registration(fixed, moving, kind, outprefix=prefix, **initial)["fwdtransforms"]
    else:
        if max(fixed.shape) > LARGEST_SIDE:
            raise SystemExit(f"{job.fixed}: the scripts' settings for sides above {LARGEST_SIDE} voxels are not written here")
        ants.registration(script_words(job, prefix), None)
        transforms = [f"{prefix}1Warp.nii.gz", f"{prefix}0GenericAffine.mat"]
    seconds = time.perf_counter() - begin
    total = ants.apply_transforms(fixed, moving, transforms, compose=f"{job.folder}/composed_")
    shutil.move(total, job.folder / "total.nii.gz")
    leave_note(job, "total.nii.gz", seconds, f"antspyx {version('antspyx')}")


def script_words(job: Job, prefix: str) -> list[str]:
    """The call of antsRegistration that the script would make, without its warped images."""
    quick = job.words[0] == "quick"
    pair = f"{job.fixed},{job.moving},1"
    metric = f"MI[{pair},32]" if quick else f"CC[{pair},{job.words[1]}]"
    scales = ["--shrink-factors", SHRINK, "--smoothing-sigmas", SMOOTH]
    words = ["--dimensionality", "3", "--float", "0", "--collapse-output-transforms", "1", "--output", prefix, "--interpolation", "Linear"]
    words += ["--use-histogram-matching", "0", "--winsorize-image-intensities", "[0.005,0.995]", "--random-seed", "1"]
    words += ["--initial-moving-transform", f"[{pair}]" if job.start is None else job.start]
    if job.start is None:
        for kind in ("Rigid[0.1]", "Affine[0.1]"):
            steps = f"[1000x500x250x{0 if quick else 100},1e-6,10]"
            words += ["--transform", kind, "--metric", f"MI[{pair},32,Regular,0.25]", "--convergence", steps, *scales]
    steps = f"[100x70x50x{0 if quick else 20},1e-6,10]"
    return [*words, "--transform", "SyN[0.2,3,0]", "--metric", metric, "--convergence", steps, *scales]


if __name__ == "__main__":
    main()
