"""`auditpipe access log`: who looked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from auditpipe.cli import terminal
from auditpipe.cli.options import connection_options, output_option
from auditpipe.pipeline.visible import cut, json_bytes, pad, printable, width
from auditpipe.schemas.errors import UsageError
from auditpipe.schemas.identity import format_time
from auditpipe.schemas.settings import Settings

if TYPE_CHECKING:
    from auditpipe.pipeline.looked import Look

_TITLES = ("time (UTC)", "who", "from", "did", "with", "purpose", "what")
#: The widest that a column but the last gets.
_MOST = (19, 24, 39, 18, 20, 40)
_WHOLE = 4_000


@click.command("log")
@click.option("--user", metavar="NAME", help="Only what this person did.")
@click.option("--event", "event_id", metavar="EVENT_ID", help="Only who looked at this event, by its id.")
@click.option("--since", metavar="TIME", help="From then on: 2026-01-31T23:59 (without a zone UTC), 2026-01, 24h ago.")
@click.option("--until", metavar="TIME", help="Up to, not including, then.")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many.")
@output_option("table", "json", "ndjson")
@connection_options()
def log(
    *,
    settings: Settings,
    user: str | None,
    event_id: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    output: str,
) -> None:
    """Who searched, looked at an event, exported, was refused or changed access, newest first. For Super Admins.

    The node writes this record, whichever tool was used, a few seconds after each request. Tool and purpose are the
    reader's own word, and that a search is an export; all else is the node's. The pages of one search are one line.
    It reads 20,000 requests at most, or --limit if that is more, and says how to go on.
    An event that someone saw in a list is not found by --event: the node knows the query, not its answer.

    \b
    Examples:
      auditpipe access log
      auditpipe access log --user ada --since 7d
      auditpipe access log --event 0197b3c4-5d6e-7f80-9a1b-2c3d4e5f6071 -o json
    """
    from auditpipe.pipeline.client import connect, tool_id
    from auditpipe.pipeline.looked import RECORDS, LookFilters, looks
    from auditpipe.pipeline.query import moment

    filters = LookFilters(
        user,
        event_id.strip().lower() if event_id else None,
        None if since is None else moment(since, "since"),
        None if until is None else moment(until, "until"),
    )
    if filters.since_ns is not None and filters.until_ns is not None and filters.since_ns >= filters.until_ns:
        raise UsageError("--since must be before --until: nothing could be found")
    client = connect(settings, opaque_id=tool_id("access log"))
    found = looks(client, filters, limit, most=max(RECORDS, limit))
    shown = found.found
    if output == "table":
        for line in _table(shown):
            terminal.put(line)
    elif output == "json":
        terminal.put_bytes(json_bytes([look.as_dict() for look in shown], indent=True) + b"\n")
    else:
        for look in shown:
            terminal.put_bytes(json_bytes(look.as_dict()) + b"\n")
    terminal.flush()
    more = "" if found.until_ns is None else f"; there are more: --until {format_time(found.until_ns)}, or --limit"
    terminal.remark(f"{len(shown)} shown{more}")


def _table(shown: list[Look]) -> Iterator[str]:
    if not shown:
        return
    rows = [_TITLES, *map(_cells, shown)]
    widths = [min(most, max(width(row[i]) for row in rows)) for i, most in enumerate(_MOST)]
    room = max(terminal.columns() - sum(widths) - 2 * len(widths), 20)
    for number, row in enumerate(rows):
        fitting = [pad(cell, size) for cell, size in zip(row, widths, strict=False)]
        line = "  ".join([*fitting, cut(row[-1], room)]).rstrip() + "\n"
        yield terminal.coloured(line, bold=True) if number == 0 else line


def _cells(look: Look) -> tuple[str, ...]:
    times = f" ({look.requests} requests)" if look.requests > 1 else ""
    cells = (look.time[:19].replace("T", " "), look.user, look.address, look.did, look.tool, look.purpose)
    return (*(printable(cell) for cell in cells), printable(look.about[:_WHOLE]) + times)
