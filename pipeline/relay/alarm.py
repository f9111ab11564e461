"""Why events wait: a state for metrics and health, and one log line a minute for each reason."""

import logging
from collections import Counter
from time import monotonic

from auditpipe.schemas.identity import month_of_index

QUIET_SECONDS = 60.0

ADVICE = {
    "unreachable": "is OpenSearch up, and its certificate good? They are sent when it answers",
    "unanswered": "OpenSearch has taken a request and does not answer: is its process, machine or disk stuck?",
    "credentials": "check the shipper's name and password",
    "permission": "the shipper needs the role audit_writer: `auditpipe provision`",
    "missing_index": "make the month with `auditpipe provision`",
    "closed_index": "open the month: `auditpipe doctor` names it",
    "missing_shard": "a shard of the month is not there: bring its node back",
    "write_block": "the index does not take writes: lift the block that `auditpipe doctor` names",
    "disk_full": "the disk of OpenSearch is over its flood stage: free some of it, they are sent then",
    "busy": "OpenSearch asks for a pause; if it goes on, it needs more memory, disk or processor",
    "server_error": "OpenSearch is not well: read its log",
    "unread_conflict": "something stands under their ids and can't be read: `auditpipe doctor`",
    "dead_letters": "make room, or let the folder be written",
    "another_replayer": "wait for it",
}

_CAUSES = {
    "missing_index": "index {index} does not exist: auditpipe provision --from {month}",
    "permission": "index {index} refuses the shipper: it needs the role audit_writer",
    "write_block": "index {index} does not take writes: lift the block that `auditpipe doctor` names",
    "closed_index": "index {index} is closed: open it",
    "missing_shard": "index {index} has a shard that is not there: bring its node back",
}

#: Of this trouble the detail is our own sentence; of the others it may quote an event.
_OWN_WORDS = frozenset({"unreachable"})

_log = logging.getLogger(__name__)


def waiting_for(trouble: str, index: str) -> str:
    """What an event of that index waits for: the cause, and what to do where that is known."""
    month = month_of_index(index)
    return _CAUSES.get(trouble, "index {index} answers {trouble}").format(index=index, month=month, trouble=trouble)


class Quiet:
    """Lets one thing of each kind through in so many seconds, so that nobody can fill a disk with log lines."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: dict[str, float] = {}

    def lets(self, kind: str) -> bool:
        """Whether to say it now. Kinds are a fixed few."""
        now = monotonic()
        if now - self._last.get(kind, -self._seconds) < self._seconds:
            return False
        self._last[kind] = now
        return True

    def forget(self, kind: str) -> bool:
        """Say it at once the next time; whether it was said."""
        return self._last.pop(kind, None) is not None


class Alarm:
    """Counts events that have to be sent again by the reason of their last attempt."""

    def __init__(self) -> None:
        self.waiting: Counter[str] = Counter()
        self._details: dict[str, str] = {}
        self._quiet = Quiet(QUIET_SECONDS)

    def move(self, before: str | None, after: str | None, detail: str = "") -> None:
        """An event's trouble is now `after` and was `before`; None is no trouble."""
        if before is not None:
            self.waiting[before] -= 1
            if not self.waiting[before]:
                del self.waiting[before]
                if before != after and self._quiet.forget(before):
                    _log.info("no event is held up by %s any more", before)
        if after is not None:
            self.waiting[after] += 1
            self._details[after] = detail
            self.tell(after, detail)

    def reason(self, trouble: str) -> str:
        """The trouble for whoever asks over HTTP, with its cause where that quotes no event."""
        detail = self._details.get(trouble, "") if trouble in _OWN_WORDS else ""
        return f"{trouble}: {' '.join(detail.split())}" if detail else trouble

    def tell(self, trouble: str, detail: str) -> None:
        """Log a trouble, at most once a minute for each kind."""
        if not self._quiet.lets(trouble):
            return
        advice = f" ({ADVICE[trouble]})" if trouble in ADVICE else ""
        # ascii(): OpenSearch's words quote the event, whose strings are hostile.
        _log.warning("events wait, nothing is lost: %s%s: %s", trouble, advice, ascii(detail))

    def parked(self, trouble: str, index: str, detail: str) -> None:
        """Log that events were put on disk to wait there, at most once a minute for each trouble."""
        if self._quiet.lets(f"parked: {trouble}"):
            told = waiting_for(trouble, index)
            _log.warning("parked, `auditpipe deadletter replay --watch` sends it again: %s: %s", told, ascii(detail))
