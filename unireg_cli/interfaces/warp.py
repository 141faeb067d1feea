"""``unireg warp`` as a Nipype interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import Directory, File, TraitedSpec, isdefined, traits
from nipype.utils.filemanip import split_filename

from unireg_cli.interfaces.base import NAME, CommonInputSpec, UniregCommand, existing_file, existing_files, existing_image, switch, word


class WarpInputSpec(CommonInputSpec):
    """Named like the flags of ``unireg warp``, with underscores; see its help for what they do."""

    image = existing_image("%s", position=0, mandatory=True, xor=["points"], desc="image, label map or 4-D series")
    transform = existing_files("--transform %s", mandatory=True, desc="transform files in antsApplyTransforms order")
    transform_invert = traits.List(traits.Bool, requires=["transform"], desc="for each of transform: take its inverse")
    output = File(argstr="--output %s", genfile=True, **NAME, desc="file to write; default INPUT_warped in the node's folder")
    dicom_out = Directory(argstr="--dicom-out %s", **NAME, desc="folder for the warped image as a DICOM series, too")
    reference = existing_image("--reference %s", desc="image whose grid the result is on")
    invert = switch("--invert", desc="take the inverse of the whole chain")
    interpolation = traits.Str(argstr="--interpolation %s", desc="linear, nearest, label, bspline, or antsApplyTransforms' names")
    default_value = traits.Float(argstr="--default-value %s", desc="where there is no data")
    points = existing_file("--points %s", mandatory=True, xor=["image"], desc="CSV with columns x,y,z instead of an image")
    space = word("--space %s", "lps", "ras", "voxel", requires=["points"], desc="of the points, in and out")
    moving_grid = existing_image("--moving-grid %s", desc="with space voxel: the image whose voxels the points count")
    header = word("--header %s", "check", "sform", "qform", desc="which NIfTI matrix to believe where the two differ")


class WarpOutputSpec(TraitedSpec):  # type: ignore[misc]  # Nipype has no types
    """One file, whatever was warped."""

    warped = File(exists=True, desc="warped image, label map, series or points")
    dicom = Directory(exists=True, desc="folder of the warped DICOM series")


class Warp(UniregCommand):
    """Warp an image, a label map, a 4-D series or points through transform files.

    >>> warp = Warp(interpolation="label")
    """

    _cmd = "unireg warp"
    input_spec = WarpInputSpec
    output_spec = WarpOutputSpec

    def _format_arg(self, name: str, spec: Any, value: Any) -> str | None:
        return super()._format_arg(name, spec, self._chain(name, "transform_invert") if name == "transform" else value)

    def _gen_filename(self, _name: str) -> str:
        """``output``, where it is not given; a folder of DICOM files becomes a NIfTI file."""
        source = self.inputs.image if isdefined(self.inputs.image) else self.inputs.points
        _, stem, suffix = split_filename(source)
        return f"{stem}_warped{suffix}" if Path(source).is_file() else f"{stem}{suffix}_warped.nii.gz"

    def _list_outputs(self) -> dict[str, Any]:
        output = self._given("output") or self._gen_filename("output")
        series = self._given("dicom_out")
        return {"warped": str(Path(output).absolute())} | ({"dicom": str(Path(series).absolute())} if series else {})
