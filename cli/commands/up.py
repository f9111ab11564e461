"""`auditpipe up`: the local stack."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditpipe.cli.options import stack_home
from auditpipe.pipeline.visible import printable
from auditpipe.schemas import ports
from auditpipe.schemas.errors import UsageError
from auditpipe.schemas.settings import Settings, load

if TYPE_CHECKING:
    from auditpipe.pipeline.local.stack import Stack, UpOptions
    from auditpipe.pipeline.local.watch import Watch

_DRAIN_SECONDS = 30.0


def _port(flag: str, default: int, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """None where it is not given: what runs, or died, keeps its port (`UpOptions`)."""
    return click.option(
        flag, type=click.IntRange(1, 65535), show_default=f"as it runs already, else {default}", help=text
    )


def stack_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that say how a stack is started; the command gets `home` and `options: UpOptions`."""

    @wraps(function)
    def call(
        home: str | None,
        port: int | None,
        forward_port: int | None,
        metrics_port: int | None,
        heap: str,
        shipper: str,
        console: bool,
        console_port: int | None,
    ) -> Any:
        from auditpipe.pipeline.local.stack import UpOptions

        if console_port and not console:
            raise UsageError("--console-port has no meaning with --no-console: give one of them")
        return function(home, UpOptions(port, forward_port, metrics_port, heap, shipper, console, console_port))

    for option in reversed(_OPTIONS):
        call = option(call)
    return call


_OPTIONS = (
    _port("--port", ports.OPENSEARCH, "OpenSearch's."),
    _port("--forward-port", ports.FORWARD, "The shipper's, for emitters."),
    _port("--metrics-port", ports.METRICS, "The shipper's, for Prometheus."),
    click.option("--heap", default="1g", show_default=True, metavar="SIZE", help="OpenSearch's heap, such as 768m."),
    click.option(
        "--shipper",
        type=click.Choice(["auto", "fluent-bit", "relay"]),
        default="auto",
        show_default=True,
        help="auto: Fluent Bit where there is one, else the relay.",
    ),
    click.option("--no-console", "console", flag_value=False, default=True, help="Without the web page."),
    _port("--console-port", ports.CONSOLE, "The web page's, where Admins look."),
    stack_home("Where its state goes."),
)


@click.command()
@stack_options
def command(home: str | None, options: "UpOptions") -> None:
    """Start OpenSearch, a shipper, the dead-letter replayer and the console on this machine, and provision them.

    What runs already is left alone: calling it twice is fine. The first time it downloads OpenSearch (about 120 MB,
    kept in the cache). Everything listens on loopback only; `auditpipe down` stops it and keeps the data. What keeps
    the console from starting is said, and the rest is up without it.

    \b
    Examples:
      auditpipe up
      auditpipe up --port 9300 --forward-port 24324 --metrics-port 24380 --console-port 24900 --home /srv/audit
      auditpipe up --shipper relay --heap 768m --no-console
    """
    _show(bring_up(home, options), home)


def bring_up(home: str | None, options: "UpOptions") -> "Stack":
    """The stack of this home, started; what a part that died has said is shown before the error goes on."""
    from auditpipe.pipeline.local import stack
    from auditpipe.pipeline.local.process import Ended

    settings = local_settings(home)
    try:
        made = stack.up(settings, options, watch())
    except Ended as error:
        for line in error.said.splitlines():
            click.echo(f"  {printable(line)}", err=True)
        raise
    _send_spooled(settings.spool_dir, made.forward)
    return made


def _send_spooled(spool: Path, forward: str) -> None:
    """What was emitted while nobody listened, and whose process has gone, is sent now and not by the next emit."""
    from auditpipe.cli import spool_probe
    from auditpipe.emitters import AuditLog

    waiting = spool_probe.count(spool)
    if not waiting:
        return
    with AuditLog("auditpipe", forward=forward, spool_dir=spool, exit_timeout=0) as audit:
        drained = audit.drain(_DRAIN_SECONDS)
    left = 0 if drained else spool_probe.count(spool)
    click.echo(f"Sent {waiting - left} events that waited in {printable(str(spool))}, {left} still wait", err=True)


def local_settings(home: str | None) -> Settings:
    """The settings of the local stack: its home, spool, Fluent Bit. A cluster in the environment is not it."""
    names = ("AUDITPIPE_HOME", "AUDITPIPE_FLUENT_BIT", "AUDITPIPE_SPOOL_DIR", "XDG_STATE_HOME")
    return load({"home": home}, environment={name: os.environ[name] for name in names if name in os.environ})


def watch() -> "Watch":
    """Sentences and a progress bar on stderr."""
    from auditpipe.pipeline.local.watch import Watch

    @contextmanager
    def download(total: int) -> Iterator[Callable[[int], None]]:
        with click.progressbar(
            length=total, label="Downloading", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as shown:
            yield shown.update

    return Watch(say=lambda text: click.echo(printable(text), err=True), download=download)


def _what_runs(made: "Stack") -> Iterator[str]:
    """What was started, and what was found running."""
    names = {"opensearch": "OpenSearch", "shipper": made.shipper, "replayer": "the dead-letter replayer"}
    if made.console and made.console.url:
        names["console"] = "the console"
    started = [told for name, told in names.items() if name in made.started]
    found = [told for name, told in names.items() if name not in made.started]
    for state, parts in (("Started", started), ("Already running", found)):
        if parts:
            yield f"{state}: {' and '.join(filter(None, [', '.join(parts[:-1]), parts[-1]]))}."


def _show(made: "Stack", home: str | None) -> None:
    from auditpipe.pipeline.local.console import Console

    page = made.console or Console(problem="not started (--no-console)")
    console = f"{page.url} (sign in with this name and password)" if page.url else page.problem
    lines = (
        *_what_runs(made),
        f"  OpenSearch   {made.url}",
        f"  user         {made.user}, password in {made.password_file}",
        f"  emitters     {made.forward} (Forward)",
        f"  console      {console}",
        "Next:",
        '  auditpipe emit user.user.updated --actor u1 --target user:u7 --before \'{"name": "Doe"}\' '
        '--after \'{"name": "Dow"}\'',
        "  auditpipe search --since 1h",
        "  auditpipe status",
    )
    for line in lines:
        click.echo(printable(line))
    if home is not None:
        click.echo(f"The other commands find it with AUDITPIPE_HOME={printable(home)} or --home.", err=True)
    if os.environ.get("AUDITPIPE_URL"):
        click.echo("note: AUDITPIPE_URL is set: the other commands will use that cluster, not this one", err=True)
