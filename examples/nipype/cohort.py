"""Register a cohort to a template and bring everyone's labels along, several people at a time.

python cohort.py participants.csv --template template.nii.gz --output results --processes 4

The table has columns subject,image,labels; paths are relative to its folder. The second run starts nothing that is up to date.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

# Nipype asks its home whether it is new enough, unless told not to.
os.environ.setdefault("NIPYPE_NO_ET", "1")

from nipype import Node, Workflow
from nipype.interfaces.io import DataSink
from nipype.interfaces.utility import IdentityInterface

from unireg_cli.interfaces import Register, Warp


def read_table(table: Path) -> list[dict[str, str]]:
    """Rows of subject, image and labels, with absolute paths."""
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [row | {name: str((table.parent / row[name]).resolve()) for name in ("image", "labels")} for row in rows]


def cohort_workflow(
    rows: list[dict[str, str]], template: Path, output: Path, work: Path, *, memory_gb: float = 2.0, **options: object
) -> Workflow:
    """One branch a person: register the image to the template, warp the labels, keep both and the transforms.

    Args:
        rows: of :func:`read_table`.
        template: image that everybody is brought to.
        output: folder of the results.
        work: folder of Nipype's own files, which tell it what is up to date.
        memory_gb: what a registration may need; Nipype starts no more of them than fit into memory, and one that needs more fails at once.
        options: more inputs of Register, such as ``mode="inter"``, ``anatomy=["liver"]``, ``num_threads=4``.
    """
    reference = str(template.resolve())
    people = Node(IdentityInterface(fields=["subject", "image", "labels"]), name="people")
    people.iterables = [(name, [row[name] for row in rows]) for name in ("subject", "image", "labels")]
    people.synchronize = True
    register = Node(Register(fixed=reference, max_memory=memory_gb, **options), name="register", mem_gb=memory_gb)
    warp = Node(Warp(reference=reference, interpolation="label", output="labels_in_template.nii.gz"), name="warp")
    sink = Node(DataSink(base_directory=str(output.resolve()), parameterization=False), name="sink")
    workflow = Workflow(name="cohort", base_dir=str(work.resolve()))
    # Folders named by a hash of the paths, not by the paths, which may be longer than a name can be.
    workflow.config["execution"] = {"parameterize_dirs": "false"}
    workflow.connect(people, "image", register, "moving")
    workflow.connect(people, "labels", warp, "image")
    workflow.connect(register, "forward_transforms", warp, "transform")
    workflow.connect(people, "subject", sink, "container")
    for name in ("warped", "forward_transforms", "inverse_transforms", "record"):
        workflow.connect(register, name, sink, f"@{name}")
    workflow.connect(warp, "warped", sink, "@labels")
    return workflow


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("results"))
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="cores to use in all")
    parser.add_argument("--threads", type=int, default=1, help="cores of each registration")
    parser.add_argument("--memory", type=float, default=2.0, help="GB that a registration may need")
    parser.add_argument("--transform", default="deformable", choices=("deformable", "affine", "rigid"))
    words = parser.parse_args()
    options = {"memory_gb": words.memory, "transform": words.transform, "num_threads": words.threads}
    workflow = cohort_workflow(read_table(words.table), words.template, words.output, words.work, **options)
    workflow.run(plugin="MultiProc", plugin_args={"n_procs": words.processes})


if __name__ == "__main__":
    main()
