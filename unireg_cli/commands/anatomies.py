"""``unireg anatomies``: every name that ``--anatomy`` understands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unireg_cli.commands.session import start_logging

if TYPE_CHECKING:
    from unireg_cli.model.anatomy import Vocabulary


def anatomies(
    region: Annotated[str | None, typer.Option("--region", metavar="REGION", help="Only what lies in it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The list as JSON.")] = False,
) -> None:
    """List the structures, groups and regions that can be asked for with --anatomy.

    Upper and lower case, hyphens, underscores and spaces make no difference, nor does the place of left and right; a name
    without its side means both sides.
    """
    start_logging()
    from unireg_cli.model.anatomy import vocabulary

    known = vocabulary()
    chosen = _region_named(known, region)
    listing = _listing(known, chosen)
    typer.echo(json.dumps(listing, indent=2) if as_json else _as_text(listing))


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


def _listing(known: Vocabulary, region: str) -> dict[str, list[dict[str, Any]]]:
    """Structures of a region in the order of the table, the groups and regions that lie wholly in it."""
    table, inside = known.table, known.members[region]
    return {
        "structures": [
            {"id": row.id, "name": row.name, "regions": row.regions, "part_of": row.parents, "synonyms": row.synonyms}
            for row in table.structures
            if row.id in inside
        ],
        "groups": [
            {"name": row.name, "synonyms": row.synonyms, "structures": sorted(map(known.name_of, known.parts[row.name]))}
            for row in table.groups
            if known.parts[row.name] <= inside
        ],
        "regions": [
            {"id": row.id, "name": row.name, "synonyms": row.synonyms, "structures": len(known.members[row.name])}
            for row in table.regions
            if known.members[row.name] <= inside
        ],
    }


def _as_text(listing: dict[str, list[dict[str, Any]]]) -> str:
    """One line a name, in columns: grep finds a synonym's line."""
    rows = [("name", "region", "also called")]
    rows += [(row["name"], ", ".join(row["regions"]), ", ".join(row["synonyms"])) for row in listing["structures"]]
    rows += [(row["name"], f"group of {len(row['structures'])}", ", ".join(row["synonyms"])) for row in listing["groups"]]
    rows += [(row["name"], f"region of {row['structures']}", ", ".join(row["synonyms"])) for row in listing["regions"]]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{name:{widths[0]}}  {kind:{widths[1]}}  {others}".rstrip() for name, kind, others in rows)
