"""``unireg evaluate`` as a Nipype interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import Directory, File, InputMultiObject, TraitedSpec, traits

from unireg_cli.interfaces.base import NAME, NO_MATTER, CommonInputSpec, UniregCommand, existing_file, switch, word


class EvaluateInputSpec(CommonInputSpec):
    """Named like the flags of ``unireg evaluate``, with underscores; see its help for what they do."""

    dataset = existing_file("%s", position=0, mandatory=True, desc="dataset.json in the Learn2Reg layout; its images are not hashed")
    output = traits.Str("evaluation_", usedefault=True, argstr="--output %s", **NAME, desc="beginning of all output names")
    transforms = Directory(exists=True, resolve=True, argstr="--transforms %s", desc="folder of transforms; without it: register")
    report = File(argstr="--report %s", **NAME, desc="HTML page to write")
    jobs = traits.Int(argstr="--jobs %d", **NO_MATTER, desc="pairs at the same time")
    split = traits.Str(argstr="--split %s", desc="which list of pairs; default registration_val")
    points_space = word("--points-space %s", "lps", "ras", "voxel", desc="of the data set's landmarks; default voxel")
    compare = traits.Tuple(existing_file(), existing_file(), argstr="--compare %s %s", desc="two tables of pairs to compare, too")
    resume = switch("--resume", **NO_MATTER, desc="take the finished rows of an earlier run")
    transform = word("--transform %s", "deformable", "affine", "rigid", desc="the richest kind allowed")
    init = InputMultiObject(traits.Str, argstr="--init %s", desc="where to start: none, header, centers, moments, or files")
    modality = word("--modality %s", "auto", "ct", "mr", "other", desc="of both images")
    anatomy = InputMultiObject(traits.Str, argstr="--anatomy %s", desc="structures or regions to favour")
    mode = word("--mode %s", "inter", "intra", desc="two people, or one person twice; default: what the data set says")
    similarity = word("--similarity %s", "auto", "lncc", "mind", desc="measure of the refinement")
    smoothness = traits.Range(low=0.0, high=1.0, value=0.5, argstr="--smoothness %s", desc="0 follows every detail, 1 is very regular")
    iterations = traits.Int(argstr="--iterations %d", desc="refinement steps at the finest scale")
    fast = switch("--fast", xor=["best"], desc="the network alone; without weights, less refinement")
    best = switch("--best", xor=["fast"], desc="refinement to convergence")
    field_spacing = traits.Str(argstr="--field-spacing %s", desc="of the field: auto, full or mm")
    weights = traits.Either(
        File(exists=True, resolve=True), traits.Str, argstr="--weights %s", desc="a file, the name of shipped weights, or none"
    )
    device = traits.Str(argstr="--device %s", desc="auto, cpu, cuda, cuda:1, mps")
    seed = traits.Int(argstr="--seed %d", desc="of all random choices")
    deterministic = switch("--deterministic", desc="same bytes again on the same machine")
    max_memory = traits.Float(argstr="--max-memory %s", **NO_MATTER, desc="GB; refuse to start a run that needs more")
    header = word("--header %s", "check", "sform", "qform", desc="which NIfTI matrix to believe where the two differ")
    json = switch("--json", **NO_MATTER, desc="the result object on stdout")


class EvaluateOutputSpec(TraitedSpec):  # type: ignore[misc]  # Nipype has no types
    """The tables, and the page if it was asked for."""

    pairs = File(exists=True, desc="CSV with a row a pair")
    structures = File(exists=True, desc="CSV with a row a pair and structure")
    summary = File(exists=True, desc="JSON with means and their confidence intervals")
    report = File(exists=True, desc="HTML page")


class Evaluate(UniregCommand):
    """Measure registrations of a labelled data set.

    >>> evaluate = Evaluate(output="mine_")
    """

    _cmd = "unireg evaluate"
    input_spec = EvaluateInputSpec
    output_spec = EvaluateOutputSpec

    def _list_outputs(self) -> dict[str, Any]:
        endings = {"pairs": "pairs.csv", "structures": "structures.csv", "summary": "summary.json"}
        outputs = {name: str(Path(f"{self.inputs.output}{ending}").absolute()) for name, ending in endings.items()}
        return outputs | ({"report": str(Path(self.inputs.report).absolute())} if self._given("report") else {})
