"""`auditpipe down`: stop the local stack."""

import sys

import click

from auditpipe.cli.commands.up import local_settings, watch
from auditpipe.cli.options import stack_home
from auditpipe.pipeline.visible import printable
from auditpipe.schemas.errors import UsageError


@click.command()
@click.option("--purge", is_flag=True, help="Then remove all that `up` has made: events, certificates, passwords.")
@click.option("--yes", is_flag=True, help="Do not ask before that.")
@stack_home("Whose stack.")
def command(purge: bool, yes: bool, home: str | None) -> None:
    """Stop the console, the shipper, the replayer and OpenSearch, in this order.

    The data stays for the next `auditpipe up`.
    What emitters have spooled stays in their spool, with --purge too, and is sent to the next stack.

    \b
    Examples:
      auditpipe down
      auditpipe down --purge
    """
    from auditpipe.pipeline.local import stack
    from auditpipe.pipeline.local.home import Home

    where = Home(local_settings(home).home.absolute())
    if purge and not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "--purge asks before it removes anything, and nobody is at a terminal to answer: add --yes"
            )
        click.confirm(
            f"Remove every event, certificate and password of {printable(str(where.root))}?", abort=True, err=True
        )
    stopped = stack.down(where, watch())
    click.echo(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.", err=True)
    if purge:
        stack.purge(where)
        click.echo(f"Removed what was in {printable(str(where.root))}.", err=True)
