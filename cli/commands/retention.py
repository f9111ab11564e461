"""`auditpipe retention`: months that are old enough go, with a signed record of what went."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from auditpipe.cli import terminal
from auditpipe.cli.options import connection_options, output_option
from auditpipe.cli.table import aligned
from auditpipe.pipeline.visible import printable
from auditpipe.schemas.errors import UsageError
from auditpipe.schemas.identity import INDEX_PATTERN
from auditpipe.schemas.settings import Settings

if TYPE_CHECKING:
    from auditpipe.pipeline.retention.months import Month
    from auditpipe.pipeline.retention.remove_month import Outcome

_COLUMNS = ("MONTH", "EVENTS", "SIZE", "OLDEST", "NEWEST", "HELD", "STATE")
_UNITS = ("B", "kB", "MB", "GB", "TB")


@click.group()
def command() -> None:
    """Months that are old enough go; what a hold keeps stays: show, apply.

    \b
    Examples:
      auditpipe retention show --keep 24
      auditpipe retention apply --keep 24 --dry-run
    """


@command.command()
@click.option("--keep", type=int, metavar="MONTHS", help="Say what `apply --keep MONTHS` would do with each.")
@output_option("table", "json")
@connection_options(default_profile="operator")
def show(*, settings: Settings, keep: int | None, output: str) -> None:
    """Each month: events, size, the oldest and the newest, what holds keep, when it was removed.

    Sizes, and months without events, are for the admin certificate; all else a reader sees too.

    \b
    Examples:
      auditpipe retention show
      auditpipe retention show --keep 24 -o json
    """
    from auditpipe.pipeline.client import connect, tool_id
    from auditpipe.pipeline.retention import months
    from auditpipe.pipeline.retention.signature import Trust

    if keep is not None:
        months.check_keep(keep)
    client = connect(settings, opaque_id=tool_id("retention show"))
    _put(months.survey(client, Trust.read(settings)), keep, output)


@command.command()
@click.option("--keep", type=int, required=True, metavar="MONTHS", help="So many before the running one stay.")
@click.option("--dry-run", is_flag=True, help="Show what would go and change nothing; exit 1 if there is anything.")
@click.option("--reason", metavar="TEXT", help="Why; in the signed record.")
@click.option("--yes", is_flag=True, help="Do not ask before anything is removed.")
@connection_options(default_profile="operator")
def apply(*, settings: Settings, keep: int, dry_run: bool, reason: str | None, yes: bool) -> int:
    """Remove the months before the last MONTHS, but for what a hold keeps. It needs the admin certificate.

    A signed record says first what goes: `verify` tells it from a loss, and an event of such a month that still comes
    becomes a dead letter with that reason. What was interrupted, the next run finishes.

    \b
    Examples:
      auditpipe retention apply --keep 24 --dry-run
      auditpipe retention apply --keep 24 --reason "policy 7.2: two years" --yes
    """
    from auditpipe.pipeline.client import connect, tool_id
    from auditpipe.pipeline.retention import months, underway
    from auditpipe.pipeline.retention.remove_month import Remover
    from auditpipe.pipeline.retention.signature import Signer, Trust

    months.check_keep(keep)
    _check_reason(reason)
    terminal.remark(f"auditpipe: cluster {printable(settings.url)} (from {settings.source})")
    signer, trust = Signer.read(settings), Trust.read(settings)
    purpose = f"keep {keep}: {reason}" if reason else f"keep {keep}"
    client = connect(settings, opaque_id=tool_id("retention apply", purpose[:500]))
    remover = Remover(client, signer, trust, keep, reason)
    remover.check()
    if not dry_run:
        underway.clear(client, INDEX_PATTERN)  # left by a run that was ended
    wanted = months.to_remove(months.survey(client, trust), keep, time.time_ns())
    if not wanted:
        terminal.remark("auditpipe: nothing to remove")
        return 0
    _put(wanted, keep, "table")
    if dry_run:
        return 1
    if not yes:
        _ask(wanted)
    for month in wanted:
        terminal.remark(f"auditpipe: {_told(remover.remove(month))}")
    return 0


def _ask(wanted: Sequence[Month]) -> None:
    if not sys.stdin.isatty():
        raise UsageError("it asks before it removes anything, and nobody is at a terminal to answer: add --yes")
    gone = sum(month.events - month.kept for month in wanted)
    click.confirm(f"Remove {gone} events of {len(wanted)} months for ever?", abort=True, err=True)


def _check_reason(reason: str | None) -> None:
    if reason is not None and not 1 <= len(reason.strip()) <= len(reason) <= 1_000:
        raise UsageError(f"--reason: expected 1 to 1000 characters, got {len(reason)}")


def _put(found: Sequence[Month], keep: int | None, output: str) -> None:
    now_ns = time.time_ns()
    if output == "json":
        rows = [month.as_dict() | ({} if keep is None else {"fate": month.fate(keep, now_ns).value}) for month in found]
        click.echo(json.dumps(rows, indent=2))
        return
    for line in aligned([_COLUMNS, *(_row(month, keep, now_ns) for month in found)]):
        terminal.put(line + "\n")
    terminal.flush()


def _row(month: Month, keep: int | None, now_ns: int) -> tuple[str, ...]:
    times = [(time_ or "")[:16].replace("T", " ") for time_ in (month.oldest, month.newest)]
    held = ", ".join(f"{name} {count}" for name, count in month.held.items())
    return (month.month, str(month.events), _size(month.size), *times, printable(held), _state(month, keep, now_ns))


def _state(month: Month, keep: int | None, now_ns: int) -> str:
    said = [] if keep is None or not month.exists else [month.fate(keep, now_ns).value]
    if month.removed is not None:
        what = "removed" if not month.exists else "partly removed"
        said.append(f"{what} on {month.removed.timestamp[:10]}, record {month.removed.record}")
    return printable("; ".join(said))


def _size(size: int | None) -> str:
    if size is None:
        return ""
    value, unit = float(size), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def _told(outcome: Outcome) -> str:
    said = f"{outcome.month}: {outcome.removed} events removed"
    if outcome.kept:
        said += f", {outcome.kept} kept by holds"
    said += f"; record {outcome.record}" if outcome.record else "; as an earlier run had recorded"
    if outcome.flawed:
        found = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in outcome.flawed.items())
        said += f"; among them were findings of `verify`, which the record counts: {found}"
    return said
