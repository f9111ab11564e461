"""`auditpipe tail`: follow events."""

import time
from collections.abc import Callable
from typing import Any

import click

from auditpipe.cli import table, terminal
from auditpipe.cli.options import PSEUDONYM_KEYS, connection_options, filter_options, output_option, with_pseudonyms
from auditpipe.cli.signals import Interrupted, until_interrupted
from auditpipe.pipeline.client import connect, tool_id
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.tail import Tail
from auditpipe.pipeline.visible import json_bytes
from auditpipe.schemas.errors import NotFinished
from auditpipe.schemas.settings import Settings

#: While OpenSearch is away, the pause doubles up to this many seconds.
LONGEST_PAUSE = 10.0


@click.command()
@filter_options(until=False)
@output_option("table", "ndjson")
@click.option(
    "--interval", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds between looks."
)
@connection_options(also=(PSEUDONYM_KEYS,))
def command(settings: Settings, filters: Filters, output: str, interval: float) -> None:
    """Follow events in order of arrival, until Ctrl-C.

    Late ones, of any month, come when they arrive. `--since` first shows what happened since then. When OpenSearch goes
    away, tail waits for it and goes on where it was.

    \b
    Examples:
      auditpipe tail
      auditpipe tail --since 1h --outcome failure
      auditpipe tail --action 'user.*.exported' -o ndjson
    """
    tail = Tail(connect(settings, opaque_id=tool_id("tail")), with_pseudonyms(filters, settings))
    put = _writer(output)
    with until_interrupted() as interrupted:
        _pass_on(tail, put)  # the first look fails like any command
        while not interrupted.yes:
            time.sleep(interval)
            _outlast(tail, put, interval, interrupted)


def _outlast(tail: Tail, put: Callable[[dict[str, Any]], None], pause: float, interrupted: Interrupted) -> None:
    """One look, waiting for as long as OpenSearch is away."""
    away = False
    while not interrupted.yes:
        try:
            _pass_on(tail, put)
        except NotFinished as error:
            if not away:
                terminal.remark(f"auditpipe: {error}; waiting for it")
            away = True
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        else:
            if away:
                terminal.remark("auditpipe: it is back; nothing was missed")
            return


def _pass_on(tail: Tail, put: Callable[[dict[str, Any]], None]) -> None:
    for document in tail.poll():
        put(document)
        terminal.flush()


def _writer(output: str) -> Callable[[dict[str, Any]], None]:
    if output == "ndjson":
        return lambda document: terminal.put_bytes(json_bytes(document) + b"\n")
    widths = table.fixed(terminal.columns())
    terminal.put(table.header(widths))
    terminal.flush()
    return lambda document: terminal.put(table.line(document, widths))
