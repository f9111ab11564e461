"""`auditpipe hold`: events that stay, whatever their age."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from auditpipe.cli import terminal
from auditpipe.cli.options import PSEUDONYM_KEYS, connection_options, filter_options, output_option, with_pseudonyms
from auditpipe.cli.table import aligned
from auditpipe.pipeline.visible import json_bytes, printable
from auditpipe.schemas.settings import Settings

if TYPE_CHECKING:
    from auditpipe.pipeline.query import Filters
    from auditpipe.pipeline.retention.holds import Hold

_COLUMNS = ("HOLD", "SINCE", "BY", "FILTER", "REASON", "RELEASED")


@click.group()
def command() -> None:
    """Legal hold: events that retention does not remove: add, list, release.

    A hold is a filter with a name, such as a case. What it matches stays, now and later, until it is released. Adding
    and releasing needs the admin certificate; each is a signed record that nobody alters.

    \b
    Examples:
      auditpipe hold add case-2026-17 --user u7 --reason "Doe v. Example Ltd"
      auditpipe hold list
      auditpipe hold release case-2026-17 --reason "settled on 2027-03-01"
    """


@command.command()
@click.argument("name")
@filter_options(without=frozenset({"reason"}))
@click.option("--reason", metavar="TEXT", required=True, help="Why; on record for ever.")
@connection_options(default_profile="operator", also=(PSEUDONYM_KEYS,))
def add(*, settings: Settings, name: str, filters: Filters, reason: str) -> None:
    """Keep all events that the filters match under the hold NAME. Without a filter that is every event.

    The filters are those of search, but that --reason is why: events with a reason are -q 'event.reason:...'.
    With a key file the hold has pseudonyms alone, and keeps what is stored under them: what is stored in plain, such as
    most ids, needs a hold without it.

    \b
    Examples:
      auditpipe hold add case-2026-17 --user u7 --since 2025-01 --reason "Doe v. Example Ltd"
      auditpipe hold add merger --org acme --reason "board, 2026-11-20"
      auditpipe hold add case-2026-18 --user ada@example.com --pseudonym-key-file pseudonym.keys --reason "file 18"
    """
    from auditpipe.pipeline.client import connect, tool_id
    from auditpipe.pipeline.retention import holds
    from auditpipe.pipeline.retention.signature import Signer, Trust

    terminal.remark(f"auditpipe: cluster {printable(settings.url)} (from {settings.source})")
    signer, trust = Signer.read(settings), Trust.read(settings)
    filters = with_pseudonyms(filters, settings)
    client = connect(settings, opaque_id=tool_id("hold add", f"{name}: {reason}"[:500]))
    made = holds.add(client, signer, trust, (name, filters, reason))
    kept, found = holds.kept_and_found(client, filters)
    terminal.remark(f"auditpipe: hold {printable(made.name)} keeps {kept} events that are there now")
    if found > kept:
        terminal.remark(
            f"auditpipe: note: {found - kept} more have a value in plain, which this hold does not keep: to keep them,"
            " add another hold without the key file"
        )


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that were released too.")
@output_option("table", "json")
@connection_options()
def list_(*, settings: Settings, everything: bool, output: str) -> None:
    """The holds, for whoever may read every organization's events.

    \b
    Examples:
      auditpipe hold list
      auditpipe hold list --all -o json
    """
    from auditpipe.pipeline.client import connect, tool_id
    from auditpipe.pipeline.retention import holds
    from auditpipe.pipeline.retention.signature import Trust

    client = connect(settings, opaque_id=tool_id("hold list"))
    found = [hold for hold in holds.read(client, Trust.read(settings)) if everything or hold.released is None]
    if output == "json":
        click.echo(json_bytes([hold.as_dict() for hold in found], indent=True))
        return
    for line in aligned([_COLUMNS, *map(_row, found)]):
        terminal.put(line + "\n")
    terminal.flush()


@command.command()
@click.argument("name")
@click.option("--reason", metavar="TEXT", required=True, help="Why; on record for ever.")
@connection_options(default_profile="operator")
def release(*, settings: Settings, name: str, reason: str) -> None:
    """End the hold NAME: what only it kept goes with the next `auditpipe retention apply`.

    \b
    Examples:
      auditpipe hold release case-2026-17 --reason "settled on 2027-03-01"
    """
    from auditpipe.pipeline.client import connect, tool_id
    from auditpipe.pipeline.retention import holds
    from auditpipe.pipeline.retention.signature import Signer, Trust

    terminal.remark(f"auditpipe: cluster {printable(settings.url)} (from {settings.source})")
    signer, trust = Signer.read(settings), Trust.read(settings)
    client = connect(settings, opaque_id=tool_id("hold release", f"{name}: {reason}"[:500]))
    holds.release(client, signer, trust, name, reason)
    terminal.remark(f"auditpipe: hold {printable(name)} is released")


def _row(hold: Hold) -> tuple[str, ...]:
    shown: dict[str, Any] = hold.as_dict()
    words = " ".join(f"--{flag} {value}" for flag, given in hold.added.filter.items() for value in _values(given))
    released = shown["released_at"] or ""
    cells = (
        hold.name,
        shown["added_at"][:10],
        shown["added_by"],
        words or "every event",
        shown["reason"],
        released[:10],
    )
    return tuple(map(printable, cells))


def _values(given: str | list[str]) -> list[str]:
    return given if isinstance(given, list) else [given]
