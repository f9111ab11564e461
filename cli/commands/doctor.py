"""`auditpipe doctor`: what is wrong, and how to put it right."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from auditpipe.cli import spool_probe, terminal
from auditpipe.cli.options import connection_options, output_option
from auditpipe.pipeline.visible import pad, printable
from auditpipe.schemas.errors import SettingsError, SpoolError, SpoolFull
from auditpipe.schemas.settings import Settings, load

if TYPE_CHECKING:
    from auditpipe.pipeline.doctor.check import Check

_COLOURS = {"ok": "green", "warn": "yellow", "finding": "red"}
_FINDING = 1


@click.command()
@output_option("text", "json")
@connection_options(default_profile="operator")
def command(settings: Settings, output: str) -> int:
    """Look at a cluster, its shipper and, where it is one, the local stack. Changes nothing.

    A line for each thing that was looked at: ok, warn, or finding with what to do. Ends with 1 if there is a finding.

    \b
    Examples:
      auditpipe doctor
      auditpipe doctor --url https://os.example:9200 --ca-file ca.pem --cert-file admin.pem --key-file admin.key
    """
    from auditpipe.pipeline.doctor.check import Level

    click.echo(f"auditpipe: cluster {printable(settings.url)} (from {settings.source})", err=True)
    found = []
    for check in _checks(settings):
        found.append(check)
        if output == "text":
            _show(check)
    if output == "json":
        click.echo(json.dumps([asdict(check) for check in found], indent=2))
    return _FINDING if any(check.level is Level.FINDING for check in found) else 0


def _checks(settings: Settings) -> Iterator["Check"]:
    from auditpipe.pipeline.doctor import cluster, shipper

    local = _local_reader(settings)
    yield from cluster.examine(settings, local)
    yield shipper.answers(settings)
    yield _spool(settings)
    if local is not None:
        from auditpipe.pipeline.local import checks
        from auditpipe.pipeline.local.home import Home

        yield from checks.examine(Home(settings.home.absolute()))


def _local_reader(settings: Settings) -> Settings | None:
    """The local stack's shipper, if it is the local stack that is looked at."""
    try:
        own = load({"home": str(settings.home)}, profile="shipper", environment={})
    except SettingsError:
        return None
    return own if own.url == settings.url else None


def _spool(settings: Settings) -> "Check":
    from auditpipe.pipeline.doctor.check import finding, ok, warn

    try:
        spool_probe.check_writable(settings.spool_dir)
        waiting = spool_probe.count(settings.spool_dir)
    except SpoolFull as error:
        return warn("spool", str(error), "free some of the disk, or set AUDITPIPE_SPOOL_DIR to a folder on another")
    except SpoolError as error:
        return finding(
            "spool", str(error), "free the disk, put the folder right, or set AUDITPIPE_SPOOL_DIR to another"
        )
    if waiting:
        remedy = "a running application sends them by itself; what a dead one left, the next `auditpipe emit` sends"
        return warn("spool", f"{waiting} events wait in {settings.spool_dir}", remedy)
    return ok("spool", f"nothing waits in {settings.spool_dir}")


def _show(check: "Check") -> None:
    level = terminal.coloured(pad(check.level.value, 9), _COLOURS[check.level.value])
    terminal.put(f"{level}{pad(printable(check.name), 24)}{printable(check.sentence)}\n")
    if check.remedy:
        terminal.put(f"{' ' * 33}-> {printable(check.remedy)}\n")
    terminal.flush()
