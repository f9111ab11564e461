"""`auditpipe provision`: template, months, roles and write-once on a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from auditpipe.cli import recorded
from auditpipe.cli.options import connection_options, output_option
from auditpipe.pipeline import roles
from auditpipe.pipeline.visible import json_bytes, pad, printable
from auditpipe.schemas.errors import NotAllowed, SettingsError
from auditpipe.schemas.settings import Settings, read_secret

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from auditpipe.pipeline.plan import Plan, Step
    from auditpipe.pipeline.writeonce import WriteOnce


@click.command()
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing; exit 1 if there is anything to do.")
@click.option(
    "--replicas",
    type=click.IntRange(0, 10),
    show_default="as the template has it, else one where there is room",
    help="Copies of each month.",
)
@click.option(
    "--shards",
    type=click.IntRange(1, 64),
    show_default="as the template has it, else 1",
    help="Shards of each month made from now on.",
)
@click.option("--from", "first", metavar="YYYY-MM", help="Make months from this one on, for older events.")
@click.option("--super-admin", metavar="USER", help="The first Super Admin, who grants access to everyone else.")
@click.option("--super-admin-password-file", metavar="FILE", help="Also make that internal user, with this password.")
@click.option("--writer", metavar="USER", default="audit_shipper", show_default=True, help="Who ships the events.")
@click.option("--writer-password-file", metavar="FILE", help="Also make that internal user, with this password.")
@output_option("text", "json")
@connection_options(default_profile="operator")
def command(
    *,
    settings: Settings,
    dry_run: bool,
    replicas: int | None,
    shards: int | None,
    first: str | None,
    super_admin: str | None,
    super_admin_password_file: str | None,
    writer: str,
    writer_password_file: str | None,
    output: str,
) -> int:
    """Make a cluster ready: index template, a year of months, roles, users; then check write-once.

    A second run changes nothing. Where something that is not auditpipe's has one of its names, nothing at all is
    changed. It needs the cluster's admin certificate: the profile `operator` of the local stack, or --cert-file
    and --key-file.

    \b
    Examples:
      auditpipe provision --dry-run
      auditpipe provision --super-admin ada --super-admin-password-file ada.secret
      auditpipe provision --from 2024-01 --replicas 2
      auditpipe provision --url https://os.example:9200 --ca-file ca.pem --cert-file admin.pem --key-file admin.key
    """
    from auditpipe.pipeline import provision
    from auditpipe.pipeline.client import connect, tool_id
    from auditpipe.pipeline.template import Sizes

    if super_admin_password_file and not super_admin:
        raise click.UsageError("--super-admin-password-file needs --super-admin USER: whose password is it?")
    accounts = [provision.writer(writer, _secret(writer_password_file, "--writer-password-file"))]
    if super_admin:
        secret = _secret(super_admin_password_file, "--super-admin-password-file")
        accounts.append(provision.super_admin(super_admin, secret))
    options = provision.Options(
        Sizes(shards, replicas), _month(first), tuple(accounts), provision.sign_in_with(settings)
    )
    click.echo(f"auditpipe: cluster {printable(settings.url)} (from {settings.source})", err=True)
    if not settings.get("cert_file"):
        raise NotAllowed(
            "provisioning needs the cluster's admin certificate: give --cert-file and --key-file, or the profile of "
            "the local stack that has it (--profile operator)"
        )
    client = connect(settings, opaque_id=tool_id("provision"))
    planned = provision.plan(client, options)
    if dry_run or planned.conflicts:
        _show(planned.steps, provision.write_once(client, options, may_change=False), output)
        provision.refuse_conflicts(planned)
        return 1 if planned.changes else 0
    with _on_record(settings, client, planned, super_admin):
        report = provision.apply(client, options, planned)
    _show(planned.steps, report.write_once, output)
    click.echo(f"auditpipe: {_summary(len(report.done))}", err=True)
    return 0


@contextmanager
def _on_record(settings: Settings, client: OpenSearch, planned: Plan, super_admin: str | None) -> Iterator[None]:
    """The first Super Admin is granted too: an audit event, as `access grant` makes it."""
    changed = {step.name for step in planned.changes if step.kind == "role mapping"}
    if super_admin is None or roles.SUPER_ADMIN not in changed:
        yield
        return
    target = {"type": "user", "id": super_admin, "name": super_admin}
    after = {"role": "super-admin"}
    with recorded.on_record(settings, client, recorded.GRANTED, target, after=after) as done:
        yield
        done()


def _show(steps: Sequence[Step], write_once: WriteOnce, output: str) -> None:
    if output == "json":
        document = {"steps": [step.as_dict() for step in steps], "write_once": write_once.value}
        click.echo(json_bytes(document, indent=True))
        return
    for step in steps:
        click.echo(
            f"{step.state.value:<9}{pad(step.kind, 13)}{pad(printable(step.name), 29)}{printable(step.sentence)}"
        )
    click.echo(write_once.sentence)


def _summary(done: int) -> str:
    return f"{done} of these done, and read back" if done else "nothing to do"


def _month(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", text, re.ASCII)
    this_year = datetime.now(UTC).year
    if match is None or not 1970 <= int(match[1]) <= this_year:
        raise click.BadParameter(f"expected a month from 1970 on, such as 2024-01, got {text!r}", param_hint="--from")
    return int(match[1]), int(match[2])


def _secret(path: str | None, flag: str) -> str | None:
    """The first line of a password's file."""
    if path is None:
        return None
    try:
        return read_secret(path, "password_file")
    except SettingsError as error:
        raise SettingsError(f"{flag}: {error.__cause__ or error}") from error
