"""`auditpipe access`: who may look."""

from __future__ import annotations

import re
import shlex
import time
from typing import TYPE_CHECKING

import click

from auditpipe.cli import recorded, terminal
from auditpipe.cli.commands import access_log
from auditpipe.cli.options import connection_options, output_option
from auditpipe.pipeline.visible import json_bytes, pad, printable, width
from auditpipe.schemas.errors import SettingsError, UsageError
from auditpipe.schemas.identity import DAY, SECOND
from auditpipe.schemas.settings import Settings, read_secret

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from auditpipe.pipeline.access import Grant

_ROLE_WORDS = ("admin", "super-admin", "auditor")
_COLUMNS = ("USER", "ROLE", "ORGANIZATION", "UNTIL", "NOTE")
_AHEAD = re.compile(r"(\d{1,5})([hdw])", re.ASCII)
_UNITS = {"h": 3600 * SECOND, "d": DAY, "w": 7 * DAY}


_backend_role = click.option(
    "--backend-role", metavar="NAME", help="Not a USER, but whoever signs in with this backend role."
)


@click.group()
def command() -> None:
    """Who may look at audit events, and who did: grant, revoke, list, check, log, require-purpose.

    Nobody may until a Super Admin grants it; `auditpipe provision --super-admin USER` makes the first one.
    The node itself enforces every grant, at each request and whichever tool it comes from.

    \b
    Examples:
      auditpipe access grant ada --role admin
      auditpipe access list
      auditpipe access log --user ada --since 7d
    """


@command.command()
@click.argument("user", required=False)
@click.option("--role", type=click.Choice(_ROLE_WORDS), required=True, help="What they may do: docs/access-roles.md.")
@_backend_role
@click.option("--org", metavar="ORG", help="Only the events of this organization.")
@click.option("--until", metavar="DATE", help="Until then, not including it: 2027-01-31, 2027-01-31T18:00Z, 30d.")
@click.option("--reason", metavar="TEXT", help="Why; kept in the audit event, and by the node.")
@click.option("--user-password-file", metavar="FILE", help="Make the internal user with this password, if missing.")
@connection_options()
def grant(
    *,
    settings: Settings,
    user: str | None,
    role: str,
    backend_role: str | None,
    org: str | None,
    until: str | None,
    reason: str | None,
    user_password_file: str | None,
) -> None:
    """Give USER access, as a Super Admin; or everyone whom a token, a proxy, SAML or LDAP gives a backend role.

    Instead of what they had of that role for that organization: a grant with --until ends one without. With --org it
    holds for what a person searches, counts and reads with any tool, not against requests written to get around it:
    docs/access-roles.md. Each grant, and each refused one, is an audit event.

    \b
    Examples:
      auditpipe access grant ada --role admin
      auditpipe access grant eve --role auditor --until 2027-01-31 --reason "SOC 2"
      auditpipe access grant kim --role admin --org acme --user-password-file kim.secret
      auditpipe access grant --backend-role soc --role admin
    """
    from auditpipe.pipeline import access

    name = _holder(user, backend_role)
    if backend_role and user_password_file:
        raise UsageError("--user-password-file makes an internal user: it has no meaning with --backend-role")
    wanted = access.Grant(name, role, org, _moment(until), backend=backend_role is not None)
    access.check(wanted)
    password = _secret(user_password_file)
    client = _connect(settings, "access grant", _sentence(wanted, "to"), reason)
    asked = {"organization": org, "after": _state(wanted)}
    with recorded.on_record(settings, client, recorded.GRANTED, _target(wanted), reason=reason, **asked) as done:
        notes = access.grant(client, wanted, password=password)
        done()
    for note in notes:
        click.echo(f"auditpipe: note: {printable(note)}", err=True)
    click.echo(f"auditpipe: granted {_sentence(wanted, 'to')}", err=True)
    if user_password_file:
        where = {"url": settings.url, "ca-file": settings.get("ca_file"), "username": name}
        flags = [f"--{name}={value}" for name, value in where.items() if value]
        command_line = shlex.join(["auditpipe", "search", *flags, f"--password-file={user_password_file}"])
        click.echo(printable(f"They look with: {command_line}"), err=True)


@command.command()
@click.argument("user", required=False)
@click.option("--role", type=click.Choice(_ROLE_WORDS), help="Only this role's grants.")
@_backend_role
@click.option("--org", metavar="ORG", help="Only the grants for this organization.")
@click.option("--reason", metavar="TEXT", help="Why; kept in the audit event, and by the node.")
@connection_options()
def revoke(
    *,
    settings: Settings,
    user: str | None,
    role: str | None,
    backend_role: str | None,
    org: str | None,
    reason: str | None,
) -> int:
    """Take back USER's access, or that of a backend role, as a Super Admin: all of it, or some.

    The last Super Admin can't be revoked. Exit 1 if there was nothing to take back. Each is an audit event.

    \b
    Examples:
      auditpipe access revoke ada
      auditpipe access revoke kim --role admin --org acme
      auditpipe access revoke --backend-role soc
    """
    from auditpipe.pipeline import access

    name = _holder(user, backend_role)
    whose = access.Grant(name, role or "", org, backend=backend_role is not None)
    what = f"{role or 'everything'} from {whose.holder}" + (f" for {org}" if org else "")
    client = _connect(settings, "access revoke", what, reason)
    asked = {"organization": org, "before": {"role": role or "every"}}
    with recorded.on_record(settings, client, recorded.REVOKED, _target(whose), reason=reason, **asked) as done:
        taken = access.revoke(client, name, role, org, backend=whose.backend)
        for old in taken:
            done(organization=old.organization, before=_state(old))
        if not taken:
            done(**asked, reason="not_found")
    for old in taken:
        click.echo(f"auditpipe: revoked {_sentence(old, 'from')}", err=True)
    if not taken:
        click.echo(f"auditpipe: {printable(whose.holder)} has no such grant: nothing was changed", err=True)
    return 0 if taken else 1


@command.command("list")
@output_option("table", "json")
@connection_options()
def list_(*, settings: Settings, output: str) -> None:
    """Everyone who may look, as a Super Admin.

    \b
    Examples:
      auditpipe access list
      auditpipe access list -o json
    """
    from auditpipe.pipeline import access

    found = access.grants(_connect(settings, "access list"))
    if output == "json":
        click.echo(json_bytes([one.as_dict() for one in found], indent=True))
        return
    rows = [_COLUMNS, *(_row(one) for one in found)]
    columns = [max(width(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        click.echo("  ".join(pad(cell, size) for cell, size in zip(row, columns, strict=True)).rstrip())


@command.command("check")
@click.argument("user")
@output_option("text", "json")
@connection_options()
def check(*, settings: Settings, user: str, output: str) -> int:
    """What USER may see now, and by what. As a Super Admin. Exit 1 if it is nothing.

    Says what the node's roles amount to: organizations, ends, grants that hide events from each other, and roles of
    others that reach audit events. Who signs in another way (SAML, LDAP) may have backend roles besides.

    \b
    Examples:
      auditpipe access check ada
      auditpipe access check kim -o json
    """
    from auditpipe.pipeline.person import standing

    found = standing(_connect(settings, "access check"), user)
    if output == "json":
        terminal.put_bytes(json_bytes(found.as_dict(), indent=True) + b"\n")
    else:
        for line in found.sentences():
            terminal.put(printable(line) + "\n")
    terminal.flush()
    return 0 if found.may_look else 1


@command.command("require-purpose")
@click.argument("state", type=click.Choice(["on", "off"]))
@connection_options()
def require_purpose(*, settings: Settings, state: str) -> None:
    """Make every export say why, or no longer. As a Super Admin.

    It holds for `auditpipe export` and the console, for everyone, whatever their settings are. Other programs (curl,
    Dashboards) are not bound by it: what they read is on the node's record all the same, without a purpose.

    \b
    Examples:
      auditpipe access require-purpose on
      auditpipe access require-purpose off
    """
    from auditpipe.pipeline import purpose

    purpose.require(_connect(settings, "access require-purpose", state), required=state == "on")
    terminal.remark(f"auditpipe: an export {'has to' if state == 'on' else 'need not'} say why")


command.add_command(access_log.log)


def _connect(settings: Settings, tool: str, change: str | None = None, reason: str | None = None) -> OpenSearch:
    """A client; one that changes something says first where, and tells the node's audit log what and why."""
    from auditpipe.pipeline.client import connect, tool_id

    if change is None:
        return connect(settings, opaque_id=tool_id(tool))
    click.echo(f"auditpipe: cluster {printable(settings.url)} (from {settings.source})", err=True)
    return connect(settings, opaque_id=tool_id(tool, f"{change}: {reason}" if reason else change))


def _row(one: Grant) -> tuple[str, ...]:
    where = "(every)" if one.organization is None else one.organization
    return printable(one.holder), one.word, printable(where), one.end or "", printable(one.note)


def _sentence(one: Grant, preposition: str) -> str:
    where = "every organization" if one.organization is None else printable(one.organization)
    end = "" if one.end is None else f", until {one.end}"
    return f"{one.word} {preposition} {printable(one.holder)} for {where}{end}"


def _holder(user: str | None, backend_role: str | None) -> str:
    """The one that was given."""
    if (user is None) == (backend_role is None):
        raise UsageError("give either a USER or --backend-role NAME")
    return user if user is not None else str(backend_role)


def _target(one: Grant) -> dict[str, str]:
    return {"type": "backend_role" if one.backend else "user", "id": one.user, "name": one.user}


def _state(one: Grant) -> dict[str, str]:
    """A grant as an audit event tells it."""
    told = {"role": one.word, "organization": one.organization, "until": one.end}
    return {name: value for name, value in told.items() if value is not None}


def _moment(text: str | None) -> int | None:
    """Milliseconds since 1970 of a date, or of so long from now."""
    if text is None:
        return None
    if ahead := _AHEAD.fullmatch(text.strip()):
        return (time.time_ns() + int(ahead[1]) * _UNITS[ahead[2]]) // SECOND * 1000
    from auditpipe.pipeline.query import moment

    if not re.match(r"\d{4}-\d\d-\d\d", text.strip(), re.ASCII):
        raise UsageError(f"--until: expected a day such as 2027-01-31, a time, or how long: 12h, 30d, 4w; got {text!r}")
    return moment(text, "until") // SECOND * 1000


def _secret(path: str | None) -> str | None:
    try:
        return read_secret(path, "password_file")
    except SettingsError as error:
        raise SettingsError(f"--user-password-file: {error.__cause__ or error}") from error
