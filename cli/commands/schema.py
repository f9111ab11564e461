"""`auditpipe schema`: what an event looks like, and whether others' events do."""

import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from auditpipe.cli.options import output_option
from auditpipe.pipeline.visible import json_bytes, printable
from auditpipe.schemas import strict_json
from auditpipe.schemas.errors import UsageError

if TYPE_CHECKING:
    from auditpipe.schemas.published import Problem


@click.group()
def command() -> None:
    """Show, validate and compare the event's JSON Schema (2020-12).

    \b
    Examples:
      auditpipe schema show > event.schema.json
      auditpipe schema validate events.ndjson
      auditpipe schema diff older.schema.json
    """


@command.command()
@click.option("--draft", is_flag=True, help="The schema of an event before it is linked and hashed.")
def show(draft: bool) -> None:
    """Print the published schema of a stored event.

    \b
    Examples:
      auditpipe schema show > event.schema.json
      auditpipe schema show --draft
    """
    from auditpipe.schemas import published

    click.echo(json_bytes(published.load(published.DRAFT if draft else published.EVENT), indent=True))


@command.command()
@click.argument("file", type=click.File("rb"))
@click.option("--actions", metavar="FILE", help="Further actions (JSON or TOML), as your application defines them.")
@output_option("text", "json", "ndjson")
def validate(file: IO[bytes], actions: str | None, output: str) -> int:
    """Check a file of events, one JSON document a line (- is standard input).

    A line that has any of audit.stream, sequence, previous and hash is checked as a stored event, its hash included;
    any other as a draft, of which all but event.action may be left out. What is found is what `emit` would never have
    made: beyond the schema that is any number but an integer within +-(2^53-1), more than 16 levels, 256 kB, the values
    of secret fields, and what contradicts the catalogue. (`emit --file` converts such numbers in a draft, and withholds
    such values.) Each error is one line: FILE:LINE, path, what was expected, what came. Exit 1 if there is one.

    \b
    Examples:
      auditpipe schema validate events.ndjson
      my-program | auditpipe schema validate - -o json
    """
    from auditpipe.schemas.catalogue import builtin
    from auditpipe.schemas.published import Problem, problems

    catalogue = builtin().extended(actions) if actions else builtin()
    good = bad = 0
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            found = problems(strict_json.loads(line), catalogue)
        except ValueError as error:
            found = [Problem("the line", "a JSON object", str(error))]
        good, bad = good + (not found), bad + bool(found)
        for problem in found:
            row = {"line": number, "path": problem.path, "expected": problem.expected, "got": problem.got}
            if output == "json":
                rows.append(row)
            else:
                click.echo(json_bytes(row) if output == "ndjson" else _text(problem, f"{file.name}:{number}"))
    if output == "json":
        click.echo(json_bytes(rows, indent=True))
    click.echo(f"{good} valid, {bad} not", err=True)
    return 1 if bad else 0


def _text(problem: "Problem", place: str) -> str:
    return printable(f"{place}: {problem.path}: expected {problem.expected}, got {problem.got}")


@command.command()
@click.argument("old", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--draft", is_flag=True, help="OLD is a draft schema.")
def diff(old: Path, draft: bool) -> int:
    """Compare an older schema file with this version's, breaking changes first. Exit 1 if there is a breaking one.

    \b
    Examples:
      auditpipe schema diff event-0.1.schema.json
    """
    from auditpipe.schemas import published
    from auditpipe.schemas.compare import differences

    try:
        older = json.loads(old.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{old}: expected a JSON Schema: {error}") from error
    if not isinstance(older, dict) or "properties" not in older:
        raise UsageError(f"{old}: expected the JSON Schema of an event, as `auditpipe schema show` prints it")
    found = differences(older, published.load(published.DRAFT if draft else published.EVENT))
    for difference in found:
        kind = "breaking" if difference.breaking else "compatible"
        click.echo(printable(f"{kind}: {difference.path}: {difference.what}"))
    breaking = sum(difference.breaking for difference in found)
    click.echo(f"{breaking} breaking, {len(found) - breaking} compatible", err=True)
    return 1 if breaking else 0
