"""`auditpipe actions`: the catalogue."""

import click

from auditpipe.cli.options import output_option
from auditpipe.pipeline.visible import json_bytes, printable
from auditpipe.schemas.catalogue import Action, Catalogue, builtin


@click.command()
@click.argument("name", required=False)
@click.option("--actions", metavar="FILE", help="Further actions (JSON or TOML), as your application defines them.")
@output_option("text", "json")
def command(name: str | None, actions: str | None, output: str) -> None:
    """List the actions, or explain one.

    \b
    Examples:
      auditpipe actions
      auditpipe actions user.team.updated
      auditpipe actions -o json
      auditpipe actions --actions my-actions.toml
    """
    catalogue = builtin().extended(actions) if actions else builtin()
    chosen = [catalogue.named(name)] if name else list(catalogue.values())
    if output == "json":
        rows = [_row(action) for action in chosen]
        click.echo(json_bytes(rows[0] if name else rows, indent=True))
    elif name:
        click.echo("\n".join(_explained(chosen[0])))
    else:
        click.echo("\n".join(_listed(catalogue)))


def _row(action: Action) -> dict[str, object]:
    return {
        "action": action.action,
        "title": action.title,
        "sentence": action.sentence,
        "category": action.category,
        "type": action.type,
        "outcomes": {outcome: list(reasons) for outcome, reasons in action.outcomes.items()},
        "target_type": action.target_type,
        "changes": action.changes,
        "details_schema": action.details_schema,
        "article": [item.item for item in action.article],
    }


def _listed(catalogue: Catalogue) -> list[str]:
    columns = max(len(name) for name in catalogue) + 2
    return [printable(f"{name:<{columns}}{action.title}") for name, action in catalogue.items()]


def _explained(action: Action) -> list[str]:
    outcomes = [
        f"{outcome} ({', '.join(reasons)})" if reasons else outcome for outcome, reasons in action.outcomes.items()
    ]
    lines = [
        f"{action.action}: {action.title}",
        f"  sentence  {action.sentence}",
        f"  category  {', '.join(action.category)}   type  {', '.join(action.type)}",
        f"  outcome   {'; '.join(outcomes)}",
        f"  target    {action.target_type or 'any'}",
        f"  changes   {'expected: give before and after' if action.changes else 'none'}",
    ]
    if action.details_schema is not None:
        lines.append("  details   checked against a JSON Schema (see -o json)")
    lines += [f"  answers   {item.item} (told apart by {item.told_apart_by})" for item in action.article]
    return [printable(line) for line in lines]
