"""`auditpipe dashboards`: saved objects for OpenSearch Dashboards, made, checked and imported."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditpipe.cli import terminal
from auditpipe.cli.options import connection_options, output_option
from auditpipe.dashboards.objects import build as built
from auditpipe.dashboards.objects.saved import SavedObject, ndjson, parse
from auditpipe.pipeline.client import connect, tool_id
from auditpipe.pipeline.roles import TENANT
from auditpipe.pipeline.visible import printable
from auditpipe.schemas.errors import Finding, OutOfReach, UsageError
from auditpipe.schemas.settings import Settings

if TYPE_CHECKING:
    from auditpipe.dashboards.check.problem import Problem
    from auditpipe.dashboards.imports.importing import Report

_FINDING = 1
_DASHBOARDS = (
    ("dashboards-url", "URL", "OpenSearch Dashboards, such as https://dashboards.example."),
    ("dashboards-ca-file", "FILE", "Its authorities (PEM), if they are others than --ca-file."),
)
_FILE = click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))


@click.group()
def command() -> None:
    """Saved objects for OpenSearch Dashboards: searches, charts and dashboards for audit events.

    \b
    Examples:
      auditpipe dashboards check
      auditpipe dashboards import --url https://os.example:9200 --dashboards-url https://dashboards.example \\
        --username root-admin --password-file password.txt
    """


@command.command("build")
@click.option("--to", "target", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Else stdout.")
def build_command(target: Path | None) -> None:
    """Write the saved objects (.ndjson), as Dashboards exports and imports them. Always the same.

    \b
    Examples:
      auditpipe dashboards build --to audit.ndjson
      auditpipe dashboards build | head -1
    """
    content = ndjson(built.build())
    if target is None:
        with terminal.output() as out:
            out.write(content.encode())
        return
    try:
        target.write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror}: name a file that can be written") from error


@command.command("check")
@_FILE
@click.option("--offline", is_flag=True, help="The objects alone: no cluster is asked.")
@click.option("--allow-empty", is_flag=True, help="What would show nothing is no finding, as on a new cluster.")
@output_option("text", "json")
@connection_options()
def check_command(settings: Settings, file: Path | None, offline: bool, allow_empty: bool, output: str) -> int:
    """Check saved objects, those of FILE or else our own. Exit 1 if there is a finding.

    Attributes, versions and references against what Dashboards 3.4 takes; each field against the mapping; and on the
    cluster, each search, chart, control and query, asked as Dashboards asks: what would be broken or empty is a
    finding. It stops at the first of the three that has one.

    \b
    Examples:
      auditpipe dashboards check
      auditpipe dashboards check export.ndjson --offline
    """
    from auditpipe.dashboards.check import checking

    objects = _objects(file)
    if offline:
        found = checking.offline(objects)
    else:
        click.echo(f"auditpipe: cluster {printable(settings.url)} (from {settings.source})", err=True)
        client = connect(settings, opaque_id=tool_id("dashboards check"))
        found = checking.on_cluster(client, objects, allow_empty=allow_empty)
    _show(found, output)
    click.echo(f"{len(objects)} objects, {len(found)} findings", err=True)
    return _FINDING if found else 0


@command.command("import")
@_FILE
@click.option(
    "--dashboards-tenant",
    "tenant",
    metavar="T",
    default=TENANT,
    show_default=True,
    help="Where to: a tenant, `global`, or '' where Dashboards has none.",
)
@click.option(
    "--wait",
    "patience",
    metavar="SECONDS",
    type=click.FloatRange(0),
    default=60,
    show_default=True,
    help="Seconds to wait for Dashboards to start.",
)
@connection_options(also=_DASHBOARDS)
def import_command(settings: Settings, file: Path | None, tenant: str, patience: float) -> None:
    """Import saved objects into Dashboards, those of FILE or else our own, as someone who may write to the tenant.

    Waits until Dashboards has started, makes sure that it works in that tenant, imports over what is there, and reads
    every object back. If any of it fails, what was there before is put back. Running it again changes nothing.

    \b
    Examples:
      auditpipe dashboards import
      auditpipe dashboards import --dashboards-tenant global --wait 300
    """
    from auditpipe.dashboards.check import checking
    from auditpipe.dashboards.imports import importing
    from auditpipe.dashboards.imports.server import Dashboards

    objects = _objects(file)
    if wrong := checking.offline(objects):
        raise Finding(f"nothing was sent: {wrong[0]} (`auditpipe dashboards check --offline` has all {len(wrong)})")
    server = Dashboards(settings, tenant)
    where = f"tenant {tenant}" if tenant else "no tenant"
    click.echo(f"auditpipe: Dashboards {printable(server.peer.url)}, {printable(where)}", err=True)
    importing.wait(server, patience, _waiting)
    _report(importing.run(server, objects))


def _objects(file: Path | None) -> Sequence[SavedObject]:
    if file is None:
        return built.load()
    try:
        return parse(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} can't be read: {error}") from error


def _show(found: Sequence["Problem"], output: str) -> None:
    if output == "json":
        rows = [{"object": problem.object, "sentence": problem.sentence} for problem in found]
        click.echo(json.dumps(rows, indent=2))
        return
    for problem in found:
        terminal.put(printable(str(problem)) + "\n")
    terminal.flush()


def _waiting(reason: OutOfReach) -> None:
    click.echo(f"auditpipe: waiting for Dashboards: {printable(str(reason))}", err=True)


def _report(report: "Report") -> None:
    for word, names in (("created", report.created), ("changed", report.changed)):
        for name in names:
            terminal.put(f"{word} {printable(name)}\n")
    terminal.flush()
    click.echo(
        f"{len(report.created)} created, {len(report.changed)} changed, {len(report.same)} as they were; all read back",
        err=True,
    )
