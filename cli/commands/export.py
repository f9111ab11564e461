"""`auditpipe export`: events into a file, with its manifest."""

import signal
from pathlib import Path
from typing import Any

import click

from auditpipe.cli import terminal
from auditpipe.cli.options import PSEUDONYM_KEYS, connection_options, filter_options, output_option, with_pseudonyms
from auditpipe.cli.progress import bar
from auditpipe.pipeline.client import connect, tool_id
from auditpipe.pipeline.export import Format, Request, check_free, to_file, to_stream, write_alone
from auditpipe.pipeline.manifest import Manifest, path_beside
from auditpipe.pipeline.query import Filters
from auditpipe.schemas.errors import UsageError
from auditpipe.schemas.settings import Settings


@click.command()
@filter_options()
@click.option("--to", "to", required=True, metavar="FILE|-", help="The file, or - for stdout.")
@output_option("ndjson", "csv")
@click.option(
    "--purpose",
    metavar="TEXT",
    help="Why; kept in the manifest and in the node's record of who looked.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--manifest", "manifest_file", metavar="FILE", help="With --to -: where the manifest goes.")
@connection_options(also=(PSEUDONYM_KEYS,))
def command(
    settings: Settings,
    filters: Filters,
    to: str,
    output: Format,
    purpose: str | None,
    force: bool,
    manifest_file: str | None,
) -> None:
    """Write all matching events to FILE, oldest first, and FILE.manifest.json.

    Any number: memory grows with the number of streams alone. Both files appear when all is done, or neither. The end
    of the range is --until, or the moment that the export begins. `auditpipe verify FILE` checks it later; CSV is for
    spreadsheets and can't be.

    \b
    Examples:
      auditpipe export --since 2026-01 --until 2026-02 --to january.ndjson --purpose 'audit 2026-17'
      auditpipe export --action 'user.login_*' --since 7d -o csv --to logins.csv
      auditpipe export --to - --manifest all.manifest.json | zstd > all.ndjson.zst
    """
    if not to or manifest_file == "":
        raise UsageError(f"--{'manifest' if to else 'to'}: expected the name of a file, got an empty one")
    purpose = (purpose or "").strip() or None
    signal.signal(signal.SIGTERM, _stop)
    client = connect(settings, opaque_id=tool_id("export", purpose))
    request = Request(with_pseudonyms(filters, settings), output, purpose)
    if to == "-":
        manifest = _to_stdout(client, request, manifest_file, force)
        terminal.remark(f"{manifest.count} events; SHA-256 {manifest.sha256}")
        return
    if manifest_file is not None:
        raise UsageError("--manifest is for --to -: beside a file it is always FILE.manifest.json")
    path = Path(to)
    manifest = to_file(client, request, path, force=force, progress=bar("exporting"))
    terminal.remark(f"{manifest.count} events in {path}, its manifest in {path_beside(path)}")


def _to_stdout(client: Any, request: Request, manifest_file: str | None, force: bool) -> Manifest:
    beside = Path(manifest_file) if manifest_file else None
    if beside:
        check_free(beside, force=force)
    with terminal.output() as out:
        manifest = to_stream(client, request, out, progress=bar("exporting"))
    if beside:
        # Last, and whole or not at all: what went to stdout can't be taken back, a manifest can be withheld.
        write_alone(beside, manifest.to_json(), force=force)
    return manifest


def _stop(_signal: int, _frame: Any) -> None:
    """SIGTERM as Ctrl-C, so that nothing half-written stays behind."""
    raise KeyboardInterrupt
