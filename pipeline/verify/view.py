"""What `verify` looks at, and what it was told: this decides what a missing number, or the end of a stream, means."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditpipe.pipeline.verify.event import Flaw, Row
from auditpipe.schemas.catalogue import Catalogue
from auditpipe.schemas.identity import DAY, LATEST_NS, MILLISECOND, SECOND, is_event_id, milliseconds_of

if TYPE_CHECKING:
    from auditpipe.pipeline.retention.signature import Trust


def latest_ns(now_ns: int) -> int:
    """The latest time that an event may have by now (nanoseconds since 1970): `occurred_at` may be a day ahead."""
    return min(now_ns + DAY, LATEST_NS)


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive numbers of a stream that retention removed, by a record that is to be believed.

    `previous` is what the first was linked to, `hash` what the one after the last is to be linked to.
    """

    first: int
    last: int
    previous: str
    hash: str
    month: str
    record: str
    at: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What the caller says: how long things may take, and what is known beside the events."""

    #: How long an event may be on its way.
    grace_seconds: float = 60.0
    #: After how long without an event a stream that was not closed counts as abandoned: a guess.
    abandoned_seconds: float = 86_400.0
    #: All the actions that there are; None where applications may have others.
    catalogue: Catalogue | None = None
    #: See `View`.
    held: Callable[[str, int, int], int] | None = None
    lives: Callable[[str], bool | None] | None = None
    #: Whose records of what retention removed are believed; without it none is.
    trust: "Trust | None" = None

    def settled_ns(self, now_ns: int) -> int:
        """Events younger than this (nanoseconds since 1970) may have neighbours that are still on their way."""
        return now_ns - int(self.grace_seconds * SECOND)

    def abandoned_ns(self, now_ns: int) -> int:
        """A stream whose last event is older than this (nanoseconds since 1970) counts as abandoned."""
        return now_ns - int(self.abandoned_seconds * SECOND)


@dataclass(frozen=True, slots=True)
class View:
    """What the rows are a view of."""

    #: False where a filter drops events out of the middle of a stream: gaps then mean nothing.
    whole: bool = True
    #: From this moment on (nanoseconds since 1970): a stream may have begun before it.
    since_ns: int | None = None
    #: Whether a stream may go on after the end of the view (a range of time that is over).
    until: bool = False
    #: Events younger than this moment (nanoseconds since 1970) may have neighbours that are on their way.
    settled_ns: int | None = None
    #: And those of after this moment (nanoseconds since 1970) are no emitter's, who lets them be a day ahead.
    latest_ns: int = LATEST_NS
    #: A stream whose last event is older than this, and of which nothing else is known, counts as abandoned.
    abandoned_ns: int | None = None
    #: Gives the numbers first..last of a stream that are stored outside of the view, in order.
    elsewhere: Callable[[str, int, int], Iterable[Row | Flaw]] | None = None
    #: Gives the indices (months) of which anything at all is stored.
    months: Callable[[], frozenset[str]] | None = None
    #: Gives what retention removed of the numbers first..last of a stream, by first number.
    removed: Callable[[str, int, int], Sequence[Part]] | None = None
    #: Gives the records of retention that were met and are not to be believed, when all streams are through.
    misrecorded: Callable[[], Iterable[Flaw]] = tuple
    #: Why it can't be told what retention removed, empty where it can.
    unrecorded: str = ""
    #: Says how many of the numbers first..last of a stream the spool of this machine still holds.
    held: Callable[[str, int, int], int] | None = None
    #: Says whether more of a stream is to come, as the spool of this machine shows it; None where it knows nothing.
    lives: Callable[[str], bool | None] | None = None
    #: A file: what is missing in it will not come, and can't be looked up.
    is_file: bool = False
    #: A file of a range of time, from whose middle an event of another time may be missing.
    is_range: bool = False

    def begins_within(self, stream: str) -> bool:
        """Whether number 1 should be in the view. The id of an application's stream tells when it began."""
        if self.since_ns is None:
            return True
        return is_event_id(stream) and milliseconds_of(stream) * MILLISECOND >= self.since_ns
