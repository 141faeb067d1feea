"""``unireg evaluate`` as a Nipype interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import Directory, File, InputMultiObject, TraitedSpec, traits

from unireg_cli.interfaces.base import NAME, NO_MATTER, RegistrationInputSpec, UniregCommand, existing_file, switch, word


class EvaluateInputSpec(RegistrationInputSpec):
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
    init = InputMultiObject(traits.Str, argstr="--init %s", desc="where to start: none, header, centers, moments, or files")
    mode = word("--mode %s", "inter", "intra", desc="two people, or one person twice; default: what the data set says")


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
