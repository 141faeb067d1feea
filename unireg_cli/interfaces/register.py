"""``unireg register`` as a Nipype interface."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nipype.interfaces.base import Directory, File, InputMultiObject, OutputMultiObject, TraitedSpec, isdefined, traits

from unireg_cli.interfaces.base import (
    MODALITIES,
    NAME,
    NO_MATTER,
    RegistrationInputSpec,
    UniregCommand,
    existing_file,
    existing_files,
    existing_image,
    switch,
    word,
)

if TYPE_CHECKING:
    from unireg_cli.options import RegisterOptions

_DECIDE_OUTPUTS = (
    *("fixed", "moving", "output", "transform", "transform_format"),
    *("jacobian", "log_jacobian", "inverse_warped", "picture", "report", "dicom_out", "bids"),
    *("anatomy", "compare_with", "weights"),
)
# Flag -> inputs with its two values, image and file to write.
_COMPANIONS = {"also": "also_output", "also_labels": "also_labels_output"}


class RegisterInputSpec(RegistrationInputSpec):
    """Named like the flags of ``unireg register``, with underscores; see its help for what they do."""

    fixed = existing_image("--fixed %s", mandatory=True, xor=["pairs"], desc="image whose space is kept: a file, or a DICOM folder")
    moving = existing_image("--moving %s", mandatory=True, xor=["pairs"], desc="image that is warped onto it")
    output = traits.Str(argstr="--output %s", **NAME, desc="beginning of all output names; default MOVING_to_FIXED in the node's folder")
    init = word("--init %s", "none", "header", "centers", "moments", xor=["init_transforms"], desc="where to start; default: try all")
    init_transforms = existing_files("--init %s", xor=["init"], desc="where to start: files in antsApplyTransforms order")
    init_invert = traits.List(traits.Bool, requires=["init_transforms"], desc="for each of init_transforms: take its inverse")
    fixed_modality = word("--fixed-modality %s", *MODALITIES, desc="of the fixed image")
    moving_modality = word("--moving-modality %s", *MODALITIES, desc="of the moving image")
    mode = word("--mode %s", "inter", "intra", desc="two people, or one person twice")
    fixed_mask = existing_file("--fixed-mask %s", desc="where the fixed image counts (not 0)")
    moving_mask = existing_file("--moving-mask %s", desc="where the moving image counts (not 0)")
    fixed_seg = existing_file("--fixed-seg %s", requires=["moving_seg"], desc="label map of the fixed image, to steer by")
    moving_seg = existing_file("--moving-seg %s", requires=["fixed_seg"], desc="label map of the moving image")
    seg_labels = InputMultiObject(traits.Str, argstr="--seg-labels %s", desc="what labels are: 1=liver,2=spleen")
    fixed_points = existing_file("--fixed-points %s", requires=["moving_points"], desc="CSV of landmarks in the fixed image, to steer by")
    moving_points = existing_file("--moving-points %s", requires=["fixed_points"], desc="CSV of the same landmarks in the moving image")
    space = word("--space %s", "lps", "ras", "voxel", desc="of the landmarks")
    compare_with = InputMultiObject(
        traits.Str, argstr="--compare-with %s", desc="a second answer for this anatomy; the outputs are lists of two then"
    )
    also = existing_files("--also %s", requires=["also_output"], desc="warp more images, linearly")
    also_output = InputMultiObject(traits.Str, **NAME, requires=["also"], desc="their names, one for each")
    also_labels = existing_files("--also-labels %s", requires=["also_labels_output"], desc="warp label maps, ids kept")
    also_labels_output = InputMultiObject(traits.Str, **NAME, requires=["also_labels"], desc="their names, one for each")
    transform_format = word("--transform-format %s", "h5", "ants", "nii", desc="how the transforms are written")
    jacobian = switch("--jacobian", desc="write the Jacobian determinant")
    log_jacobian = switch("--log-jacobian", desc="write its natural logarithm")
    inverse_warped = switch("--inverse-warped", desc="write the fixed image in the space of the moving one")
    picture = traits.Either(traits.Bool, File(), argstr="--picture %s", **NAME, desc="write a PNG to judge the result by; or its name")
    report = switch("--report", desc="write a page to judge the result by")
    dicom_out = Directory(argstr="--dicom-out %s", **NAME, desc="folder for the warped image as a DICOM series, too")
    bids = switch("--bids", desc="names by BIDS; output is the folder of the derivatives then")
    interpolation = traits.Str(argstr="--interpolation %s", desc="of the warped image: linear, nearest, bspline, label")
    default_value = traits.Float(argstr="--default-value %s", desc="where there is no data")
    fail_on_folding = traits.Float(argstr="--fail-on-folding %s", desc="fail if more percent of the field are folded")
    dry_run = switch("--dry-run", desc="print what would be done and written; there are no outputs then")
    pairs = existing_file(
        "--pairs %s",
        xor=["fixed", "moving"],
        desc="CSV of many pairs for one process, with absolute paths; the outputs are lists then. The images named in it are hashed too",
    )
    resume = switch("--resume", **NO_MATTER, requires=["pairs"], desc="skip pairs that are complete")

    def get_hashval(self, hash_method: str | None = None) -> tuple[list[Any], str]:
        """Nipype's own, and what the table of pairs names."""
        entries, value = super().get_hashval(hash_method)
        if not isdefined(self.pairs):
            return entries, value
        named = sorted({str(path) for options in _rows(self.pairs, {}) for path in options.inputs})
        found = self._get_sorteddict(named, dictwithhash=True, hash_method=hash_method)
        hashes = self._get_sorteddict(named, hash_method=hash_method)
        return [*entries, ("files of pairs", found)], md5(f"{value} {hashes}".encode()).hexdigest()


class RegisterOutputSpec(TraitedSpec):  # type: ignore[misc]  # Nipype has no types
    """A file each; with ``pairs`` or ``compare_with`` a list each; what was not asked for stays undefined."""

    warped = OutputMultiObject(File(exists=True), desc="moving image on the grid of the fixed one")
    forward = OutputMultiObject(File(exists=True), desc="transform that warps moving to fixed (h5, nii)")
    inverse = OutputMultiObject(File(exists=True), desc="transform that warps fixed to moving (h5, nii)")
    affine = OutputMultiObject(File(exists=True), desc="affine part (ants)")
    warp = OutputMultiObject(File(exists=True), desc="displacement field (ants)")
    inverse_warp = OutputMultiObject(File(exists=True), desc="its inverse (ants)")
    forward_transforms = traits.List(desc="whatever the format: what warps moving to fixed, in antsApplyTransforms order")
    inverse_transforms = traits.List(desc="whatever the format: what warps fixed to moving, in antsApplyTransforms order")
    inverse_transforms_invert = traits.List(desc="for each of inverse_transforms: whether its inverse is to be taken")
    inverse_warped = OutputMultiObject(File(exists=True), desc="fixed image on the grid of the moving one")
    jacobian = OutputMultiObject(File(exists=True), desc="Jacobian determinant of the field")
    log_jacobian = OutputMultiObject(File(exists=True), desc="its natural logarithm")
    picture = OutputMultiObject(File(exists=True), desc="PNG to judge the result by")
    report = OutputMultiObject(File(exists=True), desc="HTML page to judge the result by")
    dicom = OutputMultiObject(Directory(exists=True), desc="folder of the warped DICOM series")
    sidecars = traits.List(desc="JSON files that bids puts beside the others; that of the warped image is record")
    also_warped = OutputMultiObject(File(exists=True), desc="the images of also, then the label maps of also_labels")
    record = OutputMultiObject(File(exists=True), desc="JSON with options, versions, grids, quality, times, warnings")


class Register(UniregCommand):
    """Register two images and get ITK transforms both ways.

    >>> register = Register(transform="affine", num_threads=2)
    """

    _cmd = "unireg register"
    input_spec = RegisterInputSpec
    output_spec = RegisterOutputSpec

    def _format_arg(self, name: str, spec: Any, value: Any) -> str | None:
        if name in _COMPANIONS:
            couples = self._paired(name, _COMPANIONS[name])
            return " ".join(f"{spec.argstr.split()[0]} {shlex.quote(image)} {shlex.quote(output)}" for image, output in couples)
        if name == "init_transforms":
            value = self._chain(name, "init_invert")
        return super()._format_arg(name, spec, value)

    def _list_outputs(self) -> dict[str, Any]:
        if self._given("dry_run"):
            return {}
        if self._given("pairs") is not None:
            return _side_by_side(_rows(self.inputs.pairs, self._words()))
        answers = _answers(self._words())
        return _outputs(answers[0]) if len(answers) == 1 else _side_by_side(answers)

    def _words(self) -> dict[str, Any]:
        """The inputs that decide what is written, as the command would have them."""
        words = {name: self._given(name) for name in _DECIDE_OUTPUTS}
        for name, partner in _COMPANIONS.items():
            words[name] = [text for couple in self._paired(name, partner) for text in couple]
        return words


def _answers(words: Mapping[str, Any]) -> list[RegisterOptions]:
    """The run, and the one to compare it with if there is one."""
    from unireg_cli.commands.comparison import second_answer
    from unireg_cli.options import RegisterOptions

    options = RegisterOptions.from_words(words)
    second = second_answer(options)
    return [options] if second is None else [options, second]


def _rows(table: str, words: Mapping[str, Any]) -> list[RegisterOptions]:
    """The pairs of a table; rows that make no sense are for the command to report."""
    from unireg_cli.commands.batch import read_pairs

    return [row.options for row in read_pairs(Path(table), words) if row.options is not None]


def _side_by_side(runs: list[RegisterOptions]) -> dict[str, Any]:
    every = [_outputs(options) for options in runs]
    return {name: [outputs[name] for outputs in every] for name in (every[0] if every else ())}


def _outputs(options: RegisterOptions) -> dict[str, Any]:
    """Output trait -> absolute path: the plan of the command itself, so that the two cannot differ."""
    from unireg_cli.commands.outputs import plan_outputs

    plan = {role: str(path.absolute()) for role, path in plan_outputs(options).items()}
    # The companions, and the sidecars of --bids, are lists.
    lists = {
        "also_warped": [path for role, path in plan.items() if role.startswith("also_")],
        "sidecars": [path for role, path in plan.items() if role.endswith("_sidecar")],
    }
    single = {role: path for role, path in plan.items() if not role.startswith("also_") and not role.endswith("_sidecar")}
    outputs: dict[str, Any] = single | {name: paths for name, paths in lists.items() if paths}
    if "affine" in plan:
        outputs["forward_transforms"] = [plan["warp"], plan["affine"]]
        outputs["inverse_transforms"] = [plan["affine"], plan["inverse_warp"]]
    else:
        outputs["forward_transforms"], outputs["inverse_transforms"] = [plan["forward"]], [plan["inverse"]]
    return outputs | {"inverse_transforms_invert": ["affine" in plan, False][: len(outputs["inverse_transforms"])]}
