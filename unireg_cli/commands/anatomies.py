"""``unireg anatomies``: every name that ``--anatomy`` understands, and how well the weights know it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unireg_cli.commands.session import start_logging

if TYPE_CHECKING:
    from unireg_cli.model.anatomy import Vocabulary
    from unireg_cli.model.training import Training

# How a structure was trained, as the table says it.
_SOURCES = {"real": "real labels", "synthetic": "synthetic", "tuned": "finetuned", "region": "by its region only"}


def anatomies(
    region: Annotated[str | None, typer.Option("--region", metavar="REGION", help="Only what lies in it.")] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="FILE|NAME|none", help="Whose training is shown; default as in register.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The list as JSON.")] = False,
) -> None:
    """List the structures, groups and regions that can be asked for with --anatomy, and how the weights were trained on them.

    Upper and lower case, hyphens, underscores and spaces make no difference, nor does the place of left and right.

    A name without its side means both sides.

    Weights that know a structure by its region only know where it is about, not what it is.
    """
    start_logging()
    from unireg_cli.io.weights import find_weights
    from unireg_cli.io.weights_config import config_path, read_config, weights_summary
    from unireg_cli.model.added import added_of, vocabulary_of
    from unireg_cli.model.training import Training

    path = find_weights(weights)
    config = None if path is None else read_config(path)
    known = vocabulary_of(config, path)
    chosen = _region_named(known, region)
    own = [one.name for one in added_of(config)]
    training = None if path is None or config is None else Training.from_names(config["trained"], known, config_path(path), own)
    listing = _listing(known, chosen, training)
    if as_json:
        typer.echo(json.dumps({"weights": config and weights_summary(config), **listing}, indent=2))
    else:
        typer.echo(_as_text(listing, None if config is None else config["name"]))


def _region_named(known: Vocabulary, word: str | None) -> str:
    """The table's name of a region.

    Raises:
        UsageError: no such region.
    """
    from unireg_cli.errors import UsageError
    from unireg_cli.model.anatomy import ALL
    from unireg_cli.model.names import key_of

    if word is None:
        return ALL
    for row in known.table.regions:
        if key_of(word) in map(key_of, (row.name, *row.synonyms)):
            return row.name
    raise UsageError(f"--region {word}: no such region; choose {', '.join(row.name for row in known.table.regions)}")


def _listing(known: Vocabulary, region: str, training: Training | None) -> dict[str, list[dict[str, Any]]]:
    """Structures of a region in the order of the table, the groups and regions that lie wholly in it.

    ``trained`` says how a structure was trained, and of how many structures in a group or region each is true; null without weights.
    """
    table, inside = known.table, known.members[region]

    def counts(ids: Iterable[int]) -> dict[str, int] | None:
        if training is None:
            return None
        found = Counter(training.source(id).value for id in ids)
        # Names of a user's own are few: they are counted where there are any.
        return {source: found[source] for source in _SOURCES if source != "tuned" or found[source]}

    return {
        "structures": [
            {"id": row.id, "name": row.name, "regions": row.regions, "part_of": row.parents, "synonyms": row.synonyms}
            | {"trained": training and training.source(row.id).value}
            for row in table.structures
            if row.id in inside
        ],
        "groups": [
            {"name": row.name, "synonyms": row.synonyms, "structures": sorted(map(known.name_of, known.parts[row.name]))}
            | {"trained": counts(known.parts[row.name])}
            for row in table.groups
            if known.parts[row.name] <= inside
        ],
        "regions": [
            {"id": row.id, "name": row.name, "synonyms": row.synonyms, "structures": len(known.members[row.name])}
            | {"trained": counts(known.members[row.name])}
            for row in table.regions
            if known.members[row.name] <= inside
        ],
    }


def _as_text(listing: dict[str, list[dict[str, Any]]], weights: str | None) -> str:
    """One line a name, in columns: grep finds a synonym's line. How it was trained is told only of weights that are there."""
    rows = [("name", "region", f"trained ({weights})", "also called")]
    for row in listing["structures"]:
        rows.append((row["name"], ", ".join(row["regions"]), _SOURCES.get(row["trained"], ""), ", ".join(row["synonyms"])))
    for kind in ("group", "region"):
        for row in listing[f"{kind}s"]:
            members = len(row["structures"]) if kind == "group" else row["structures"]
            trained = ", ".join(f"{count} {_SOURCES[source]}" for source, count in (row["trained"] or {}).items() if count)
            rows.append((row["name"], f"{kind} of {members}", trained, ", ".join(row["synonyms"])))
    columns = (0, 1, 2, 3) if weights is not None else (0, 1, 3)
    widths = {column: max(len(row[column]) for row in rows) for column in columns[:-1]} | {3: 0}
    return "\n".join("  ".join(f"{row[column]:{widths[column]}}" for column in columns).rstrip() for row in rows)
