"""What the interfaces of all commands share: how values become words, and inputs that no result depends on."""

from __future__ import annotations

import shlex
from importlib.metadata import version
from typing import Any

from nipype.interfaces.base import CommandLine, CommandLineInputSpec, Directory, File, InputMultiObject, isdefined, traits

# Metadata of an output's name: Nipype would hash the file of that name, which is there in the second run and not in the first.
NAME = {"hash_files": False}
# Metadata of inputs that do not change the result.
NO_MATTER = {"nohash": True}
MODALITIES = ("auto", "ct", "mr", "other")


def existing_file(argstr: str | None = None, **metadata: Any) -> Any:
    """An input file; a relative path is resolved when it is set, because Nipype changes folders later."""
    return File(exists=True, resolve=True, argstr=argstr, **metadata)


def existing_files(argstr: str | None = None, **metadata: Any) -> Any:
    """One input file or several."""
    return InputMultiObject(File(exists=True, resolve=True), argstr=argstr, **metadata)


def existing_image(argstr: str, **metadata: Any) -> Any:
    """An image file, or a DICOM folder (of which only the path is hashed)."""
    return traits.Either(File(exists=True, resolve=True), Directory(exists=True, resolve=True), argstr=argstr, **metadata)


def word(argstr: str, *words: str, **metadata: Any) -> Any:
    """One of a closed list."""
    return traits.Enum(*words, argstr=argstr, **metadata)


def switch(argstr: str, **metadata: Any) -> Any:
    """A flag without a value."""
    return traits.Bool(argstr=argstr, **metadata)


class CommonInputSpec(CommandLineInputSpec):  # type: ignore[misc]  # Nipype has no types
    """Options that every command has."""

    num_threads = traits.Int(
        1,
        usedefault=True,
        argstr="--threads %d",
        **NO_MATTER,
        desc="of this process; Nipype's plugins take it as the node's n_procs, hence 1 and not all cores by default",
    )
    overwrite = switch("--overwrite", **NO_MATTER, desc="replace outputs that exist; without it they are an error")
    quiet = switch("--quiet", **NO_MATTER, desc="only errors on stderr")
    verbose = switch("--verbose", **NO_MATTER, desc="details on stderr")
    log = File(argstr="--log %s", **NO_MATTER, desc="append everything that is said to this file")


class RegistrationInputSpec(CommonInputSpec):
    """Options that every command that registers has."""

    transform = word("--transform %s", "deformable", "affine", "rigid", desc="the richest kind allowed")
    modality = word("--modality %s", *MODALITIES, desc="of both images")
    anatomy = InputMultiObject(traits.Str, argstr="--anatomy %s", desc="structures or regions to favour")
    similarity = word("--similarity %s", "auto", "lncc", "mind", desc="measure of the refinement")
    smoothness = traits.Range(low=0.0, high=1.0, value=0.5, argstr="--smoothness %s", desc="0 follows every detail, 1 is very regular")
    iterations = traits.Int(argstr="--iterations %d", desc="refinement steps at the finest scale")
    fast = switch("--fast", xor=["best"], desc="the network alone; without weights, less refinement")
    best = switch("--best", xor=["fast"], desc="refinement to convergence")
    field_spacing = traits.Str(argstr="--field-spacing %s", desc="of the written field: auto, full or mm")
    weights = traits.Either(
        File(exists=True, resolve=True), traits.Str, argstr="--weights %s", desc="a file, the name of shipped weights, or none"
    )
    device = traits.Str(argstr="--device %s", desc="auto, cpu, cuda, cuda:1, mps")
    seed = traits.Int(argstr="--seed %d", desc="of all random choices")
    deterministic = switch("--deterministic", desc="same bytes again on the same machine")
    max_memory = traits.Float(argstr="--max-memory %s", **NO_MATTER, desc="GB; refuse to start a run that needs more")
    header = word("--header %s", "check", "sform", "qform", desc="which NIfTI matrix to believe where the two differ")
    json = switch("--json", **NO_MATTER, desc="the result object on stdout")


class UniregCommand(CommandLine):  # type: ignore[misc]  # Nipype has no types
    """A command of ``unireg``; each value is a word of its own, quoted for the shell that Nipype starts."""

    @property
    def version(self) -> str:
        """Of this package."""
        return version("unireg")

    def _run_interface(self, runtime: Any, correct_return_codes: tuple[int, ...] = (0,)) -> Any:
        """Run the command; an exit code that is not 0 is an error, also where outputs of an earlier run lie about."""
        runtime = super()._run_interface(runtime, correct_return_codes)
        if runtime.returncode not in correct_return_codes:
            self.raise_exception(runtime)
        return runtime

    def _format_arg(self, _name: str, spec: Any, value: Any) -> str | None:
        if isinstance(value, bool):
            return str(spec.argstr).removesuffix(" %s") if value else None
        if isinstance(value, tuple):
            return str(spec.argstr % tuple(shlex.quote(str(item)) for item in value))
        values = value if isinstance(value, list) else [value]
        return " ".join(spec.argstr % (item if isinstance(item, int | float) else shlex.quote(str(item))) for item in values)

    def _given(self, name: str) -> Any:
        """An input's value, None if it is not set."""
        value = getattr(self.inputs, name)
        return value if isdefined(value) else None

    def _paired(self, name: str, partner: str, default: Any = None) -> list[tuple[Any, Any]]:
        """The values of two inputs that are lists of the same length, side by side.

        Raises:
            ValueError: of different lengths.
        """
        first, second = self._given(name) or [], self._given(partner)
        second = [default] * len(first) if second is None and default is not None else second or []
        if len(first) != len(second):
            raise ValueError(f"{type(self).__name__}: {name} has {len(first)} entries and {partner} {len(second)}; give one for each")
        return list(zip(first, second, strict=True))

    def _chain(self, name: str, partner: str) -> list[str]:
        """Transform files as words: ``[FILE,1]`` where the inverse of one is asked for."""
        return [f"[{path},1]" if inverted else path for path, inverted in self._paired(name, partner, default=False)]
