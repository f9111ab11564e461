"""`auditpipe deadletter`: events that were given up, looked at and sent again."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from auditpipe.cli import terminal
from auditpipe.cli.options import connection_options, output_option
from auditpipe.cli.signals import stop_on_signals
from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.deadletter.letters import Letter, best_record
from auditpipe.pipeline.visible import json_bytes, pad, printable, width
from auditpipe.schemas.errors import Finding
from auditpipe.schemas.identity import LATEST_NS, SECOND, format_time
from auditpipe.schemas.settings import Settings, home_dir, load

INTERVAL = 3.0


def _folders(given: tuple[Path, ...], home: Path) -> list[Path]:
    return list(given) or [home / "dead-letters", home / "fluent-bit" / "storage" / "rejected"]


def _dir_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--dir",
        "dirs",
        multiple=True,
        metavar="DIR",
        type=click.Path(path_type=Path),
        show_default="the local stack's two",
        help="A folder of dead letters; repeatable.",
    )(function)


def _home_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--home", metavar="DIR", help="State of the local stack.")(function)


@click.group()
def command() -> None:
    """Events that were given up: what Fluent Bit's retries ended on, and what can never be stored as it is.

    None of them is lost. The replayer of the local stack and of compose sends Fluent Bit's chunks, and what the relay
    parked, again by itself; an event that was refused with a reason waits for a person: put the reason right, then
    `replay`.

    \b
    Examples:
      auditpipe deadletter list
      auditpipe deadletter show relay-2026-11-23.ndjson
      auditpipe deadletter replay
    """


@command.command("list", short_help="The files, how many events each holds, why.")
@_dir_option
@output_option("table", "json")
@_home_option
def list_(dirs: tuple[Path, ...], output: str, home: str | None) -> None:
    """The files, how many events each holds and why. Exit 1 if there are any.

    Those of kind "waiting" are parked: OpenSearch does not take them yet, and the replayer stores them by itself when
    what they wait for is put right.

    \b
    Examples:
      auditpipe deadletter list
      auditpipe deadletter list --dir /var/lib/fluent-bit/rejected -o json
    """
    rows = [_row(file) for folder in _folders(dirs, _home(home)) for file in dead.files(folder)]
    if output == "json":
        terminal.put_bytes(json_bytes(rows, indent=True) + b"\n")
    elif rows:
        _put_table(rows)
    if rows:
        raise Finding("; ".join(_told(rows)))
    terminal.remark("no dead letters")


@command.command("show", short_help="Each event of a file, and why it is here.")
@click.argument("name", metavar="FILE")
@_dir_option
@click.option("--limit", "-n", type=click.IntRange(min=0), default=100, show_default=True, help="At most so many.")
@output_option("text", "json", "ndjson")
@_home_option
def show(name: str, dirs: tuple[Path, ...], limit: int, output: str, home: str | None) -> None:
    """Each event of a file, and the reason why it is here.

    \b
    Examples:
      auditpipe deadletter show relay-2026-11-23.ndjson
      auditpipe deadletter show relay-2026-11-23.ndjson -o ndjson | jq .record
    """
    file = dead.find(name, _folders(dirs, _home(home)))
    letters = islice(dead.letters_of(file), limit)
    parked = file.kind is dead.Kind.WAITING
    if output == "json":
        terminal.put_bytes(json_bytes([_fields(letter) for letter in letters], indent=True) + b"\n")
        return
    for letter in letters:
        if output == "ndjson":
            terminal.put_bytes(json_bytes(_fields(letter)) + b"\n")
        else:
            terminal.put("".join(f"{line}\n" for line in _text(letter, parked)))


@command.command("replay", short_help="Send dead letters again.")
@click.argument("names", metavar="[FILE]...", nargs=-1)
@_dir_option
@click.option("--watch", is_flag=True, help="Go on for ever, until SIGTERM.")
@click.option("--interval", type=click.FloatRange(min=0.1), default=INTERVAL, show_default=True, help="Seconds; watch.")
@click.option("--wait", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds to try for.")
@connection_options(default_profile="shipper")
def replay(
    names: tuple[str, ...], dirs: tuple[Path, ...], watch: bool, interval: float, wait: float, settings: Settings
) -> None:
    """Send dead letters again, straight to OpenSearch, each under its id into its own month.

    A file goes when each of its events is stored, or was refused again and is kept in `refused/` with the reason. With
    --watch what heals by itself is sent, for ever: Fluent Bit's chunks, which were given up in an outage, and events
    that the relay parked, which wait for a month or a permission. Without, everything is.
    Exit 1 if an event was refused again, 3 if the cluster could not take all of them yet.

    \b
    Examples:
      auditpipe deadletter replay
      auditpipe deadletter replay relay-2026-11-23.ndjson
      auditpipe deadletter replay --watch --dir /var/lib/fluent-bit/rejected
    """
    if watch and names:
        raise click.UsageError("--watch takes what comes: give no FILE with it")
    import logging

    from auditpipe.pipeline.client import tool_id
    from auditpipe.pipeline.deadletter.replay import Replayer
    from auditpipe.pipeline.relay.transport import open_transport

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("opensearch").setLevel(logging.CRITICAL)  # says at length what ours says in a line
    folders = _folders(dirs, settings.home)
    replayer = Replayer(open_transport(settings, tool_id("deadletter")))
    if watch:
        terminal.remark(
            f"replaying into {settings.url} what was given up or parked, from {', '.join(map(str, folders))}"
        )
        with stop_on_signals() as stop:
            replayer.watch(folders, stop, interval=interval)
        return
    everything = [file for folder in folders for file in dead.files(folder)]
    files = [dead.find(name, folders) for name in names] if names else everything
    if not files:
        terminal.remark("no dead letters")
        return
    terminal.remark(f"replaying {len(files)} files into {settings.url}")
    with stop_on_signals() as stop:
        total = replayer.until_done(files, stop, patience=wait)
    terminal.remark(f"{total.done} events are stored")
    if total.refused:
        raise Finding(f"{total.refused} events were refused again: see `auditpipe deadletter list`")


def _home(given: str | None) -> Path:
    return home_dir(given) if given else load().home


def _row(file: dead.DeadFile) -> dict[str, Any]:
    summary = dead.summarize(file)
    return {
        "file": str(file.path),
        "kind": file.kind.value,
        "modified": format_time(int(file.modified) * SECOND),
        "events": summary.count,
        "reasons": dict(summary.reasons.most_common()),
        "waiting_for": dict(summary.waits.most_common()),
        "oldest": _time(summary.oldest),
    }


def _told(rows: list[dict[str, Any]]) -> Iterator[str]:
    dead_rows = [row for row in rows if not row["waiting_for"]]
    if dead_rows:
        events = sum(row["events"] for row in dead_rows)
        yield f"{events} dead letters in {len(dead_rows)} files: `auditpipe deadletter show FILE` says why"
    if parked := sum(sum(row["waiting_for"].values()) for row in rows):
        yield f"{parked} events are parked, and are stored by the replayer when what they wait for is put right"


def _put_table(rows: list[dict[str, Any]]) -> None:
    titles = ["file", "kind", "modified (UTC)", "events", "oldest event (UTC)", "reasons"]
    lines = [[printable(cell) for cell in _cells(row)] for row in rows]
    widths = [max(width(line[i]) for line in [titles, *lines]) for i in range(len(titles))]
    for number, line in enumerate([titles, *lines]):
        text = "  ".join(pad(cell, size) for cell, size in zip(line, widths, strict=True)).rstrip()
        terminal.put(terminal.coloured(text, bold=number == 0) + "\n")


def _cells(row: dict[str, Any]) -> list[str]:
    reasons = ", ".join(f"{reason} {count}" for reason, count in row["reasons"].items())
    if row["waiting_for"]:
        reasons = "; ".join(f"{count} waiting for: {wait}" for wait, count in row["waiting_for"].items())
    times = [str(row[name] or "")[:19].replace("T", " ") for name in ("modified", "oldest")]
    return [Path(row["file"]).name, row["kind"], times[0], str(row["events"]), times[1], reasons]


def _fields(letter: Letter) -> dict[str, Any]:
    reason = {name: _text_of(text) for name, text in letter.reason._asdict().items()}
    names = {"tag": _text_of(letter.tag), "id": None if letter.id is None else _text_of(letter.id)}
    fields = letter._asdict() | names | {"reason": reason, "time": _time(letter.time)}
    packed = fields.pop("packed")
    if packed is not None:
        fields["record"] = None
        fields["bytes"] = packed.hex()
    return fields


def _text_of(text: str) -> str:
    """Without lone surrogates, which JSON can't hold: what came as bytes that are no UTF-8 has them."""
    return text.encode("utf-8", "replace").decode()


def _text(letter: Letter, parked: bool) -> Iterator[str]:
    record = best_record(letter)
    yield terminal.coloured(f"{_time(letter.time) or 'no time'}  {printable(letter.id or 'no id')}", bold=True)
    reason = f"{printable(letter.reason.type)}: {printable(letter.reason.detail)}"
    yield "  " + terminal.coloured(reason, "red")
    if parked:
        yield f"  waiting for: {printable(dead.wait_of(letter))}"
    if letter.at:
        yield f"  {'parked' if parked else 'given up'} at {printable(letter.at)}"
    try:
        yield "  " + json_bytes(record).decode()
    except TypeError:
        yield f"  {printable(ascii(record))}"


def _time(ns: int | None) -> str | None:
    return format_time(ns) if ns is not None and 0 <= ns <= LATEST_NS else None
