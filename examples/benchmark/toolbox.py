"""The tools of the comparison: what each is, where its settings come from, and which program runs it."""

from __future__ import annotations

from dataclasses import dataclass, field

# How a pair may be started. own: each tool's own affine. affine, rigid: one transform that all tools get and start bending from.
STARTS = ("own", "affine", "rigid")
_ALL = frozenset(STARTS)


@dataclass(frozen=True, slots=True)
class Tool:
    """One row of a table. ``runner`` is a program in runners/, ``words`` what it is told; ``starts`` where it takes part."""

    name: str
    title: str
    environment: str
    runner: str
    words: tuple[str, ...]
    source: str
    """Who recommends these settings, and where."""
    starts: frozenset[str] = _ALL
    missing: str = ""
    """Why it does not take part under the other starts."""
    ours: bool = field(default=False)


# Packages of each virtual environment. torch is taken in the version of the Python that runs the benchmark; "here" is that Python itself.
ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    "here": (),
    "ants": ("antspyx==0.6.3", "SimpleITK==2.5.7"),
    "greedy": ("picsl-greedy==1.4.0.3", "SimpleITK==2.5.7", "numpy"),
    "elastix": ("itk-elastix==0.25.4", "SimpleITK==2.5.7", "numpy"),
    "convexadam": ("torch", "convexadam==0.2.0", "SimpleITK"),
    "fireants": ("torch", "fireants==1.5.0", "SimpleITK"),
}

_OURS = "this package, as installed"
_SCRIPT = "ANTsX/ANTs, Scripts/antsRegistrationSyN.sh: its stages written as an antsRegistration call"
_LIST = (
    Tool("none", "no deformable stage: the headers as they are, or the shared start alone", "here", "unireg_runner.py", ("none",), "-"),
    Tool("unireg-engine", "unireg --weights none", "here", "unireg_runner.py", ("engine",), _OURS, ours=True),
    Tool("unireg-fast", "unireg --fast", "here", "unireg_runner.py", ("fast",), _OURS, ours=True),
    Tool("unireg", "unireg", "here", "unireg_runner.py", ("default",), _OURS, ours=True),
    Tool("unireg-best", "unireg --best", "here", "unireg_runner.py", ("best",), _OURS, ours=True),
    Tool(
        "greedy",
        "greedy: affine NCC 4x4x4 from image centres, then NCC 2x2x2, 100x70x20",
        "greedy",
        "greedy_runner.py",
        ("deform",),
        "greedy's documentation (greedy.readthedocs.io, Quick Start): -ia-image-centers; metrics and iterations as there",
    ),
    Tool(
        "ants-preset",
        "ANTsPy type_of_transform='SyN' (Mattes, 40x20x0: no step at full resolution)",
        "ants",
        "ants_runner.py",
        ("preset",),
        "ANTsX/ANTsPy, ants.registration: its default; SyNOnly with the start as initial_transform under a shared start",
    ),
    Tool(
        "ants-synquick",
        "antsRegistrationSyNQuick.sh -t s (MI 32 bins, 100x70x50x0)",
        "ants",
        "ants_runner.py",
        ("quick",),
        _SCRIPT.replace("SyN.sh", "SyNQuick.sh"),
    ),
    Tool(
        "ants-syn-cc2",
        "antsRegistrationSyN.sh -t s (CC radius 2, the script's default now; 100x70x50x20)",
        "ants",
        "ants_runner.py",
        ("cc", "2"),
        _SCRIPT,
    ),
    Tool(
        "ants-syn-cc4",
        "antsRegistrationSyN.sh -t s -r 4 (CC radius 4, the script's default for years; 100x70x50x20)",
        "ants",
        "ants_runner.py",
        ("cc", "4"),
        _SCRIPT,
    ),
    Tool(
        "elastix",
        "elastix: default affine and B-spline parameter files of its model zoo (MI, 16 mm control points)",
        "elastix",
        "elastix_runner.py",
        (),
        "SuperElastix/ElastixModelZoo, models/default; the transform is initialised by geometric centres, as its affine file says",
    ),
    Tool(
        "convexadam",
        "ConvexAdam, MIND features",
        "convexadam",
        "convexadam_runner.py",
        (),
        "multimodallearning/convexAdam: defaults of convex_adam_pt; anisotropic images made isotropic first, as its own tests do",
        frozenset({"affine", "rigid"}),
        "has no affine stage of its own",
    ),
    Tool(
        "fireants",
        "FireANTs: moments, affine CC 5, then greedy compositive CC 5, 200x100x25",
        "fireants",
        "fireants_runner.py",
        (),
        "fireants.readthedocs.io, Quickstart; first moments for the affine's start from its page on moments; 32 voxels a side at least",
    ),
)
TOOLS: dict[str, Tool] = {tool.name: tool for tool in _LIST}
# Without ants-syn-cc2, which is there for who asks for it.
USUAL = tuple(name for name in TOOLS if name != "ants-syn-cc2")
# Pairs of slow tools that a run takes if it is not told otherwise; a table says so.
PEERS = tuple(tool.name for tool in _LIST if not tool.ours and tool.name != "none")
