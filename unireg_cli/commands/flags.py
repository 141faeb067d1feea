"""The flags of the commands, each declared once. Imports nothing heavy: help must be instant."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

ModalityWord = Literal["auto", "ct", "mr", "other"]
TransformWord = Literal["rigid", "affine", "deformable"]
ModeWord = Literal["inter", "intra"]
SimilarityWord = Literal["auto", "lncc", "mind"]
FormatWord = Literal["h5", "ants", "nii"]
HeaderWord = Literal["check", "sform", "qform"]
SpaceWord = Literal["lps", "ras", "voxel"]

# One panel of the help each.
_what = partial(typer.Option, rich_help_panel="What to look for", case_sensitive=False)
_steer = partial(typer.Option, rich_help_panel="What you know", case_sensitive=False)
_out = partial(typer.Option, rich_help_panel="What to write", case_sensitive=False)
_image = partial(typer.Option, rich_help_panel="Images")
_points = partial(typer.Option, rich_help_panel="Points", case_sensitive=False)
_run = partial(typer.Option, rich_help_panel="Run", case_sensitive=False)
_many = partial(typer.Option, rich_help_panel="Many pairs")
_say = partial(typer.Option, rich_help_panel="Messages")

_WAYS = "nearest|linear|bspline|label"
_FILL = "Where there is no data. Default: the image's minimum if it is a CT, else 0."

# Both commands
Header = Annotated[HeaderWord, _run(help="Which NIfTI matrix to believe where the two differ; check: refuse.")]
ThreadCount = Annotated[
    int | None, _run("--threads", "-j", help="Default: OMP_NUM_THREADS, else SLURM_CPUS_PER_TASK, else the cores of this process.")
]
Overwrite = Annotated[bool, _run("--overwrite", help="Replace outputs that exist; without it they are an error.")]
Quiet = Annotated[bool, _say("--quiet", "-q", help="Only errors on stderr.")]
Verbose = Annotated[bool, _say("--verbose", "-v", help="Details on stderr, such as the chain of transforms in words.")]
LogFile = Annotated[Path | None, _say("--log", metavar="FILE", help="Append everything that is said to FILE.")]
Fill = Annotated[float | None, _image("--default-value", help=_FILL)]

# unireg register
Fixed = Annotated[Path | None, typer.Argument(metavar="FIXED", help="Image whose space is kept: NIfTI, NRRD, MHA, DICOM folder.")]
Moving = Annotated[Path | None, typer.Argument(metavar="MOVING", help="Image that is warped onto FIXED.")]
FixedFile = Annotated[Path | None, typer.Option("--fixed", "-f", metavar="FIXED", help="Instead of the first word.")]
MovingFile = Annotated[Path | None, typer.Option("--moving", "-m", metavar="MOVING", help="Instead of the second word.")]
Prefix = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="PREFIX", help="Beginning of all output names. Default: MOVING_to_FIXED in the current folder."),
]
Kind = Annotated[TransformWord, _what(help="The richest kind allowed.")]
Init = Annotated[
    list[str] | None,
    _what(
        metavar="none|header|centers|moments|FILE",
        help="Where to start; FILE may be repeated, in antsApplyTransforms order, and is part of the result. Default: try all.",
    ),
]
BothModalities = Annotated[ModalityWord | None, _what("--modality", show_default="auto", help="Of both images.")]
FixedModality = Annotated[ModalityWord | None, _what(show_default="as --modality", help="Of the fixed image.")]
MovingModality = Annotated[ModalityWord | None, _what(show_default="as --modality", help="Of the moving image.")]
SimilarityKind = Annotated[SimilarityWord, _what(help="auto: lncc, or mind where the modalities differ.")]
Anatomy = Annotated[
    list[str] | None,
    _what(
        "--anatomy",
        metavar="NAME",
        show_default="all",
        help="Structures or regions to favour: liver,spleen; repeatable. unireg anatomies lists them.",
    ),
]
ModeKind = Annotated[ModeWord | None, _what("--mode", show_default="inter", help="inter: two people; intra: one person twice.")]
Weights = Annotated[
    str | None,
    _run(
        metavar="FILE|NAME|none",
        help="NAME.safetensors with its JSON, or shipped weights; none: refine only, without the network. Default: UNIREG_WEIGHTS, else "
        "the shipped weights.",
    ),
]
Smoothness = Annotated[float | None, _what(show_default="the weights' own, else 0.5", help="0 follows every detail, 1 is very regular.")]
Iterations = Annotated[int | None, _what(help="Refinement steps at the finest scale, after the network.")]
Fast = Annotated[bool, _what("--fast", help="The network alone; without weights, less refinement.")]
Best = Annotated[bool, _what("--best", help="Refinement to convergence.")]
FixedMask = Annotated[Path | None, _what(metavar="MASK", help="Where FIXED counts (not 0); on its grid.")]
MovingMask = Annotated[Path | None, _what(metavar="MASK", help="Where MOVING counts (not 0); on its grid.")]
FixedSeg = Annotated[Path | None, _steer(metavar="LABELS", help="Label map of FIXED: structures pull towards those of --moving-seg.")]
MovingSeg = Annotated[Path | None, _steer(metavar="LABELS", help="Label map of MOVING, with the same labels.")]
SegLabels = Annotated[
    list[str] | None,
    _steer(
        metavar="N=NAME,...",
        show_default="all common labels steer",
        help="What labels are, 1=liver,2=spleen: those of --anatomy steer; repeatable.",
    ),
]
FixedPoints = Annotated[Path | None, _steer(metavar="CSV", help="Landmarks in FIXED: columns x,y,z, if wanted name and weight.")]
MovingPoints = Annotated[Path | None, _steer(metavar="CSV", help="The same landmarks in MOVING, in the same order.")]
LandmarkSpace = Annotated[
    SpaceWord | None, _steer("--space", show_default="lps", help="Of the landmarks: mm (lps: ITK, ras: NIfTI) or voxel indices from 0.")
]
CompareWith = Annotated[
    list[str] | None,
    _steer(metavar="NAME", help="A second answer for this anatomy (all, ...), in PREFIX with its name added, and both side by side."),
]
Also = Annotated[list[str] | None, _out(metavar="IMG OUT", help="Warp another image too, linearly; repeatable.")]
AlsoLabels = Annotated[list[str] | None, _out(metavar="IMG OUT", help="Warp a label map too, ids kept; repeatable.")]
Format = Annotated[FormatWord, _out("--transform-format", help="ITK composites, antsRegistration's files, or NIfTI fields.")]
FieldSpacing = Annotated[
    str | None, _out(metavar="auto|full|MM", show_default="auto", help="Of the written field; full: as the fixed image.")
]
Jacobian = Annotated[bool, _out("--jacobian", help="PREFIXJacobian.nii.gz, of the field without the affine.")]
LogJacobian = Annotated[bool, _out("--log-jacobian", help="PREFIXLogJacobian.nii.gz, its natural logarithm.")]
InverseWarped = Annotated[bool, _out("--inverse-warped", help="PREFIXInverseWarped.nii.gz: FIXED in the space of MOVING.")]
Picture = Annotated[
    str | None, _out("--picture", metavar="[OUT.png]", help="One figure of the result; without a name of your own, PREFIX.png.")
]
Report = Annotated[bool, _out("--report", help="PREFIXreport.html: slices before and after, and what the numbers mean.")]
DicomOut = Annotated[
    Path | None,
    _out("--dicom-out", metavar="FOLDER", help="The warped image as a DICOM series, too; FIXED or MOVING must be one."),
]
Bids = Annotated[bool, _out("--bids", help="Names by BIDS; -o is the folder of the derivatives then. Default: the current folder.")]
WarpedInterpolation = Annotated[str, _out("--interpolation", "-n", metavar=_WAYS, help="Of the warped image.")]
WarpedFill = Annotated[float | None, _out("--default-value", help=_FILL)]
Device = Annotated[str, _run(metavar="auto|cpu|cuda[:n]|mps", help="Where to compute.")]
Seed = Annotated[int, _run(help="Of all random choices.")]
Deterministic = Annotated[bool, _run("--deterministic", help="Same bytes again on the same machine.")]
MaxMemory = Annotated[float | None, _run(metavar="GB", help="Refuse to start a run that needs more.")]
FailOnFolding = Annotated[
    float | None, _run(metavar="PCT", help="Exit code 6 if a larger part of the field is folded; outputs are written.")
]
DryRun = Annotated[bool, _run("--dry-run", help="Print what would be done and written, and stop.")]
Pairs = Annotated[
    Path | None,
    _many(
        metavar="FILE.csv",
        help="Table with columns fixed,moving and any of output,fixed_mask,moving_mask,init,... (flags with underscores).",
    ),
]
Resume = Annotated[bool, _many("--resume", help="Skip pairs whose outputs are complete.")]
Json = Annotated[bool, _say("--json", help="The result object on stdout, and nothing else there.")]

# unireg warp
Input = Annotated[Path | None, typer.Argument(metavar="INPUT", help="3-D image, label map, or 4-D NIfTI series (volume by volume).")]
Transforms = Annotated[
    list[str] | None,
    typer.Option(
        "--transform",
        "-t",
        metavar="T",
        help="Transform file (.h5 .mat .tfm .txt, or a displacement field); repeatable, in antsApplyTransforms order: the last given is "
        "applied to the image first. \\[T,1] takes the inverse of one.",
    ),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="OUT", help="File to write.")]
WarpedSeries = Annotated[
    Path | None,
    _image("--dicom-out", metavar="FOLDER", help="The result as a DICOM series, instead of OUT or beside it; INPUT or -r must be one."),
]
Reference = Annotated[Path | None, typer.Option("--reference", "-r", metavar="IMG", help="Image whose grid the result is on.")]
Invert = Annotated[bool, typer.Option("--invert", help="Take the inverse of the whole chain.")]
Interpolation = Annotated[
    str | None, _image("--interpolation", "-n", metavar=_WAYS, show_default="linear", help="antsApplyTransforms' names too.")
]
Points = Annotated[
    Path | None,
    _points(
        metavar="CSV",
        help="Table with columns x,y,z, instead of INPUT. Give the same -t (and --invert) that warp the image in which the points lie: "
        "each point is carried to where its tissue appears in the warped image, which is through the inverse of the chain.",
    ),
]
Space = Annotated[SpaceWord | None, _points(help="Of the points, in and out: mm (lps: ITK, ras: NIfTI) or voxel indices from 0.")]
MovingGrid = Annotated[
    Path | None, _points(metavar="IMG", help="With --space voxel: the image whose voxels the points count; -r: that of the result.")
]


class PairedCommand(TyperCommand):
    """A command with repeatable flags of two values, which Typer itself does not know: ``--also IMG OUT``.

    Each value becomes a flag of its own, ``--also IMG --also OUT``, and the list is read two by two. ``--picture`` takes the next
    word only if that is the name of a PNG.
    """

    paired = ("--also", "--also-labels")
    optional = "--picture"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Rewrite the words before Typer reads them."""
        return super().parse_args(ctx, list(self._spread(args, complete=not ctx.resilient_parsing)))

    def _spread(self, args: list[str], *, complete: bool) -> Iterable[str]:
        following = [*args[1:], ""]
        # An empty name means the usual one.
        words = iter(
            [
                f"{word}=" if word == self.optional and not after.lower().endswith(".png") else word
                for word, after in zip(args, following, strict=True)
            ]
        )
        for word in words:
            yield word
            if word == "--":
                yield from words
            if word in self.paired:
                first, second = next(words, None), next(words, None)
                if complete and (first is None or second is None):
                    raise typer.BadParameter(f"{word} takes two values, an image and the file to write it to")
                yield from [text for text in (first, second and word, second) if text is not None]
