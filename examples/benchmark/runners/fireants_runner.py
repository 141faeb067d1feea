"""FireANTs as in its documentation's Quickstart: affine by CC 5, then the greedy compositive registration; from START the second half.

The affine starts from the first moments, as its page on moments shows. Everything runs on the CPU, where it has no fused kernels. It cannot
register a fixed image with fewer than 32 voxels along a side: such a one is made isotropic first, as for ConvexAdam, with as many at least.
"""

from __future__ import annotations

import time
from importlib.metadata import version

from common import isotropic, leave_note, matrix_of, read_job

# fireants.utils.globals.MIN_IMG_SIZE
LEAST = 32


def main() -> None:
    """Run the job of this process."""
    job = read_job()
    import SimpleITK as sitk
    import torch
    from fireants.io import BatchedImages, Image
    from fireants.registration.affine import AffineRegistration
    from fireants.registration.greedy import GreedyRegistration
    from fireants.registration.moments import MomentsRegistration

    torch.set_num_threads(job.threads)
    native, there = (sitk.ReadImage(path, sitk.sitkFloat32) for path in (job.fixed, job.moving))
    lattice = isotropic(native, LEAST) if min(native.GetSize()) < LEAST else native
    here = sitk.Resample(native, lattice, sitk.Transform(), sitk.sitkLinear, 0.0)
    fixed, moving = (BatchedImages([Image(image, device="cpu")]) for image in (here, there))
    quiet = {"progress_bar": False}
    begin = time.perf_counter()
    if job.start is None:
        moments = MomentsRegistration(1, fixed, moving, moments=1, **quiet)
        moments.optimize()
        linear = {"optimizer": "Adam", "optimizer_lr": 3e-3, "cc_kernel_size": 5, "init_rigid": moments.get_affine_init()}
        affine = AffineRegistration([4, 2, 1], [200, 100, 50], fixed, moving, **linear, **quiet)
        affine.optimize()
        matrix = affine.get_affine_matrix().detach()
    else:
        matrix = torch.from_numpy(matrix_of(job.start)).float()[None]
    bending = {"cc_kernel_size": 5, "deformation_type": "compositive", "smooth_grad_sigma": 1, "optimizer": "adam", "optimizer_lr": 0.5}
    warp = GreedyRegistration([4, 2, 1], [200, 100, 25], fixed, moving, init_affine=matrix, **bending, **quiet)
    warp.optimize()
    seconds = time.perf_counter() - begin
    warp.save_as_ants_transforms(str(job.folder / "found.nii.gz"))
    found = sitk.ReadImage(str(job.folder / "found.nii.gz"))
    sitk.WriteImage(sitk.Resample(found, native, sitk.Transform(), sitk.sitkLinear), str(job.folder / "total.nii.gz"))
    size = " x ".join(map(str, lattice.GetSize()))
    note = "" if lattice is native else f"on a lattice of {size} voxels: it needs {LEAST} along every side"
    leave_note(job, "total.nii.gz", seconds, f"fireants {version('fireants')}, torch {torch.__version__}", note)


if __name__ == "__main__":
    main()
