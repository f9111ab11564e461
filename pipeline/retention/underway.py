"""That events of a month are being removed, for who adds a hold at that moment.

The remover first says so and then looks at the holds; a hold is first recorded and then looks here. So at least one
sees the other: the remover leaves what is held, or the hold waits until that removal has ended.

It is said by an alias on the month, which goes with the index: a new name each time, so that a hold waits for no
removal that began after it.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from opensearchpy import OpenSearch

from auditpipe.pipeline import rest
from auditpipe.pipeline.plan import Request
from auditpipe.schemas.errors import AuditpipeError, NotFinished

#: Not of the names by which events are read.
_PREFIX = "audit-removing-"
#: The longest that a removal takes between two looks: an index removed, or a thousand events.
WAIT_SECONDS = 90.0
_PAUSE_SECONDS = 0.2


@contextmanager
def announced(client: OpenSearch, index: str) -> Iterator[None]:
    """Within it, whoever adds a hold waits. NotFinished: not every node knows of it.

    An error leaves it said: what was asked for without an answer may be done after that.
    """
    alias = f"{_PREFIX}{secrets.token_hex(8)}"
    add = {"actions": [{"add": {"index": index, "alias": alias}}]}
    if not rest.send(client, Request("POST", "/_aliases", add)).get("acknowledged"):
        raise NotFinished(f"{index}: not every node answered in time: run it again")
    yield
    clear(client, index, alias)


def clear(client: OpenSearch, index: str, alias: str = f"{_PREFIX}*") -> None:
    """Say it no longer. What is left makes a hold wait, until the next `apply` clears it."""
    with suppress(AuditpipeError):  # there is none, or it went with the index
        rest.send(client, Request("DELETE", f"/{index}/_alias/{alias}"))


def wait(client: OpenSearch, hold: str, seconds: float = WAIT_SECONDS) -> None:
    """Until the removals that are under way now have ended. NotFinished if they have not in that time."""
    before, end = _now(client), time.monotonic() + seconds
    while before and (before := before & _now(client)):
        if time.monotonic() > end:
            months = ", ".join(sorted({index for index, _ in before}))
            raise NotFinished(
                f"hold {hold} is on record, but what it keeps of {months} may still go: a removal that began before it"
                " goes on, or was ended before it was done; if no `auditpipe retention apply` runs now, the hold is"
                " kept, and the next one finishes that removal by it"
            )
        time.sleep(_PAUSE_SECONDS)


def _now(client: OpenSearch) -> set[tuple[str, str]]:
    found = rest.get(client, f"/_alias/{_PREFIX}*", expand_wildcards="all") or {}
    return {(index, alias) for index, about in found.items() for alias in about["aliases"]}
