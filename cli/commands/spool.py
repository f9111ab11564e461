"""`auditpipe spool`: what waits on this machine, looked at, sent, and sent again."""

import logging
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditpipe.cli import signals, spool_probe, terminal
from auditpipe.cli.options import output_option
from auditpipe.cli.spool_view import describe, row, table, text_line
from auditpipe.pipeline.query import moment
from auditpipe.pipeline.visible import json_bytes, printable
from auditpipe.schemas.errors import Finding, NotFinished, SettingsError, SpoolError, UsageError
from auditpipe.schemas.settings import Settings, load, read_secret

if TYPE_CHECKING:
    from auditpipe.emitters.adopter import Adopter
    from auditpipe.emitters.forward import ForwardSender
    from auditpipe.emitters.spool.archive import Damaged, Entry
    from auditpipe.emitters.spool.selection import Selection
    from auditpipe.emitters.spool.summary import Summary

_Command = Callable[..., Any]


def _spool_options(*, sends: bool) -> Callable[[_Command], _Command]:
    """--spool-dir, --home and --profile, with --forward for what sends; the command gets `settings: Settings`."""

    def decorate(function: _Command) -> _Command:
        @wraps(function)
        def call(
            *args: Any,
            spool_dir: str | None,
            home: str | None,
            profile: str | None,
            forward: str | None = None,
            **kw: Any,
        ) -> Any:
            settings = load({"spool_dir": spool_dir, "home": home, "forward": forward}, profile=profile)
            if spool_dir is not None and not settings.spool_dir.is_dir():
                raise UsageError(f"--spool-dir: {spool_dir} is no folder")
            return function(*args, settings=settings, **kw)

        decorated = click.option("--profile", metavar="NAME", help="Settings by that name, from the home.")(call)
        decorated = click.option("--home", metavar="DIR", help="State of the local stack.")(decorated)
        if sends:
            decorated = click.option("--forward", metavar="HOST:PORT", help="The shipper.")(decorated)
        return click.option("--spool-dir", metavar="DIR", help="Where events wait.")(decorated)

    return decorate


def _selection_options(function: _Command) -> _Command:
    """Add the filters; the command gets them as `selection: Selection`."""

    @wraps(function)
    def call(
        *args: Any,
        stream: str | None,
        first: int | None,
        last: int | None,
        since: str | None,
        until: str | None,
        **kw: Any,
    ) -> Any:
        from auditpipe.emitters.spool.selection import Selection

        if stream is None and (first is not None or last is not None):
            raise UsageError("--from and --to are numbers in a stream: give --stream with them")
        since_ns = None if since is None else moment(since, "since")
        until_ns = None if until is None else moment(until, "until")
        return function(*args, selection=Selection(stream, first, last, since_ns, until_ns), **kw)

    number = click.IntRange(min=1)
    for option in (
        click.option("--until", metavar="TIME", help="Up to, not including, then."),
        click.option(
            "--since", metavar="TIME", help="From then on: 2026-01-31T23:59 (UTC), 2026-01-31, or 24h, 7d ago."
        ),
        click.option("--to", "last", type=number, metavar="M", help="Its last number."),
        click.option("--from", "first", type=number, metavar="N", help="Its first number (`audit.sequence`)."),
        click.option("--stream", metavar="STREAM", help="Events of this stream (`audit.stream`)."),
    ):
        call = option(call)
    return call


@click.group()
def command() -> None:
    """What the spool of this machine holds: events that wait for the shipper, and acknowledged ones, kept for a time.

    Each process that emits has a folder in it. It sends its own events, and those that dead processes left. These
    commands read beside it; `drain` and `replay` send.

    \b
    Examples:
      auditpipe spool list
      auditpipe spool show --waiting
      auditpipe spool drain
    """


@command.command("list", short_help="Each writer's folder: whose it is, what waits, what is kept.")
@output_option("table", "json")
@_spool_options(sends=False)
def list_(output: str, settings: Settings) -> None:
    """Each writer's folder: whose it is, how much waits, how much is acknowledged and kept, how old, how damaged.

    "in use": its process lives, and sends what waits. "being sent": its process is gone, and another one is sending.
    "left": its process is gone, and nobody sends: `auditpipe spool drain`. "kept": all of it is acknowledged.
    Exit 1 if events are left, or bytes are damaged; 3 if a folder can't be read; 0 otherwise, also where a living
    process has much to send. An append that was cut short when its process was killed is no damage: `emit` had not
    returned.

    \b
    Examples:
      auditpipe spool list
      auditpipe spool list --spool-dir /var/lib/accounts/spool -o json
    """
    from auditpipe.emitters.spool.summary import summaries

    found = summaries(settings.spool_dir)
    if output == "json":
        terminal.put_bytes(json_bytes([row(summary) for summary in found], indent=True) + b"\n")
    elif found:
        for line in table(found):
            terminal.put(line)
    terminal.remark(printable(f"{settings.spool_dir}: {describe(found)}"))
    unreadable = [summary.problem for summary in found if summary.problem]
    if unreadable:
        raise SpoolError("; ".join(unreadable))
    if told := "; ".join(_findings(found)):
        raise Finding(told)


@command.command("show", short_help="The events in it, one a line.")
@click.argument("folder", required=False, metavar="[FOLDER]")
@_selection_options
@click.option("--waiting", is_flag=True, help="Only what is not acknowledged.")
@output_option("text", "ndjson")
@_spool_options(sends=False)
def show(folder: str | None, selection: "Selection", waiting: bool, output: str, settings: Settings) -> None:
    """The events in one folder of `auditpipe spool list`, or in all: id, time, action, stream/sequence, and whether
    they are acknowledged or wait. ndjson: the stored documents, a document a line.

    \b
    Examples:
      auditpipe spool show --waiting
      auditpipe spool show 019d2b7c-4c1e-7d52-8c5b-0f4be2a4f6c1 -o ndjson | jq .message
      auditpipe spool show --stream 019d2b7c-4c1e-7d52-8c5b-0f4be2a4f6c2 --from 40 --to 60
    """
    from auditpipe.emitters.spool.archive import Damaged

    shown = damaged = 0
    for part in _contents(settings.spool_dir, folder, only_waiting=waiting):
        if isinstance(part, Damaged):
            damaged += 0 if part.cut_short else part.size
        elif selection.takes(part):
            try:
                _put_event(part, output)
                shown += 1
            except SpoolError as error:
                terminal.remark(printable(str(error)))
    terminal.flush()
    terminal.remark(f"{shown} events")
    if damaged:
        terminal.remark(f"{damaged} bytes are damaged: no events")


@command.command("drain", short_help="Send what dead processes left.")
@click.option("--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds to try for.")
@click.option("--watch", is_flag=True, help="Go on for ever, until SIGTERM.")
@_spool_options(sends=True)
def drain(timeout: float, watch: bool, settings: Settings) -> None:
    """Send now what processes that are gone left in the spool, and wait for the shipper's acknowledgement.

    Exit 0 when nothing is left, 3 when something is: it says how many events wait and why. What living processes have
    to send stays theirs. With --watch it goes on for ever, for machines whose applications may all be down (a systemd
    unit comes along: docs/spool.md). Root acts as the user whose spool it is.

    \b
    Examples:
      auditpipe spool drain
      auditpipe spool drain --timeout 600 --forward 10.0.0.7:24224
      auditpipe spool drain --watch
    """
    from auditpipe.emitters.adopter import Adopter
    from auditpipe.emitters.options import SpoolOptions

    options = SpoolOptions()
    adopter = Adopter(settings.spool_dir, _connector(settings, options.acknowledge_timeout), options)
    if watch:
        _watch(adopter, settings)
    else:
        _drain(adopter, timeout, settings)


@command.command("replay", short_help="Send acknowledged events again.")
@_selection_options
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=60.0, show_default=True, help="Seconds for each chunk."
)
@_spool_options(sends=True)
def replay(selection: "Selection", timeout: float, settings: Settings) -> None:
    """Send events again that were acknowledged: a range that `auditpipe verify` misses, while the spool keeps it.

    Harmless for what is there already: each event has its id, and is stored once. Nothing in the spool is changed.
    Without a filter all that is kept is sent. Exit 0 with how many were sent and acknowledged, 1 if none matched,
    3 if not all were acknowledged.

    \b
    Examples:
      auditpipe spool replay --stream 019d2b7c-4c1e-7d52-8c5b-0f4be2a4f6c2 --from 40 --to 60
      auditpipe spool replay --since 2h
    """
    from auditpipe.cli.progress import bar
    from auditpipe.emitters.options import SpoolOptions
    from auditpipe.emitters.resend import resend

    total = waiting = 0
    for entry in _matching(settings.spool_dir, selection):
        total, waiting = total + entry.acknowledged, waiting + (not entry.acknowledged)
    if not total:
        wait = f"; {waiting} match and wait: `auditpipe spool drain` sends what is left" if waiting else ""
        raise Finding(f"{settings.spool_dir} keeps no acknowledged event that matches{wait}")
    sender = _connector(settings, timeout)()
    acknowledged = (entry for entry in _matching(settings.spool_dir, selection) if entry.acknowledged)
    sent = 0
    try:
        with bar("replaying")(total) as at:
            for count in resend(acknowledged, sender, SpoolOptions()):
                sent += count
                at(sent)
    except NotFinished as error:
        raise NotFinished(f"{sent} of {total} events were acknowledged again, the others were not: {error}") from error
    finally:
        sender.disconnect()
    terminal.remark(f"{sent} events were sent again, and acknowledged by {_shipper(settings)}")
    if waiting:
        terminal.remark(f"{waiting} more match and wait: their process sends them, or `auditpipe spool drain`")


def _findings(found: "list[Summary]") -> Iterator[str]:
    left = [summary.waiting.events for summary in found if summary.state == "left"]
    if left:
        yield f"{sum(left)} events are left by processes that are gone: `auditpipe spool drain` sends them"
    if damaged := sum(summary.damaged_bytes for summary in found):
        yield f"{damaged} bytes are damaged: no events; what is whole around them is sent"


def _watch(adopter: "Adopter", settings: Settings) -> None:
    terminal.show_log(logging.INFO)
    terminal.remark(printable(f"sending what is left in {settings.spool_dir} to {_shipper(settings)}"))
    with signals.stop_on_signals() as stop:
        _act_as_owner(settings)
        adopter.worker.start()
        stop.wait()
        adopter.stop()


def _drain(adopter: "Adopter", timeout: float, settings: Settings) -> None:
    from auditpipe.cli.progress import bar
    from auditpipe.emitters.drain import drain as until_drained
    from auditpipe.emitters.spool.summary import unsent

    terminal.show_log(logging.WARNING)
    _act_as_owner(settings)
    total = sum(summary.waiting.events for summary in unsent(settings.spool_dir))
    with bar("draining")(total) as at:
        outcome = until_drained(adopter, timeout, at)
    if outcome.damaged_bytes:
        terminal.remark(f"{outcome.damaged_bytes} bytes are damaged and were passed over: `auditpipe spool list`")
    if outcome.problem is not None:
        waiting = sum(summary.waiting.events for summary in outcome.left)
        raise NotFinished(
            f"{outcome.sent} events were sent, {waiting} in {len(outcome.left)} folders still wait: {outcome.problem}"
        )
    terminal.remark(
        printable(
            f"{outcome.sent} events were sent; nothing is left by processes that are gone in {settings.spool_dir}"
        )
    )


def _act_as_owner(settings: Settings) -> None:
    """Called last, once all is imported and the key is read: that user may be allowed neither."""
    owner = spool_probe.become_owner(settings.spool_dir)
    if owner is not None:
        terminal.remark(printable(f"acting as user {owner}, who owns {settings.spool_dir}"))


def _connector(settings: Settings, timeout: float) -> "Callable[[], ForwardSender]":
    from auditpipe.emitters.forward import ForwardSender

    host, port = settings.forward
    key = read_secret(settings.get("forward_shared_key_file"), "forward_shared_key_file")
    ca_file = settings.get("forward_ca_file")

    def connect() -> ForwardSender:
        return ForwardSender(host, port, timeout=timeout, ca_file=ca_file, shared_key=key)

    try:
        connect()  # opens nothing yet, and reads the authorities
    except OSError as error:
        raise SettingsError(f"AUDITPIPE_FORWARD_CA_FILE names {ca_file}, which can't be used: {error}") from error
    return connect


def _shipper(settings: Settings) -> str:
    host, port = settings.forward
    return f"{host}:{port}"


def _matching(spool: Path, selection: "Selection") -> "Iterator[Entry]":
    from auditpipe.emitters.spool.archive import entries

    return filter(selection.takes, entries(spool))


def _contents(spool: Path, name: str | None, *, only_waiting: bool) -> "Iterator[Entry | Damaged]":
    from auditpipe.emitters.spool.archive import contents, folders

    chosen = [folder for folder in folders(spool) if name in (None, folder.name)]
    if name is not None and not chosen:
        raise UsageError(f"{spool} has no folder {name}: see `auditpipe spool list`")
    for folder in chosen:
        yield from contents(folder, only_waiting=only_waiting)


def _put_event(entry: "Entry", output: str) -> None:
    document = entry.document
    if output == "text":
        terminal.put(text_line(entry, document))
        return
    try:
        terminal.put_bytes(json_bytes(document) + b"\n")
    except TypeError as error:  # what a foreign writer put into a whole frame
        raise SpoolError(f"{entry.place} is no event: {error}") from error
