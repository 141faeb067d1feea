"""ConvexAdam with MIND features at its package's defaults, from the shared START; it has no affine of its own.

The moving image is resampled once through START onto the fixed grid, as the method asks for. A fixed image whose voxels are not
isotropic is made so first, with its finest spacing (the package's own test for anisotropic images takes 1 mm, which would be a hundred
million voxels for an abdomen).
"""

from __future__ import annotations

import time
from importlib.metadata import version

from common import isotropic, leave_note, read_job


def main() -> None:
    """Run the job of this process."""
    job = read_job()
    if job.start is None:
        raise SystemExit("ConvexAdam needs a start: it has no affine stage of its own")
    import numpy as np
    import SimpleITK as sitk
    import torch
    from convexAdam.convex_adam_MIND import convex_adam_pt

    torch.set_num_threads(job.threads)
    fixed, moving = (sitk.ReadImage(path, sitk.sitkFloat32) for path in (job.fixed, job.moving))
    start = sitk.ReadTransform(job.start)
    begin = time.perf_counter()
    lattice = isotropic(fixed)
    here = sitk.Resample(fixed, lattice, sitk.Transform(), sitk.sitkLinear, 0.0)
    there = sitk.Resample(moving, lattice, start, sitk.sitkLinear, 0.0)
    found = convex_adam_pt(here, there, device=torch.device("cpu"))
    seconds = time.perf_counter() - begin
    # Index displacements, components z, y, x as the array's axes, become mm along x, y, z of the world.
    direction = np.array(lattice.GetDirection()).reshape(3, 3)
    vectors = (found[..., ::-1] * np.array(lattice.GetSpacing())) @ direction.T
    field = sitk.GetImageFromArray(np.ascontiguousarray(vectors, np.float64), isVector=True)
    field.CopyInformation(lattice)
    # What is added last is applied first: x + u(x), then the start.
    total = sitk.CompositeTransform([start, sitk.DisplacementFieldTransform(field)])
    grid = (fixed.GetSize(), fixed.GetOrigin(), fixed.GetSpacing(), fixed.GetDirection())
    sitk.WriteImage(sitk.TransformToDisplacementField(total, sitk.sitkVectorFloat32, *grid), str(job.folder / "total.nii.gz"))
    note = "" if lattice.GetSize() == fixed.GetSize() else f"on an isotropic lattice of {lattice.GetSpacing()[0]:.2f} mm"
    leave_note(job, "total.nii.gz", seconds, f"convexadam {version('convexadam')}, torch {torch.__version__}", note)


if __name__ == "__main__":
    main()
