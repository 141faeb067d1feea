"""elastix with the default affine and B-spline parameter files of its authors' model zoo; from START the B-spline file alone.

The wheel itk-elastix runs in a process of its own. Where that crashes, the programs elastix and transformix do it if they are on the PATH
(Debian's package elastix), and the note says so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from common import Job, leave_note, matrix_of, read_job

# ElastixModelZoo, models/default. Components first, then what differs between the two.
SHARED = {
    "FixedInternalImagePixelType": "float",
    "MovingInternalImagePixelType": "float",
    "FixedImageDimension": 3,
    "MovingImageDimension": 3,
    "UseDirectionCosines": "true",
    "Registration": "MultiResolutionRegistration",
    "Interpolator": "BSplineInterpolator",
    "ResampleInterpolator": "FinalBSplineInterpolator",
    "Resampler": "DefaultResampler",
    "FixedImagePyramid": "FixedRecursiveImagePyramid",
    "MovingImagePyramid": "MovingRecursiveImagePyramid",
    "Optimizer": "AdaptiveStochasticGradientDescent",
    "Metric": "AdvancedMattesMutualInformation",
    "HowToCombineTransforms": "Compose",
    "NumberOfHistogramBins": 32,
    "ErodeMask": "false",
    "NumberOfResolutions": 4,
    "NumberOfSpatialSamples": 2048,
    "NewSamplesEveryIteration": "true",
    "ImageSampler": "Random",
    "BSplineInterpolationOrder": 1,
    "FinalBSplineInterpolationOrder": 3,
    "DefaultPixelValue": 0,
    "WriteResultImage": "false",
}
AFFINE = {"Transform": "AffineTransform", "AutomaticScalesEstimation": "true", "AutomaticTransformInitialization": "true"}
STAGES = {
    "affine": SHARED | AFFINE | {"MaximumNumberOfIterations": 250},
    "bspline": SHARED | {"Transform": "BSplineTransform", "FinalGridSpacingInPhysicalUnits": 16, "MaximumNumberOfIterations": 500},
}


def main() -> None:
    """Run the job of this process, or the wheel's part of it."""
    wheel = sys.argv[1] == "wheel"
    if wheel:
        del sys.argv[1]
    job = read_job()
    files = write_files(job)
    if wheel:
        run_wheel(job, files)
        return
    done = subprocess.run([sys.executable, __file__, "wheel", *sys.argv[1:]], check=False)
    if done.returncode == 0:
        return
    if done.returncode > 0 or not (shutil.which("elastix") and shutil.which("transformix")):
        raise SystemExit(f"the wheel ended with {done.returncode}, and there are no programs elastix and transformix on the PATH to try")
    run_programs(job, files, done.returncode)


def write_files(job: Job) -> list[Path]:
    """Parameter files in elastix's own format, and the start as the transform that it continues from."""
    stages = ("affine", "bspline") if job.start is None else ("bspline",)
    paths = [job.folder / f"{stage}.txt" for stage in stages]
    for stage, path in zip(stages, paths, strict=True):
        path.write_text("\n".join(f"({name} {_word(value)})" for name, value in STAGES[stage].items()) + "\n", "utf-8")
    if job.start is not None:
        (job.folder / "start.txt").write_text(_start_file(job), "utf-8")
    return paths


def _word(value: str | int) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _start_file(job: Job) -> str:
    import SimpleITK as sitk

    matrix = matrix_of(job.start or "")
    image = sitk.ReadImage(job.fixed)
    numbers = {
        "TransformParameters": [*matrix[:3, :3].ravel().tolist(), *matrix[:3, 3].tolist()],
        "CenterOfRotationPoint": [0, 0, 0],
        "Size": image.GetSize(),
        "Index": [0, 0, 0],
        "Spacing": image.GetSpacing(),
        "Origin": image.GetOrigin(),
        # elastix writes directions column by column.
        "Direction": [image.GetDirection()[3 * row + column] for column in range(3) for row in range(3)],
    }
    words = {
        "Transform": "AffineTransform",
        "InitialTransformParametersFileName": "NoInitialTransform",
        "HowToCombineTransforms": "Compose",
        "FixedInternalImagePixelType": "float",
        "MovingInternalImagePixelType": "float",
        "UseDirectionCosines": "true",
        "ResampleInterpolator": "FinalBSplineInterpolator",
        "Resampler": "DefaultResampler",
    }
    lines = [f'({name} "{value}")' for name, value in words.items()]
    lines += ["(NumberOfParameters 12)", "(FixedImageDimension 3)", "(MovingImageDimension 3)"]
    lines += ["(FinalBSplineInterpolationOrder 3)", "(DefaultPixelValue 0)"]
    lines += [f"({name} {' '.join(map(str, values))})" for name, values in numbers.items()]
    return "\n".join(lines) + "\n"


def run_wheel(job: Job, files: list[Path]) -> None:
    """ITKElastix, images and result in memory."""
    import itk

    fixed, moving = itk.imread(job.fixed, itk.F), itk.imread(job.moving, itk.F)
    parameters = itk.ParameterObject.New()
    for path in files:
        parameters.AddParameterFile(str(path))
    begin = time.perf_counter()
    more = {} if job.start is None else {"initial_transform_parameter_file_name": str(job.folder / "start.txt")}
    wanted = {"parameter_object": parameters, "number_of_threads": job.threads, "log_to_console": False, **more}
    _, found = itk.elastix_registration_method(fixed, moving, **wanted)
    seconds = time.perf_counter() - begin
    itk.imwrite(itk.transformix_deformation_field(fixed, found), str(job.folder / "total.nii.gz"))
    leave_note(job, "total.nii.gz", seconds, f"itk-elastix {version('itk-elastix')}")


def run_programs(job: Job, files: list[Path], crash: int) -> None:
    """The same by the programs, which read and write their files within the time."""
    here = str(job.folder)
    begin = time.perf_counter()
    words = ["elastix", "-f", job.fixed, "-m", job.moving, "-out", here, "-threads", str(job.threads)]
    words += [word for path in files for word in ("-p", str(path))]
    subprocess.run(words if job.start is None else [*words, "-t0", f"{here}/start.txt"], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begin
    last = f"{here}/TransformParameters.{len(files) - 1}.txt"
    subprocess.run(["transformix", "-def", "all", "-tp", last, "-out", here], check=True, stdout=subprocess.DEVNULL)
    field = next(job.folder.glob("deformationField.*"))
    said = subprocess.run(["elastix", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    leave_note(job, field.name, seconds, said, f"the wheel crashed ({crash}); done by the program")


if __name__ == "__main__":
    main()
