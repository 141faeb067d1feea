"""greedy as a yardstick, if its program is there: affine, then deformable, with its documented defaults."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from pathlib import Path

from bench import Case

from unireg_cli.io.images import write_image
from unireg_cli.io.transforms import read_transform
from unireg_cli.spatial import Chain


def greedy_chain(command: str, case: Case) -> Chain:
    """Fixed -> moving by greedy: NCC 4 affine from image centres, then NCC 2, 100x70x20.

    Args:
        command: the program, with words before its options if need be (it is called as ``COMMAND -d 3 -i ...``).
        case: the pair; its images are written to a temporary folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        for image, name in zip(case.images, ("fixed", "moving"), strict=True):
            write_image(here / f"{name}.nii.gz", image)
        pair = f"-i {here}/fixed.nii.gz {here}/moving.nii.gz"
        for options in (
            f"{pair} -a -dof 12 -ia-image-centers -m NCC 4x4x4 -n 100x50x10 -o {here}/affine.mat",
            f"{pair} -it {here}/affine.mat -m NCC 2x2x2 -n 100x70x20 -s 1.732vox 0.707vox -o {here}/warp.nii.gz",
            f"-rf {here}/fixed.nii.gz -rc {here}/total.nii.gz -r {here}/warp.nii.gz {here}/affine.mat",
        ):
            subprocess.run([*shlex.split(command), "-d", "3", *options.split(), "-V", "0"], check=True)
        return read_transform(here / "total.nii.gz")
