"""Counters of the relay in the Prometheus text format (version 0.0.4)."""

from collections import Counter
from collections.abc import Mapping

PREFIX = "auditpipe_relay_"

#: Counters: name, what each of its labels tells apart.
COUNTERS = {
    "events": "Events by outcome: created, duplicate, dead_letter, parked, or dropped (their client sends them again).",
    "dead_letters": "Events kept in dead-letter files, by reason.",
    "parked_events": "Events put on disk for the replayer, by the reason why OpenSearch does not take them yet.",
    "bulk_requests": "Requests to OpenSearch by HTTP status; none: no answer.",
    "retries": "Events put off to be sent again.",
    "messages": "Forward messages by mode.",
    "acknowledgements": "Chunks acknowledged.",
    "connections": "Connections taken.",
    "refused_connections": "Connections closed by the relay, by reason.",
}
GAUGES = {
    "up": "1 while the relay runs.",
    "opensearch_reachable": "0 if the last request got no answer, or was refused as a whole.",
    "open_connections": "Connections that are open.",
    "waiting_events": "Events to be sent again, by the reason of their last attempt, or unanswered: an alarm.",
    "reading_bytes": "Bytes set aside for large messages that are being read.",
    "held_bytes": "Bytes of memory that events take which are not done.",
    "oldest_chunk_seconds": "Age of the oldest message whose events are not all done; 0 if there is none.",
}


class Metrics:
    """What was counted since the start."""

    def __init__(self) -> None:
        self.reachable = True
        self._counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to a counter of COUNTERS."""
        self._counts[name, tuple(labels.items())] += amount

    def value(self, name: str, **labels: str) -> int:
        """What a counter stands at."""
        return self._counts[name, tuple(labels.items())]

    def render(self, gauges: Mapping[str, float | Mapping[str, float]]) -> str:
        """The page. `gauges` has a number, or numbers by reason, for each name of GAUGES."""
        lines = []
        for name, meaning in COUNTERS.items():
            full = f"{PREFIX}{name}_total"
            lines += [f"# HELP {full} {meaning}", f"# TYPE {full} counter"]
            lines += [f"{full}{_labels(labels)} {n}" for (own, labels), n in self._counts.items() if own == name]
        for name, meaning in GAUGES.items():
            lines += [f"# HELP {PREFIX}{name} {meaning}", f"# TYPE {PREFIX}{name} gauge"]
            value = gauges[name]
            if isinstance(value, Mapping):
                lines += [f"{PREFIX}{name}{_labels((('reason', reason),))} {n}" for reason, n in value.items()]
            else:
                lines.append(f"{PREFIX}{name} {value}")
        return "\n".join(lines) + "\n"


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
