"""What is wrong with a local stack: its processes, its folders, its certificates."""

from collections.abc import Iterator
from datetime import timedelta

from auditpipe.pipeline.client import connect, tool_id
from auditpipe.pipeline.doctor.check import Check, finding, ok, warn
from auditpipe.pipeline.fluent_bit import unkept
from auditpipe.pipeline.local import certificates, counts, health, months, shipper, stack
from auditpipe.pipeline.local.home import Home
from auditpipe.schemas.errors import AuditpipeError, SettingsError
from auditpipe.schemas.settings import load

#: From an event's `emit` to the end of Fluent Bit's retries, amply.
_LONGEST_WAY = timedelta(days=1)


def examine(home: Home) -> Iterator[Check]:
    """Look at the stack of this home. Nothing is said of a home that no `up` has made."""
    if not home.run.is_dir():
        return
    yield from _processes(home)
    yield from _certificates(home)
    yield _modes(home)
    waiting = counts.count(home)
    yield _dead_letters(waiting)
    yield from _parked(waiting)
    yield from _damaged(home, waiting)
    yield from _unkept(home)
    yield _chunks(home, waiting)
    yield _months(home)


def _processes(home: Home) -> Iterator[Check]:
    for part in stack.parts(home):
        if part.running and part.record is not None:
            yield ok(part.name, f"process {part.record.pid} ({part.record.program})")
            if part.name == shipper.NAME:
                yield from health.examine(part.record)
        elif part.missing:
            told = f"has ended; its log is {part.record.log}" if part.record else "does not run"
            yield finding(part.name, part.problem or told, part.remedy)


def _certificates(home: Home) -> Iterator[Check]:
    for path in (home.certificates / "ca.pem", home.certificates / "admin.pem"):
        try:
            end = certificates.end_of(path)
        except SettingsError as error:
            yield finding(path.name, str(error), "`auditpipe up` makes what is missing")
            continue
        sentence = f"{path} ends {end:%Y-%m-%d}"
        if certificates.is_due(end):
            yield warn(path.name, sentence, "`auditpipe up` renews it")
        else:
            yield ok(path.name, sentence)


def _modes(home: Home) -> Check:
    """Nothing of the home that holds a secret may be read by others."""
    if exposed := home.open_to_others():
        named = " ".join(map(str, exposed))
        return finding("file modes", f"open to others: {named}", f"chmod go= {named}")
    return ok("file modes", f"{len(home.private())} files and folders for their owner alone")


def _dead_letters(waiting: counts.Waiting) -> Check:
    if number := waiting.dead_letters:
        remedy = "`auditpipe deadletter list` says why; put that right, then `auditpipe deadletter replay`"
        why = ", ".join(f"{reason} {count}" for reason, count in waiting.reasons.most_common())
        return finding("dead letters", f"{number} events are not in OpenSearch: {why}", remedy)
    return ok("dead letters", "none")


def _parked(waiting: counts.Waiting) -> Iterator[Check]:
    if not waiting.parked:
        yield ok("parked events", "none")
    for wait, number in waiting.parked.items():
        remedy = "put that right; the replayer of `auditpipe up` then stores them by itself"
        yield finding("parked events", f"{number} waiting for: {wait}", remedy)


def _damaged(home: Home, waiting: counts.Waiting) -> Iterator[Check]:
    """Fluent Bit says so once, at its start, and goes on with the others."""
    for path, told in waiting.damaged.items():
        remedy = (
            f"mv {path} {home.rejected}: the replayer sends what can be read of it, and keeps the rest as dead letter"
        )
        yield finding("damaged chunk", f"{path}: {told}: Fluent Bit passes it over", remedy)


def _unkept(home: Home) -> Iterator[Check]:
    """Whoever emitted their events has them still, as long as a spool keeps what was acknowledged."""
    name, log = "chunks given up", home.fluent_bit_log
    try:
        found = unkept.times(log)
    except SettingsError as error:
        yield warn(name, str(error), "let this user read it: nothing else tells of events that Fluent Bit has lost")
        return
    if found:
        last = f"{found[-1]:%Y-%m-%d %H:%M:%S}Z"
        told = f"Fluent Bit kept no copy of {len(found)} chunks that its retries gave up, the last at {last}"
        since = f"{found[0] - _LONGEST_WAY:%Y-%m-%dT%H:%M:%SZ}"
        remedy = (
            f"where events were emitted `auditpipe spool replay --since {since}`, then `auditpipe verify`; "
            f"when it is sound, `: > {log}`"
        )
        yield finding(name, told, remedy)


def _chunks(home: Home, waiting: counts.Waiting) -> Check:
    if number := waiting.chunks - len(waiting.damaged):
        remedy = f"look again in a while; if it grows, read {home.fluent_bit_log}"
        return warn("shipper's buffer", f"{number} chunks are not delivered yet", remedy)
    return ok("shipper's buffer", "empty")


def _months(home: Home) -> Check:
    """Nothing else tells why what Fluent Bit holds is not delivered."""
    name = "months"
    try:
        reader = load({"home": str(home.root)}, profile="local", environment={})
        missing = months.missing(home, connect(reader, opaque_id=tool_id("doctor"), read_seconds=10))
    except AuditpipeError as error:
        return warn(name, f"not looked at: {error}", "look again when OpenSearch answers")
    if missing:
        told = ", ".join(f"{month} ({count} events)" for month, count in missing.items())
        return finding(name, f"events wait for months that have no index: {told}", months.remedy(missing))
    return ok(name, "no event waits in Fluent Bit for one that has no index")
