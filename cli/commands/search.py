"""`auditpipe search`: find events."""

from collections.abc import Iterable
from typing import Any

import click

from auditpipe.cli import table, terminal
from auditpipe.cli.options import PSEUDONYM_KEYS, connection_options, filter_options, output_option, with_pseudonyms
from auditpipe.pipeline.client import connect, tool_id
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import Order, search
from auditpipe.pipeline.tabular import csv_header, csv_row
from auditpipe.pipeline.visible import json_bytes
from auditpipe.schemas.settings import Settings


@click.command()
@filter_options()
@click.option("--limit", "-n", type=click.IntRange(min=0), default=50, show_default=True, help="At most so many.")
@click.option(
    "--sort", type=click.Choice(["asc", "desc"]), default="desc", show_default=True, help="Oldest, newest first."
)
@output_option("table", "json", "ndjson", "csv")
@click.option("--id", "with_id", is_flag=True, help="Event ids in the table too; `auditpipe show` takes them.")
@connection_options(also=(PSEUDONYM_KEYS,))
def command(settings: Settings, filters: Filters, limit: int, sort: Order, output: str, with_id: bool) -> None:
    """Find events; all given filters must hold.

    The table shows time, action, actor, target, what was changed, outcome and address. `json` is a list and `ndjson` a
    document a line, both as stored. How many there are in all is said on stderr.

    \b
    Examples:
      auditpipe search --since 24h
      auditpipe search --action user.login_failed --ip 192.0.2.0/24
      auditpipe search --action 'user.team.*' --user u7 -o ndjson
      auditpipe search --changed last_name -q 'message:Dow' --sort asc
      auditpipe search --actor ada@example.com --pseudonym-key-file pseudonym.keys
    """
    client = connect(settings, opaque_id=tool_id("search"))
    with search(client, with_pseudonyms(filters, settings), limit=limit, order=sort) as results:
        shown = 0

        def counted() -> Iterable[dict[str, Any]]:
            nonlocal shown
            for document in results.documents:
                shown += 1
                yield document

        _print(counted(), output, with_id)
        terminal.remark(f"{shown} of {results.total}")


def _print(documents: Iterable[dict[str, Any]], output: str, with_id: bool) -> None:
    if output == "table":
        for line in table.lines(documents, with_id=with_id):
            terminal.put(line)
    elif output == "csv":
        terminal.put(csv_header())
        for document in documents:
            terminal.put(csv_row(document))
    elif output == "ndjson":
        for document in documents:
            terminal.put_bytes(json_bytes(document) + b"\n")
    else:
        separator = b"[\n"
        for document in documents:
            terminal.put_bytes(separator + json_bytes(document))
            separator = b",\n"
        terminal.put_bytes(b"[]\n" if separator == b"[\n" else b"\n]\n")
    terminal.flush()
