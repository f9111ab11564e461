"""How long after a fault the way to the index was free again: until an event emitted after it could be shown."""

import statistics
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from opensearchpy import OpenSearch

from auditpipe.pipeline.client import edge
from auditpipe.schemas.errors import AuditpipeError
from auditpipe.schemas.identity import index_of_id
from tests.chaos.faults import Sign
from tests.chaos.ledger import kept_of, lines

_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from the end of a fault until its event was stored."""

    kind: str
    seconds: float


@dataclass(slots=True)
class Awaited:
    """A fault that has ended and is not recovered from. `event_id` is None until the emitter has emitted it."""

    kind: str
    ended: float
    ledger: Path
    offset: int
    event_id: str | None


class Recoveries(threading.Thread):
    """Asks the node itself, past the proxy, by id: an event can be shown before a refresh lets a search find it.

    `client` signs in as the writer, whose requests the node does not record: each record costs it a refresh.
    """

    def __init__(self, client: OpenSearch) -> None:
        super().__init__(name="recoveries", daemon=True)
        self.done: list[Recovery] = []
        self._client = client
        self._awaited: list[Awaited] = []
        self._over = threading.Event()

    def await_sign(self, kind: str, sign: Sign) -> Awaited:
        """The fault has ended just now."""
        event_id = last_kept(lines(sign.ledger)) if sign.last else None
        offset = sign.ledger.stat().st_size
        awaited = Awaited(kind, time.monotonic(), sign.ledger, offset, event_id)
        if event_id is not None or not sign.last:  # one that was ended before its first event has left nothing
            self._awaited.append(awaited)
        return awaited

    def is_open(self, awaited: Awaited) -> bool:
        """Whether it is still awaited."""
        return awaited in self._awaited

    def run(self) -> None:
        """Until `stop`."""
        while not self._over.wait(_POLL_SECONDS):
            for awaited in self._awaited:
                if awaited.event_id is None:
                    awaited.event_id = first_kept(lines(awaited.ledger, awaited.offset))
            asked = [awaited for awaited in self._awaited if awaited.event_id is not None]
            found = self._stored({str(awaited.event_id) for awaited in asked})
            for awaited in [awaited for awaited in asked if awaited.event_id in found]:
                self.done.append(Recovery(awaited.kind, time.monotonic() - awaited.ended))
                self._awaited.remove(awaited)

    def stop(self) -> None:
        """End."""
        self._over.set()
        self.join()

    def _stored(self, ids: set[str]) -> set[str]:
        if not ids:
            return set()
        docs = [{"_index": index_of_id(event_id), "_id": event_id} for event_id in sorted(ids)]
        try:
            with edge():
                answer = self._client.mget(body={"docs": docs}, params={"_source_includes": "audit.hash"})
        except AuditpipeError:
            return set()  # away, or not ready: that is what is being measured
        return {doc["_id"] for doc in answer["docs"] if doc.get("found")}


def first_kept(said: Iterable[str]) -> str | None:
    """The id of the first event that `emit` returned; None if there is none yet."""
    return next((kept_of(line).id for line in said if line.startswith("kept ")), None)


def last_kept(said: Iterable[str]) -> str | None:
    """The id of the last event that `emit` returned; None if there was none."""
    return first_kept(reversed(list(said)))


def summary(recoveries: Iterable[Recovery]) -> dict[str, dict[str, float]]:
    """By kind: how many were measured, median and greatest seconds."""
    seconds: dict[str, list[float]] = {}
    for recovery in recoveries:
        seconds.setdefault(recovery.kind, []).append(recovery.seconds)
    return {
        kind: {"measured": len(own), "median": statistics.median(own), "max": max(own)} for kind, own in seconds.items()
    }
