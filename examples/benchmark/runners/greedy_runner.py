"""greedy: affine then deformable, or the one affine or rigid transform that all tools start from.

Settings: greedy's documentation, Quick Start: affine from the images' centres, NCC. ``deform`` runs the whole way, or from START the second
half; ``affine`` and ``rigid`` write the shared start.
"""

from __future__ import annotations

import time
from importlib.metadata import version

from common import leave_note, matrix_of, ras_from_lps, read_job, write_affine


def main() -> None:
    """Run the job of this process."""
    job = read_job()
    import numpy as np
    import SimpleITK as sitk
    from picsl_greedy import Greedy3D

    greedy = Greedy3D()
    affine, warp, total = (job.folder / name for name in ("affine.mat", "warp.nii.gz", "total.nii.gz"))
    thin = min(*sitk.ReadImage(job.fixed).GetSize(), *sitk.ReadImage(job.moving).GetSize())
    # greedy needs four voxels along every side at its coarsest scale; a thin stack gets fewer scales.
    scales = 3 if thin >= 16 else 2 if thin >= 8 else 1
    linear_steps, warp_steps = {3: ("100x50x10", "100x70x20"), 2: ("100x50", "100x70"), 1: ("100", "100")}[scales]
    pair = f"-i {job.fixed} {job.moving} -threads {job.threads} -V 0"
    begin = time.perf_counter()
    if job.start is None:
        dof = 6 if job.words == ("rigid",) else 12
        greedy.execute(f"{pair} -a -dof {dof} -ia-image-centers -m NCC 4x4x4 -n {linear_steps} -o {affine}")
    else:
        np.savetxt(affine, ras_from_lps(matrix_of(job.start)))
    if job.words != ("deform",):
        write_affine(ras_from_lps(np.loadtxt(affine)), job.folder / "total.tfm")
        leave_note(job, "total.tfm", time.perf_counter() - begin, _version())
        return
    greedy.execute(f"{pair} -it {affine} -m NCC 2x2x2 -n {warp_steps} -s 1.732vox 0.707vox -o {warp}")
    seconds = time.perf_counter() - begin
    greedy.execute(f"-rf {job.fixed} -rc {total} -r {warp} {affine} -threads {job.threads} -V 0")
    leave_note(job, total.name, seconds, _version(), "" if scales == 3 else f"{scales} scales: the stack is {thin} voxels thin")


def _version() -> str:
    return f"picsl-greedy {version('picsl-greedy')}"


if __name__ == "__main__":
    main()
