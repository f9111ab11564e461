"""A transport for an application's own tests: events stay in a list."""

import threading

from auditpipe.emitters.transport import Stats
from auditpipe.schemas.event import Event


class MemoryTransport:
    """Keeps every event in `events`, in order. Nothing touches disk or network.

    >>> memory = MemoryTransport()
    >>> AuditLog(service="accounts", transport=memory)  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._lock = threading.Lock()

    def append(self, event: Event, document: dict[str, object], moment: int) -> int:
        """Keep it."""
        with self._lock:
            self.events.append(event)
            return len(self.events)

    def settle(self, ticket: int) -> None:
        """Memory needs no disk."""

    @property
    def actions(self) -> list[str]:
        """`event.action` of each event, in order."""
        return [event.event.action for event in self.events]

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self.events.clear()

    def flush(self, timeout: float) -> bool:
        """Nothing waits here."""
        return True

    def drain(self, timeout: float) -> bool:
        """Nothing is left by anyone."""
        return True

    def stats(self) -> Stats:
        """All of them count as acknowledged."""
        return Stats(acknowledged=len(self.events))

    def close(self, timeout: float) -> None:
        """Nothing to close; the events stay."""

    def after_fork(self) -> None:
        """A child begins with an empty list: what the parent emitted is the parent's."""
        self._lock = threading.Lock()
        self.events = []
