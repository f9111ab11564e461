"""`auditpipe show`: one event."""

import click

from auditpipe.cli import detail, terminal
from auditpipe.cli.options import connection_options, output_option
from auditpipe.pipeline.client import connect, tool_id
from auditpipe.pipeline.retention.shown import show
from auditpipe.pipeline.tabular import UNREADABLE, text_at
from auditpipe.pipeline.visible import json_bytes
from auditpipe.schemas.errors import Finding
from auditpipe.schemas.settings import Settings


@click.command()
@click.argument("event_id")
@output_option("text", "json")
@connection_options()
def command(settings: Settings, event_id: str, output: str) -> None:
    """Show one event: its sentence, what was changed before and after, and every field.

    It is there as soon as it is stored, before a search finds it. `json` is the document as stored. Exit 1 if what is
    stored can't be read: then what the index knows of it is shown.

    \b
    Examples:
      auditpipe show 0197b3c4-5d6e-7f80-9a1b-2c3d4e5f6071
      auditpipe show 0197b3c4-5d6e-7f80-9a1b-2c3d4e5f6071 -o json
    """
    document = show(connect(settings, opaque_id=tool_id("show")), settings, event_id)
    if output == "json":
        terminal.put_bytes(json_bytes(document, indent=True) + b"\n")
    else:
        for line in detail.lines(document):
            terminal.put(line + "\n")
    terminal.flush()
    if why := text_at(document, UNREADABLE):
        raise Finding(why)
