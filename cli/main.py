"""`auditpipe`: the table of its commands, each imported only when it is called."""

from importlib import import_module

import click

from auditpipe.cli.text import refuse_bytes

COMMANDS: dict[str, str] = {
    "up": "Start OpenSearch, a shipper and the console on this machine.",
    "down": "Stop them; the data stays.",
    "status": "What runs, and what waits.",
    "doctor": "What is wrong with a cluster, and how to put it right.",
    "demo": "Start, perform the walkthroughs and show what they left.",
    "provision": "Template, indices, roles and write-once on a cluster.",
    "emit": "Write events from the command line.",
    "search": "Find events.",
    "tail": "Follow events as they arrive.",
    "show": "One event, with what was changed before and after.",
    "export": "Write events to a file, with its manifest.",
    "verify": "Prove that nothing is lost, doubled or altered.",
    "actions": "The catalogue of actions.",
    "schema": "The event's schema: show, validate, diff.",
    "spool": "Events on this machine: list, show, drain, replay.",
    "deadletter": "Events that were given up: list, show, replay.",
    "console": "The web page where Admins look.",
    "access": "Who may look, and who did: grant, revoke, list, check, log, require-purpose.",
    "retention": "Months that are old enough go, on record: show, apply.",
    "hold": "Events that stay, whatever their age: add, list, release.",
    "dashboards": "Saved objects for OpenSearch Dashboards: build, check, import.",
    "relay": "The shipper for single nodes (Forward to OpenSearch).",
}


class LazyGroup(click.Group):
    """`--help` reads the table; a command's module is imported when it is asked for by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command of the table."""
        if cmd_name not in COMMANDS:
            return None
        loaded = import_module(f"auditpipe.cli.commands.{cmd_name}").command
        if not isinstance(loaded, click.Command):
            raise TypeError(f"auditpipe.cli.commands.{cmd_name}.command is not a click command")
        loaded.name, loaded.short_help = cmd_name, COMMANDS[cmd_name]
        refuse_bytes(loaded)
        return loaded

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click, with the nearest name in the message."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without an import."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"auditpipe {version('auditpipe')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Its version."
)
def cli() -> None:
    """Who did what, to what, when, from where, and what changed.

    Data goes to stdout, all else to stderr. Exit: 0 done, 1 a finding, 2 wrong usage, 3 out of reach or not finished,
    4 not allowed, 5 no such event, 70 a bug, 130 interrupted, 141 the reader of a pipe went away.

    \b
    Examples:
      auditpipe up
      auditpipe search --since 24h
      auditpipe search --help
    """
