"""`auditpipe verify`: is everything there, once, unaltered and in its place?"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import click

from auditpipe.cli import terminal
from auditpipe.cli.options import PSEUDONYM_KEYS, connection_options, filter_options, output_option, with_pseudonyms
from auditpipe.cli.progress import bar
from auditpipe.cli.verify_spool import LocalSpool
from auditpipe.pipeline.client import connect, tool_id
from auditpipe.pipeline.query import Filters
from auditpipe.pipeline.retention.signature import Trust
from auditpipe.pipeline.verify import from_file, from_index
from auditpipe.pipeline.verify.chain import Tally, Verdict, verdict
from auditpipe.pipeline.verify.event import Flaw
from auditpipe.pipeline.verify.from_file import ExportFile
from auditpipe.pipeline.verify.view import Terms
from auditpipe.pipeline.visible import json_bytes, printable
from auditpipe.schemas.catalogue import builtin
from auditpipe.schemas.errors import UsageError
from auditpipe.schemas.settings import Settings

_EXIT = {
    **{"sound": 0, "empty": 0, "hash only": 0},
    **{"findings": 1, "ask the index": 1, "not verifiable": 1, "not finished": 3},
}
_MEANING = {
    "sound": "every number is there once or on record as removed, every hash and link holds",
    "findings": "something is not as it was written",
    "empty": "nothing to verify",
    "hash only": "what could be checked holds; a loss could not be seen here",
    "ask the index": "what is here holds; whether the missing numbers are lost, only the index can tell",
    "not verifiable": "the hashes do not hold, not one of them: all was altered, or read through a masked or cut view",
    "not finished": "some are not there yet; run it again in a minute",
}


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@filter_options()
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds that an event may be on its way.",
)
@click.option(
    "--abandoned-after",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Without an event for so long, a stream that was not closed counts as abandoned: a guess.",
)
@click.option(
    "--actions",
    metavar="FILE",
    help="Your application's actions (JSON or TOML): with them an event of any other, or unlike them, is a finding.",
)
@click.option(
    "--manifest", "manifest_file", type=click.Path(path_type=Path), help="Of FILE, if not FILE.manifest.json."
)
@output_option("text", "json")
@connection_options(also=(PSEUDONYM_KEYS,))
def command(
    settings: Settings,
    file: Path | None,
    filters: Filters,
    grace: float,
    abandoned_after: float,
    actions: str | None,
    manifest_file: Path | None,
    output: str,
) -> None:
    """Check hashes, links, gaps, doubles and places, on the index or on an exported FILE.

    Each finding goes to stdout with stream, number, event id and time; the summary to stderr. Exit 1 with findings, 3
    if some events may still be on their way. --org, --service and times leave whole streams to check; with any other
    filter only the hashes of what is found can be. A cut-off end of a stream is not seen, nor a stream gone whole.

    \b
    Examples:
      auditpipe verify
      auditpipe verify --since 2026-01 --until 2026-02 -o json
      auditpipe verify january.ndjson
      auditpipe verify --actions my-actions.toml
    """
    spool = LocalSpool(settings.spool_dir)
    terms = Terms(
        grace_seconds=grace,
        abandoned_seconds=abandoned_after * 3600,
        catalogue=builtin().extended(actions) if actions else None,
        held=spool.held,
        lives=spool.lives,
        # Without a cluster there is no authority: a file's records of retention are told as not checked.
        trust=Trust.read(settings) if settings.get("url") else None,
    )
    if file is None:
        code = _index(settings, filters, terms, output)
    elif filters != Filters():
        raise UsageError("filters are for the index: a file is verified as a whole")
    else:
        code = _file(file, manifest_file, terms, output)
    click.get_current_context().exit(code)


def _index(settings: Settings, filters: Filters, terms: Terms, output: str) -> int:
    tally = Tally()
    client = connect(settings, opaque_id=tool_id("verify"))
    filters = with_pseudonyms(filters, settings)
    view = from_index.view_of(client, filters, terms)
    with from_index.findings(client, filters, view, tally, bar("verifying"), terms) as flaws:
        return _print(flaws, output, lambda: (verdict(tally, view), tally))


def _file(path: Path, manifest: Path | None, terms: Terms, output: str) -> int:
    tally = Tally()
    export = from_file.open_export(path, manifest)
    if export.is_csv:
        return _csv(export, tally, output)
    if export.manifest is None and not export.flaws:
        terminal.remark("no manifest: an event that is missing at the end of a stream could not be seen")
    with from_file.findings(export, tally, bar("verifying"), terms) as (view, flaws):
        return _print(flaws, output, lambda: (verdict(tally, view), tally))


def _csv(export: ExportFile, tally: Tally, output: str) -> int:
    terminal.remark("CSV does not hold what its events' own hashes cover: only the file's hash can be checked")
    flaws = map(tally.note, from_file.csv_findings(export))
    without_findings: Verdict = "hash only" if export.manifest else "not verifiable"
    return _print(flaws, output, lambda: ("findings" if tally.findings else without_findings, tally))


def _print(flaws: Iterator[Flaw], output: str, conclude: Callable[[], tuple[Verdict, Tally]]) -> int:
    """Findings as they come, then what is to be said of them all."""
    separator = b'{"findings":[\n'
    for flaw in flaws:
        if output == "json":
            terminal.put_bytes(separator + json_bytes({**asdict(flaw), "note": flaw.is_note}))
            separator = b",\n"
        else:
            terminal.put(_line(flaw) + "\n")
    said, tally = conclude()
    if output == "json":
        names = ("events", "streams", "closed_streams", "open_streams", "abandoned_streams")
        counts = {name: getattr(tally, name) for name in names}
        rest = json_bytes({"verdict": said, **counts, "kinds": dict(tally.kinds)}).removeprefix(b"{")
        terminal.put_bytes((separator if separator.startswith(b"{") else b"") + b"],\n" + rest + b"\n")
    terminal.flush()
    terminal.remark(_summary(said, tally))
    return _EXIT[said]


def _line(flaw: Flaw) -> str:
    where = {"stream": flaw.stream, "number": flaw.sequence, "event": flaw.event_id, "time": flaw.time}
    places = "  ".join(f"{name} {printable(str(value))}" for name, value in where.items() if value is not None)
    kind = terminal.coloured(flaw.kind.replace("_", " "), "yellow" if flaw.is_note else "red")
    return f"{kind}: {printable(flaw.detail)}" + (f"\n    {places}" if places else "")


def _summary(said: Verdict, tally: Tally) -> str:
    looked = f"{tally.events} events in {tally.streams} streams{_states(tally)}"
    found = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in sorted(tally.kinds.items()))
    meaning = _MEANING[said] if tally.events or said != "not verifiable" else "there is no manifest to check it against"
    return "; ".join(filter(None, (f"{said}: {looked if tally.events else ''}".rstrip(": "), meaning, found)))


def _states(tally: Tally) -> str:
    told = {"closed": tally.closed_streams, "open": tally.open_streams, "abandoned": tally.abandoned_streams}
    told["not closed in this view"] = tally.streams - sum(told.values())
    states = ", ".join(f"{count} {state}" for state, count in told.items() if count)
    return f" ({states})" if states else ""
