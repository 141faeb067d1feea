"""``unireg_cli.register`` and ``unireg_cli.warp``: the commands, for images in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unireg_cli.commands.chain_files import read_chain
from unireg_cli.commands.outputs import check_outputs, plan_outputs
from unireg_cli.commands.pair_files import Run, Watch, make_record, solve_as_asked, write_run
from unireg_cli.commands.resources import Threads, apply_threads, resolve_threads
from unireg_cli.commands.session import Progress, collected_warnings
from unireg_cli.errors import UsageError
from unireg_cli.io.exchange import as_image, like, name_of
from unireg_cli.io.header import HeaderChoice
from unireg_cli.loading import choose_weights, complete, load_network
from unireg_cli.options import RegisterOptions
from unireg_cli.pair import Pair, jacobian_map, warp_inverse
from unireg_cli.registration.result import Quality
from unireg_cli.spatial import Affine, Chain, DisplacementField
from unireg_cli.steering_input import make_steering
from unireg_cli.types import Interpolation, Modality, TransformFormat
from unireg_cli.warping import fill_value, warp_image
from unireg_cli.words import TransformSpec, choice
from unireg_cli.words import interpolation as interpolation_named

# Arguments that may be objects in memory; the options know them by name.
_STEERING_OBJECTS = ("fixed_seg", "moving_seg", "fixed_points", "moving_points")

Transforms = Chain | Affine | DisplacementField | str | Path | Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class RegisterResult:
    """A finished registration, with the content of the files that the command writes.

    ``forward`` maps points of the fixed image to points of the moving image, LPS mm; ``inverse`` maps them back.
    ``warped`` is the moving image on the fixed grid, as the kind of object that ``moving`` was (an Image for a path).
    """

    run: Run
    sources: tuple[Any, Any]

    @property
    def warped(self) -> Any:
        """The moving image on the fixed grid."""
        return like(self.run.solution.warped, self.sources[1])

    @property
    def forward(self) -> Chain:
        """Fixed point -> moving point, LPS mm."""
        return self.run.solution.registration.forward

    @property
    def inverse(self) -> Chain:
        """Moving point -> fixed point, LPS mm."""
        return self.run.solution.registration.inverse

    @property
    def quality(self) -> Quality:
        """Numbers by which the result can be judged."""
        return self.run.solution.registration.quality

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know."""
        return tuple(self.run.warnings)

    def inverse_warped(self) -> Any:
        """The fixed image on the moving grid, as the kind of object that ``fixed`` was."""
        return like(warp_inverse(self.run.solution, self.run.options.interpolation, self.run.options.default_value), self.sources[0])

    def jacobian(self, *, logarithm: bool = False) -> Any:
        """Determinant of the field, without the affine, on the fixed grid; as the kind of object that ``fixed`` was."""
        return like(jacobian_map(self.run.solution, logarithm=logarithm), self.sources[0])

    def record(self) -> dict[str, Any]:
        """The content of PREFIX.json; no outputs are named before :meth:`write`."""
        return make_record(self.run, {})

    def write(
        self,
        prefix: str | Path,
        *,
        transform_format: str = "h5",
        picture: bool = False,
        report: bool = False,
        inverse_warped: bool = False,
        jacobian: bool = False,
        log_jacobian: bool = False,
        overwrite: bool = False,
    ) -> dict[str, Path]:
        """Write PREFIXWarped.nii.gz, both transforms and PREFIX.json; all appear, or none. Returns name -> path.

        ``picture`` adds PREFIX.png, ``report`` PREFIXreport.html; the others are the flags of ``unireg register``.
        """
        prefix = Path(prefix)
        output = replace(
            self.run.options,
            output=prefix,
            transform_format=choice(TransformFormat, transform_format, "transform_format"),
            picture=prefix.with_name(f"{prefix.name}.png") if picture else None,
            report=report,
            inverse_warped=inverse_warped,
            jacobian=jacobian,
            log_jacobian=log_jacobian,
        )
        plan = plan_outputs(output)
        check_outputs(plan.values(), [path for path in output.inputs if path.exists()], overwrite=overwrite)
        with collected_warnings(self.run.warnings):
            write_run(replace(self.run, options=output), plan)
        return plan


def register(
    fixed: Any,
    moving: Any,
    *,
    transform: str = "deformable",
    init: str | Transforms | None = None,
    modality: str | None = None,
    fixed_modality: str | None = None,
    moving_modality: str | None = None,
    anatomy: str | Sequence[str] | None = None,
    mode: str | None = None,
    similarity: str = "auto",
    smoothness: float | None = None,
    iterations: int | None = None,
    fast: bool = False,
    best: bool = False,
    fixed_mask: Any = None,
    moving_mask: Any = None,
    fixed_seg: Any = None,
    moving_seg: Any = None,
    seg_labels: str | Sequence[str] | Mapping[int, str] | None = None,
    fixed_points: Any = None,
    moving_points: Any = None,
    space: str | None = None,
    field_spacing: str | float | None = None,
    interpolation: str = "linear",
    default_value: float | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    deterministic: bool = False,
    max_memory: float | None = None,
    header: str = "check",
    progress: Progress | None = None,
) -> RegisterResult:
    """Register ``moving`` to ``fixed``; the arguments are the flags of ``unireg register``.

    Args:
        fixed, moving, fixed_mask, moving_mask: paths, SimpleITK images, nibabel NIfTI images, or Images.
        fixed_seg, moving_seg: label maps, as the images are given; they steer the refinement.
        seg_labels: what labels are, {1: "liver"} or "1=liver,2=spleen": those of ``anatomy`` steer; None lets all common labels steer.
        fixed_points, moving_points: landmarks, a CSV or an array (N, 3), LPS mm, or (N, 4) with weights; they steer the refinement.
        space: of the CSV files: "lps" (None), "ras" or "voxel".
        anatomy: structures or regions to favour, as words or as "liver,spleen"; None is all.
        mode: "inter" (two people) or "intra" (one person twice); None is inter.
        weights: a file, the name of shipped weights, or "none"; None is UNIREG_WEIGHTS, else the shipped ones.
        smoothness: None is the weights' own.
        init: a keyword (none, header, centers, moments), a transform or Chain, a file, or files in antsApplyTransforms order.
        threads: for torch and ITK; None leaves both as they are.
        progress: called with (stage, done, total).

    Raises:
        UniregError: see :mod:`unireg_cli.errors`; what the command would say in one line.
    """
    words = dict(locals())
    chain, words["init"] = _split_init(init)
    maps, points = (fixed_seg, moving_seg), (fixed_points, moving_points)
    words |= {name: None if words[name] is None else name_of(words[name], name) for name in _STEERING_OBJECTS}
    if isinstance(seg_labels, Mapping):
        words["seg_labels"] = [f"{label}={name}" for label, name in seg_labels.items()]
    words |= {"fixed": name_of(fixed, "fixed"), "moving": name_of(moving, "moving"), "fixed_mask": None, "moving_mask": None}
    options = RegisterOptions.from_words(words)
    found = choose_weights([options])
    options = complete(options, found)
    watch = Watch()
    with collected_warnings() as warnings:
        with watch.stage("read"):
            images = [as_image(source, name_of(source, role), options.header) for source, role in ((fixed, "fixed"), (moving, "moving"))]
            masks = [None if mask is None else as_image(mask, name_of(mask, "mask"), options.header) for mask in (fixed_mask, moving_mask)]
            steering = None
            if options.steering is not None:
                steering = make_steering(options.steering, maps, points, (images[0], images[1]), options.header)
            pair = Pair(images[0], images[1], masks[0], masks[1], chain, steering)
        count = _threads(threads)
        model = load_network(found)
        solution = solve_as_asked(options, pair, watch, progress, model)
    return RegisterResult(Run(options, count, solution, watch, warnings, model), (fixed, moving))


def warp(
    image: Any,
    reference: Any,
    transforms: Transforms,
    *,
    invert: bool = False,
    interpolation: str = "linear",
    default_value: float | None = None,
    header: str = "check",
) -> Any:
    """``image`` on the grid of ``reference`` through ``transforms``, as the kind of object that ``image`` is.

    Args:
        image, reference: paths, SimpleITK images, nibabel NIfTI images, or Images.
        transforms: a Chain or one of its steps, a file, or files in antsApplyTransforms order ("[file,1]" inverts one).
        invert: take the inverse of the whole chain.
        interpolation: nearest, linear, bspline, label, or ANTs' names.
        default_value: where the image has no data; None: its minimum if it is a CT, else 0.
        header: which NIfTI matrix to believe where two differ.
    """
    belief = choice(HeaderChoice, header, "header")
    source = as_image(image, name_of(image, "image"), belief)
    chain = _as_chain(transforms, invert=invert)
    way: Interpolation = interpolation_named(interpolation)
    default = fill_value(source, Modality.AUTO, default_value)
    return like(warp_image(source, as_image(reference, name_of(reference, "reference"), belief).grid, chain, way, default), image)


def _split_init(init: str | Transforms | None) -> tuple[Chain | None, list[str]]:
    """The chain handed in, or the words for it: a keyword leaves the search of a start to the settings."""
    if init is None or (isinstance(init, str) and init.lower() in ("none", "header", "centers", "moments", "auto")):
        return None, [] if init is None else [str(init)]
    return _as_chain(init), []


def _as_chain(transforms: Transforms, *, invert: bool = False) -> Chain:
    if isinstance(transforms, Affine | DisplacementField):
        transforms = Chain((transforms,))
    if isinstance(transforms, Chain):
        return transforms.invert() if invert else transforms
    files = [transforms] if isinstance(transforms, str | Path) else list(transforms)
    if not files:
        raise UsageError("no transform given; name at least one")
    return read_chain([TransformSpec.parse(str(file)) for file in files], invert=invert)


def _threads(asked: int | None) -> Threads:
    if asked is None:
        import torch

        return Threads(torch.get_num_threads(), "as the caller had set them")
    count = resolve_threads(asked)
    apply_threads(count)
    return count
