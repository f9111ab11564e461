"""`auditpipe demo`: the stack, the walkthroughs, and what they left."""

import os
import secrets
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditpipe.cli import detail, table, terminal
from auditpipe.cli.commands.up import bring_up, local_settings, stack_options
from auditpipe.cli.progress import bar
from auditpipe.pipeline.client import connect, tool_id
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.reader import search
from auditpipe.pipeline.tabular import field
from auditpipe.pipeline.visible import printable
from auditpipe.schemas.errors import Finding, NotFinished, SettingsError
from auditpipe.schemas.settings import Settings

if TYPE_CHECKING:
    from auditpipe.pipeline.local.stack import Stack, UpOptions

_PATIENCE_S = 60.0
_POLL_S = 0.2
#: Whose detail is shown: the first event of each.
_DETAILS = ("user.user.updated", "user.team.updated")


@click.command()
@stack_options
def command(home: str | None, options: "UpOptions") -> None:
    """Start the local stack as `auditpipe up` does, use an example application, and show what is on record.

    A small web application is served on loopback and used over HTTP: a failed and a good sign-in, a last name changed
    and back, a user added to a team, then one of everything that docs/events.md lists. When all of it can be searched,
    the events are shown, then two of them in full. The stack stays up; running it again adds a run of its own.

    \b
    Examples:
      auditpipe demo
      auditpipe demo --port 9300 --forward-port 24324 --metrics-port 24380 --console-port 24900 --home /srv/audit
    """
    _refuse_other_clusters()
    # The application's packages come with another extra: said before anything is started.
    import auditpipe.examples.accounts.server  # noqa: F401

    made = bring_up(home, options)
    settings = local_settings(home)
    run = f"demo-{secrets.token_hex(3)}"
    expected = _perform(settings, made.forward, run)
    documents = _wait(settings, Filters(lucene=f"http.request.id:{run}-*"), expected)
    terminal.remark("")
    for line in table.lines(documents):
        terminal.put(line)
    for action in _DETAILS:
        terminal.put("\n")
        for line in detail.lines(_first(documents, action)):
            terminal.put(line + "\n")
    terminal.flush()
    _go_on(made, run, _first(documents, _DETAILS[0]), home)


def _refuse_other_clusters() -> None:
    """The demo's events can't be removed again: they go into the stack that `up` makes and into no other."""
    for name in ("AUDITPIPE_URL", "AUDITPIPE_PROFILE"):
        value = os.environ.get(name)
        if value and (name, value) != ("AUDITPIPE_PROFILE", "local"):
            raise SettingsError(
                f"{name} names a cluster, and the demo writes only into the stack that `auditpipe up` makes: unset it"
            )


def _perform(settings: Settings, forward: str, run: str) -> int:
    """Serve the application, perform every step, wait for the shipper. The number of events."""
    from auditpipe.examples.accounts.app import application, audit_log
    from auditpipe.examples.accounts.server import serving
    from auditpipe.examples.accounts.store import sample
    from auditpipe.examples.accounts.walkthrough import perform

    password = secrets.token_urlsafe(16)
    with audit_log(forward=forward, spool_dir=settings.home / "demo") as audit:
        with serving(application(audit, sample(password))) as address:
            terminal.remark(f"The example application is at http://{address}")
            for sentence in perform(address, password, run):
                terminal.remark(sentence)
        if not audit.flush(_PATIENCE_S):
            problem = audit.stats().problem or "it does not acknowledge"
            raise NotFinished(
                f"{audit.stats().spooled} events wait for the shipper at {forward} ({problem}): see `auditpipe status`"
            )
        return audit.stats().acknowledged


def _wait(settings: Settings, filters: Filters, expected: int) -> list[dict[str, Any]]:
    """The events of this run, oldest first, once all can be found. NotFinished, Finding if there are more."""
    client = connect(settings, opaque_id=tool_id("demo"))
    deadline = time.monotonic() + _PATIENCE_S
    terminal.remark(f"Waiting until all {expected} events can be searched")
    with bar("Searchable")(expected) as shown:
        while True:
            with search(client, filters, limit=10 * expected, order="asc") as results:
                documents, total = list(results.documents), results.total
            shown(total)
            if total >= expected:
                break
            if time.monotonic() > deadline:
                raise NotFinished(
                    f"{total} of {expected} events can be searched after {_PATIENCE_S:.0f} s: see `auditpipe status` "
                    "and `auditpipe deadletter list`"
                )
            time.sleep(_POLL_S)
    if total > expected:
        raise Finding(f"expected {expected} events of this run, found {total}: please report it")
    return documents


def _first(documents: list[dict[str, Any]], action: str) -> dict[str, Any]:
    return next(document for document in documents if field(document, "event.action") == action)


def _go_on(made: "Stack", run: str, shown: dict[str, Any], home: str | None) -> None:
    where = ["--home", home] if home else []
    run_filter = ["-q", f"http.request.id:{run}-*"]
    commands = (
        ("This run again, with event ids", ["search", *run_filter, "--id"]),
        ("One event in full", ["show", field(shown, "event.id")]),
        ("Who was added to a team", ["search", "--action", "user.team.updated", "--changed", "members"]),
        ("Everything about Tess", ["search", "--user", field(shown, "audit.target.id"), "--since", "1h"]),
        ("A file, with its manifest", ["export", "--since", "24h", "--to", "audit.ndjson"]),
        ("Is all of it there, and unaltered?", ["verify", "--since", "24h"]),
        ("Stop; the data stays", ["down"]),
    )
    if made.console and made.console.url:
        link = f"{made.console.url}events/{field(shown, 'event.id')}"
        terminal.remark(f"\nThe first of these in the console, as {made.user}: {printable(link)}")
    elif made.console:
        terminal.remark(f"\nThe console does not run: {printable(made.console.problem)}")
    terminal.remark("\nHow to go on")
    for title, arguments in commands:
        terminal.remark(f"  # {title}\n  {printable(shlex.join([*_program(), *arguments, *where]))}")
    terminal.remark(f"These read as {made.user}; the password is in {printable(str(made.password_file))}")


def _program() -> list[str]:
    """How this was called, so that what is shown can be copied."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return [sys.executable, "-m", "auditpipe.cli"]
    on_path = shutil.which("auditpipe")
    if on_path and called.exists() and Path(on_path).samefile(called):
        return ["auditpipe"]
    return [str(called)]
