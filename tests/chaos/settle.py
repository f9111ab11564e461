"""The wait after the last fault: until every part is empty, or nothing moves any more: then what is stuck is named."""

import subprocess
import time
from collections import Counter
from collections.abc import Iterator

from auditpipe.emitters.spool.summary import unsent
from auditpipe.pipeline.deadletter import folder as dead
from auditpipe.pipeline.local import counts
from auditpipe.schemas.errors import AuditpipeError
from auditpipe.schemas.identity import INDEX_PATTERN
from tests.chaos import ledger
from tests.chaos.crew import Crew
from tests.chaos.world import World

#: Without any change of what waits.
DEADLINE_SECONDS = 300.0
#: In all, in deadlines: what was away for an hour may be many events behind.
_DEADLINES = 4
_POLL_SECONDS = 1.0


def settle(world: World, crew: Crew, deadline: float = DEADLINE_SECONDS) -> tuple[float, list[str]]:
    """Seconds until nothing waits anywhere, and what went wrong: a new application drains the spool, the rest happens
    by itself, with never `deadline` seconds without progress. Parts that end meanwhile are started again, as by a
    supervisor.
    """
    began = time.monotonic()
    problems: list[str] = []
    drain = crew.drain(deadline * _DEADLINES)
    before, changed = [""], began
    try:
        while what := list(_waiting(world, crew, drain)):
            now = time.monotonic()
            before, changed = what, changed if what == before else now
            if now - changed > deadline or now - began > deadline * _DEADLINES:
                problems.append(f"not at rest {now - began:.0f} s after the last fault: {'; '.join(what)}")
                break
            problems += world.tend()
            time.sleep(_POLL_SECONDS)
    finally:
        drain.kill()
        drain.wait()
    return time.monotonic() - began, problems


def _waiting(world: World, crew: Crew, drain: "subprocess.Popen[bytes]") -> Iterator[str]:
    code = drain.poll()
    if code is None:
        waits = sum(summary.waiting.events for summary in unsent(crew.spool))
        yield f"the spool is being drained, {waits} events wait in it"
    elif code:
        yield f"the application that drains the spool ended with {code}: see emitters.log"
    # Counted as files: what is in them would have to be read each time.
    for where in (world.home.dead_letters, world.home.rejected):
        for kind, files in Counter(file.kind.value for file in dead.files(where)).items():
            yield f"{files} files of dead letters in {where} ({kind})"
    if chunks := counts.chunks(world.home):
        yield f"{len(chunks)} chunks of Fluent Bit"
    if code == 0:
        yield from _missing(world, crew)


def _missing(world: World, crew: Crew) -> Iterator[str]:
    try:
        world.admin.ask("POST", f"/{INDEX_PATTERN}/_refresh")
        status, answer = world.admin.ask("GET", f"/{INDEX_PATTERN}/_count")
    except AuditpipeError as error:
        yield str(error)
        return
    promised = len(ledger.read(crew.ledgers).kept)
    if status != 200 or answer["_shards"]["failed"]:
        yield f"OpenSearch does not count its events: {answer}"
    elif answer["count"] < promised:
        yield f"{promised - answer['count']} events or more are in a ledger and not in OpenSearch"
