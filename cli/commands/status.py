"""`auditpipe status`: what runs, and what waits."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from auditpipe.cli.commands.up import local_settings
from auditpipe.cli.options import output_option, stack_home
from auditpipe.cli.spool_probe import count as count_spooled
from auditpipe.pipeline.visible import pad, printable
from auditpipe.schemas.errors import AuditpipeError, SpoolError
from auditpipe.schemas.identity import INDEX_PATTERN
from auditpipe.schemas.settings import Settings, load

if TYPE_CHECKING:
    from auditpipe.pipeline.local.stack import Part

_NOT_RUNNING = 3


@dataclass(frozen=True, slots=True)
class _Numbers:
    """`stored` is None where nobody could be asked, and `problem` says why; `spooled` is None where the spool can't be
    read. `parked`: by what they wait for. `no_index`: by the month that has none. `held_up`: what the shipper says that
    its events wait for, and what to do.
    """

    stored: int | None
    problem: str | None
    dead_letters: int
    chunks: int
    spooled: int | None
    parked: dict[str, int]
    no_index: dict[str, int]
    held_up: dict[str, str]


@click.command()
@output_option("text", "json")
@stack_home("Whose stack.")
def command(output: str, home: str | None) -> int:
    """Each part of the local stack: whether it runs, since when and where; how many events are where, and why.

    Ends with 3 if a part does not run (a console that was not started need not), or OpenSearch can't say how much it
    holds.

    \b
    Examples:
      auditpipe status
      auditpipe status -o json
    """
    from auditpipe.pipeline.local import stack
    from auditpipe.pipeline.local.home import Home

    settings = local_settings(home)
    where = Home(settings.home.absolute())
    parts = stack.parts(where)
    numbers = _numbers(where, parts, settings)
    if output == "json":
        document = {"home": str(where.root), "parts": [_row(part) for part in parts], "events": asdict(numbers)}
        click.echo(json.dumps(document, indent=2))
    else:
        _show(parts, numbers)
    return 0 if not any(part.missing for part in parts) and numbers.problem is None else _NOT_RUNNING


def _numbers(home: Any, parts: tuple["Part", ...], settings: Settings) -> _Numbers:
    from auditpipe.pipeline.local.counts import count

    stored: int | None = None
    problem: str | None = f"nobody can be asked: OpenSearch is {parts[0].state.value}"
    no_index: dict[str, int] = {}
    if parts[0].running:
        try:
            stored, no_index, problem = *_asked(home), None
        except AuditpipeError as error:
            problem = str(error)
    waiting = count(home)
    try:
        spooled = count_spooled(settings.spool_dir)
    except SpoolError:
        spooled = None
    return _Numbers(
        stored,
        problem,
        waiting.dead_letters,
        waiting.chunks,
        spooled,
        dict(waiting.parked),
        no_index,
        _held_up(parts),
    )


def _held_up(parts: tuple["Part", ...]) -> dict[str, str]:
    from auditpipe.pipeline.doctor.check import Level
    from auditpipe.pipeline.local import health, shipper

    running = [part.record for part in parts if part.name == shipper.NAME and part.running and part.record is not None]
    found = [check for record in running for check in health.examine(record)]
    return {check.sentence: check.remedy for check in found if check.level is not Level.OK}


def _asked(home: Any) -> tuple[int, dict[str, int]]:
    """How many events OpenSearch holds, and how many wait in Fluent Bit for a month that it does not have."""
    from auditpipe.pipeline.client import connect, edge, tool_id
    from auditpipe.pipeline.local import months
    from auditpipe.pipeline.reader import complete

    settings = load({"home": str(home.root)}, profile="local", environment={})
    client = connect(settings, opaque_id=tool_id("status"), read_seconds=10)
    with edge():
        # A closed month would be passed over, and its events not counted.
        stored = complete(client.count(index=INDEX_PATTERN, params={"expand_wildcards": "all"}))["count"]
    return stored, months.missing(home, client)


def _row(part: "Part") -> Mapping[str, Any]:
    record = part.record if part.running else None
    return {
        "name": part.name,
        "state": part.state.value,
        "problem": part.problem or None,
        "pid": record.pid if record else None,
        "address": record.address or None if record else None,
        "since": _time(record.started) if record else None,
        "program": record.program if record else None,
        "metrics": record.metrics or None if record else None,
        "log": part.record.log if part.record else None,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _show(parts: tuple["Part", ...], numbers: _Numbers) -> None:
    for part in parts:
        row = _row(part)
        if part.running:
            told = f"{pad(row['address'] or '-', 26)}process {row['pid']} since {row['since']}  {row['program']}"
        elif part.problem:
            told = f"{part.problem}: {part.remedy}"
        else:
            told = f"its log is {row['log']}" if row["log"] else part.remedy
        click.echo(printable(f"{pad(row['name'], 12)}{pad(row['state'], 10)}{told}"))
    click.echo(f"stored       {printable(numbers.problem or '') if numbers.stored is None else numbers.stored}")
    spooled = "it can't be read: `auditpipe doctor`" if numbers.spooled is None else numbers.spooled
    click.echo(f"spooled      {spooled}  (waiting for the shipper)")
    click.echo(f"in shipper   {numbers.chunks}  (chunks that Fluent Bit has acknowledged and not yet delivered)")
    click.echo(f"dead letters {numbers.dead_letters}{'  (auditpipe deadletter list)' if numbers.dead_letters else ''}")
    if numbers.no_index:
        from auditpipe.pipeline.local import months

        told = ", ".join(f"{month} ({number} events)" for month, number in numbers.no_index.items())
        click.echo(f"no index for {told}: {months.remedy(numbers.no_index)}")
    for wait, number in numbers.parked.items():
        click.echo(f"parked       {number}  (waiting for: {printable(wait)})")
    for sentence, remedy in numbers.held_up.items():
        click.echo(f"held up      {printable(sentence)} -> {printable(remedy)}")
    if numbers.spooled or numbers.chunks:
        click.echo("If they stay, `auditpipe doctor` says what is wrong.")
