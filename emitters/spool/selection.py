"""Which events of a spool are meant."""

from dataclasses import dataclass

from auditpipe.emitters.spool.archive import Entry


@dataclass(frozen=True, slots=True)
class Selection:
    """All that is given must hold. `first` and `last` are sequence numbers of `stream`, both included; `since_ns` and
    `until_ns` are nanoseconds since 1970, half-open.
    """

    stream: str | None = None
    first: int | None = None
    last: int | None = None
    since_ns: int | None = None
    until_ns: int | None = None

    def takes(self, entry: Entry) -> bool:
        """Whether this event is meant. What is no event of ours belongs to no stream."""
        if self.since_ns is not None and entry.time < self.since_ns:
            return False
        if self.until_ns is not None and entry.time >= self.until_ns:
            return False
        if self.stream is None:
            return True
        number = entry.sequence_in(self.stream)
        return number is not None and self._spans(number)

    def _spans(self, number: int) -> bool:
        return (self.first is None or number >= self.first) and (self.last is None or number <= self.last)
