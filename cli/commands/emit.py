"""`auditpipe emit`: events from the command line."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from auditpipe.cli import emitting
from auditpipe.cli.options import output_option, say_notes
from auditpipe.pipeline.visible import json_bytes, printable
from auditpipe.schemas import settings as table
from auditpipe.schemas import strict_json
from auditpipe.schemas.errors import UsageError

_SHOWN_PROBLEMS = 20


@click.command()
@click.argument("action", required=False)
@click.option("--file", "file", metavar="FILE", help="NDJSON, an event a line; - is standard input.")
@click.option("--actor", metavar="ID", help="Who did it.")
@click.option("--actor-name", metavar="NAME", help="What people call them.")
@click.option("--target", metavar="TYPE:ID", help="What it was done to.")
@click.option("--target-name", metavar="NAME", help="What people call it.")
@click.option("--involved", metavar="TYPE:ID", multiple=True, help="Someone or something else that took part.")
@click.option("--org", metavar="ORG", help="The tenant.")
@click.option("--before", metavar="JSON|@FILE", help="State before, a JSON object.")
@click.option("--after", metavar="JSON|@FILE", help="State after, a JSON object.")
@click.option("--details", metavar="JSON|@FILE", help="Whatever else is worth keeping, a JSON object.")
@click.option("--outcome", metavar="OUTCOME", help="success, failure or unknown.")
@click.option("--reason", metavar="WORD", help="Why, as the catalogue has it.")
@click.option("--ip", metavar="ADDRESS", help="Where the request came from.")
@click.option("--session", metavar="ID", help="The application's session.")
@click.option("--request", metavar="ID", help="The HTTP request.")
@click.option("--key", metavar="KEY", help="Idempotency key: verify lists what was said twice.")
@click.option("--occurred-at", metavar="TIME", help="When it happened (RFC 3339), for backfill.")
@click.option("--service", default="auditpipe", show_default=True, metavar="NAME", help="Who emits.")
@click.option("--actions", metavar="FILE", help="Further actions (JSON or TOML), as your application defines them.")
@click.option(
    "--pseudonym-key-file", metavar="FILE", help="Replace personal values by keyed hashes, with the first key of FILE."
)
@click.option(
    "--pseudonymize",
    metavar="FIELD",
    multiple=True,
    help="Replace this one and not the usual ones: user.email, changes.NAME, details.NAME.",
)
@click.option("--forward", metavar="HOST:PORT", help="The shipper.")
@click.option("--spool-dir", metavar="DIR", help="Where events wait.")
@click.option("--home", metavar="DIR", help="State of the local stack.")
@click.option("--profile", metavar="NAME", help="Settings by that name, from the home.")
@output_option("id", "ndjson")
def command(**options: Any) -> None:
    """Write one event, or those of a file, and wait up to 5 s for the shipper's acknowledgement.

    Prints the id of each event. When it ends with 0, the events are on disk and will be in OpenSearch exactly once,
    acknowledged already or not (it says which): emitting them again would make new ones.

    A line of --file is a document of the draft schema (`auditpipe schema show --draft`), emit's arguments
    (`{"action": ..., "actor": ...}`), or a stored event as `auditpipe export` writes it. All lines are checked before
    the first is taken. Lines with an `event.id` can be given again: they are stored once.

    \b
    Examples:
      auditpipe emit user.user.updated --actor u1 --target user:u7 \\
          --before '{"last_name": "Doe"}' --after '{"last_name": "Dow"}'
      auditpipe emit user.login_failed --actor u1 --reason bad_credentials --ip 192.0.2.1
      auditpipe emit --file backfill.ndjson
      auditpipe emit user.login_succeeded --actor-name ada --pseudonym-key-file pseudonym.keys
    """
    action, file = options.pop("action"), options.pop("file")
    if (action is None) == (file is None):
        raise UsageError("give either an ACTION or --file; `auditpipe actions` lists the actions")
    flags = {name: options.pop(name) for name in ("forward", "spool_dir", "home", "pseudonym_key_file")}
    settings = table.load(flags, profile=options.pop("profile"))
    say_notes(settings)
    output, service, actions = options.pop("output"), options.pop("service"), options.pop("actions")
    pseudonymize = options.pop("pseudonymize") or None
    if file is not None and (given := [name for name, value in options.items() if value]):
        raise UsageError(f"--file brings whole events: --{given[0].replace('_', '-')} has no meaning with it")

    audit = emitting.audit_log(service, settings, actions=actions or (), pseudonymize=pseudonymize, exit_timeout=0.5)
    emitting.silence()
    with audit:
        events = _of_file(audit, file) if file is not None else iter([audit.emit(action, **_arguments(options))])
        count = 0
        for event in filter(None, events):
            click.echo(event.id if output == "id" else json_bytes(event.document()))
            count += 1
        acknowledged = emitting.settle(audit)
        problem = audit.stats().problem
    emitting.say_state(count, acknowledged, problem, settings)


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    arguments = {
        name: options[name] for name in ("outcome", "reason", "ip", "session", "request", "key", "occurred_at")
    }
    for name in ("before", "after", "details"):
        arguments[name] = _object(f"--{name}", options[name])
    arguments["organization"] = options["org"]
    arguments["involved"] = options["involved"]
    arguments["actor"] = {"id": options["actor"], "name": options["actor_name"]}
    if options["target"] is not None:
        kind, _, target_id = options["target"].partition(":")
        arguments["target"] = {"type": kind, "id": target_id or None, "name": options["target_name"]}
    elif options["target_name"] is not None:
        raise UsageError("--target-name needs --target TYPE or TYPE:ID")
    return arguments


def _object(flag: str, text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = strict_json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except OSError as error:
        raise UsageError(f"{flag}: {text[1:]} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{flag}: expected a JSON object or @FILE, got what is no JSON: {error}") from error
    if not isinstance(value, dict):
        # What was given is not repeated: it may hold a password.
        kind = "a list" if isinstance(value, list) else "another value"
        raise UsageError(f'{flag}: expected a JSON object such as {{"last_name": "Doe"}}, got {kind}')
    return value


def _of_file(audit: Any, name: str) -> Iterator[Any]:
    """Check every line, then append every line, with a progress bar on a terminal."""
    from auditpipe.emitters.intake import Intake

    with _rereadable(name) as lines:
        total = 0
        found = []
        intake = Intake(audit)
        for line in intake.check(lines):
            total += 1
            if total <= _SHOWN_PROBLEMS:
                found.append(f"{name}:{line.number}: {line.problem}")
        for text in found:
            click.echo(printable(text), err=True)
        if total:
            raise UsageError(f"{total} of the lines of {name} can't be taken; none was")
        size = lines.seek(0, 2)
        lines.seek(0)
        with click.progressbar(length=size, label="emitting", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
            yield from intake.append(_counted(lines, bar))


def _counted(lines: IO[bytes], bar: Any) -> Iterator[bytes]:
    for line in lines:
        yield line
        bar.update(len(line))


def _rereadable(name: str) -> IO[bytes]:
    """The file, or a temporary copy of standard input: it is read twice."""
    if name != "-":
        try:
            return Path(name).open("rb")
        except OSError as error:
            raise UsageError(f"--file: {name} can't be read: {error.strerror}") from error
    copy: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    for block in iter(lambda: sys.stdin.buffer.read(1024 * 1024), b""):
        copy.write(block)
    copy.seek(0)
    return copy
