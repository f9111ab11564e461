"""The events of one Forward message, until each is stored or kept as a dead letter."""

from collections.abc import Callable
from time import monotonic

from auditpipe.pipeline.relay.records import Event

#: Bytes of memory that an event takes beside its document: its objects, and its chunk's with an acknowledgement where
#: it is alone in it. Without them a flood of small events would be a multiple of what is counted.
OVERHEAD = 2_000


class Chunk:
    """Counts its events. When it is sealed and none is open, `on_end` hears whether every one of them is safe.

    `resent`: the client asked for an acknowledgement, so what is not acknowledged comes again. Only such a chunk may
    be abandoned; nobody resends the others.
    """

    __slots__ = ("_on_end", "_open", "_sealed", "abandoned", "resent", "started", "whole")

    def __init__(self, *, resent: bool, on_end: Callable[["Chunk"], None]) -> None:
        self.resent = resent
        self.abandoned = False
        self.whole = True
        self.started = monotonic()
        self._open = 0
        self._sealed = False
        self._on_end = on_end

    def add(self, count: int) -> None:
        """So many more events are on their way."""
        self._open += count

    def settle(self, count: int = 1, *, safe: bool = True) -> None:
        """So many events are safe, or were dropped because their client will send them again."""
        self._open -= count
        self.whole &= safe
        self._end_if_over()

    def seal(self) -> None:
        """Every event of the message has been added."""
        self._sealed = True
        self._end_if_over()

    def abandon(self) -> None:
        """Its client is gone: what has not been stored yet need not be, if it comes again."""
        self.abandoned = self.resent

    def _end_if_over(self) -> None:
        if self._sealed and self._open == 0:
            self._on_end(self)


class Pending:
    """An event on its way. `trouble` says why it has to be sent again; `size` is its bytes in a bulk request.

    `refusals`: how often it was put off for a reason of its own; `since`: the time of the first.
    """

    __slots__ = ("chunk", "event", "refusals", "since", "size", "trouble")

    def __init__(self, event: Event, chunk: Chunk) -> None:
        self.event = event
        self.chunk = chunk
        self.size = event.size
        self.trouble: str | None = None
        self.refusals = 0
        self.since = 0.0

    @property
    def held(self) -> int:
        """Bytes of memory that it takes."""
        return self.size + OVERHEAD
