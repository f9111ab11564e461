"""One attempt to bring events into OpenSearch: a bulk request, divided where it has to be, and a verdict on each.

Nothing here waits or repeats: who calls decides how long to wait for what is to come again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from auditpipe.pipeline.relay.backoff import retry_after
from auditpipe.pipeline.relay.classify import (
    CREATED,
    Outcome,
    Stored,
    Verdict,
    again,
    classify,
    classify_late,
    classify_request,
    is_conflict,
    read_items,
    read_removed,
    read_stored,
)
from auditpipe.pipeline.relay.records import Event
from auditpipe.pipeline.relay.transport import Answer, Transport
from auditpipe.schemas.errors import AuditpipeError, NotAllowed, OutOfReach
from auditpipe.schemas.identity import RECORDS_INDEX, month_of_index

#: All that `classify` reads: items of a conflict are long otherwise, and there may be thousands. A node waits a minute
#: for a shard that is not there, unless told otherwise, and the few bulks in flight would wait with it: one red month
#: would hold up all the others.
BULK_PATH = (
    "/_bulk?timeout=5s&filter_path=items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by,error"
)
STORED_PATH = "/_mget?_source_includes=audit.hash"
#: The record that retention removed a month: its id follows from the month.
REMOVED_PATH = "/_mget?_source_includes=month,record,@timestamp"
#: What an event of a month that retention removed meets: no index, or one that takes nothing but keeps what is held.
_MAY_BE_REMOVED = frozenset({"missing_index", "write_block"})

#: Requests of one attempt while none of them has brought in anything: a proxy that answers 400 to everything is not
#: asked once for each event.
MOST_VAIN_REQUESTS = 40

_CREATED_ITEM = {"create": {"status": 201}}


@dataclass(slots=True)
class Attempt:
    """What came of it. `whole`: a request failed as such, so that other events would fare no better now."""

    verdicts: list[Verdict]
    statuses: list[str] = field(default_factory=list)
    retry_after: float | None = None
    whole: bool = False

    @property
    def worked(self) -> bool:
        """Whether the cluster took a request, whatever it said of the events in it."""
        return "200" in self.statuses


def attempt(transport: Transport, events: Sequence[Event]) -> Attempt:
    """Send the events; a verdict on each, in their order."""
    result = Attempt([again("not_sent")] * len(events))
    _send(transport, events, 0, result)
    return result


def _send(transport: Transport, events: Sequence[Event], offset: int, result: Attempt) -> None:
    answer = _post(transport, BULK_PATH, b"".join([event.lines() for event in events]), result)
    if isinstance(answer, Verdict):
        result.verdicts[offset : offset + len(events)] = [answer] * len(events)
        result.whole = True
        return
    if answer.status == 200 and (items := read_items(answer.body, len(events))) is not None:
        result.verdicts[offset : offset + len(events)] = _verdicts(transport, events, items, result)
        return
    if answer.status in (400, 413) and len(events) > 1 and not _in_vain(result):
        half = len(events) // 2
        _send(transport, events[:half], offset, result)
        _send(transport, events[half:], offset + half, result)
        return
    verdict = classify_request(answer.status, answer.body)
    if verdict.outcome is Outcome.NEVER and len(events) > 1:
        verdict = again("not_understood", verdict.detail)
    result.verdicts[offset : offset + len(events)] = [verdict] * len(events)
    result.whole |= verdict.outcome is Outcome.AGAIN and answer.status != 400


def _post(transport: Transport, path: str, body: bytes, result: Attempt) -> Answer | Verdict:
    try:
        answer = transport.post(path, body)
    except OutOfReach as error:
        result.statuses.append("none")
        return again("unreachable", str(error))
    except NotAllowed as error:
        result.statuses.append("none")
        return again("credentials", str(error))
    except AuditpipeError as error:
        result.statuses.append("none")
        return again("not_understood", str(error))
    result.statuses.append(str(answer.status))
    wait = retry_after(answer.headers)
    if wait is not None:
        result.retry_after = max(wait, result.retry_after or 0.0)
    return answer


def _in_vain(result: Attempt) -> bool:
    return len(result.statuses) >= MOST_VAIN_REQUESTS and not result.worked


def _verdicts(transport: Transport, events: Sequence[Event], items: list[object], result: Attempt) -> list[Verdict]:
    if items.count(_CREATED_ITEM) == len(items):
        return [CREATED] * len(items)  # nearly always, and a tenth of the work
    taken = [position for position, item in enumerate(items) if is_conflict(item)]
    stored = dict(zip(taken, _stored(transport, [events[position] for position in taken], result), strict=True))
    verdicts = [
        classify(item, event.digest, stored.get(position))
        for position, (item, event) in enumerate(zip(items, events, strict=True))
    ]
    return _without_removed(transport, events, verdicts, result)


def _without_removed(
    transport: Transport, events: Sequence[Event], verdicts: list[Verdict], result: Attempt
) -> list[Verdict]:
    """The verdicts, where events of a month that retention removed wait for nothing."""
    asked = [at for at, verdict in enumerate(verdicts) if verdict.type in _MAY_BE_REMOVED]
    removed = _removed(transport, dict.fromkeys(events[at].index_name for at in asked), result) if asked else {}
    late = [at for at in asked if events[at].index_name in removed]
    for at, stored in zip(late, _stored(transport, [events[at] for at in late], result), strict=True):
        verdicts[at] = classify_late(removed[events[at].index_name], events[at].digest, stored)
    return verdicts


def _removed(transport: Transport, indices: Iterable[str], result: Attempt) -> Mapping[str, str]:
    """Which of these months retention removed, in a sentence; none of which that could not be learned."""
    names = list(indices)
    ids = [f"removed-{month_of_index(name)}" for name in names]
    body = orjson.dumps({"docs": [{"_index": RECORDS_INDEX, "_id": doc_id} for doc_id in ids]})
    answer = _post(transport, REMOVED_PATH, body, result)
    if isinstance(answer, Verdict) or answer.status != 200:
        return {}
    told = read_removed(answer.body, len(names))
    return {name: sentence for name, sentence in zip(names, told, strict=True) if sentence is not None}


def _stored(transport: Transport, events: Sequence[Event], result: Attempt) -> list[Stored | None]:
    """What stands under the ids of these events; None where it could not be read."""
    if not events:
        return []
    body = orjson.dumps({"docs": [{"_index": event.index_name, "_id": event.id} for event in events]})
    answer = _post(transport, STORED_PATH, body, result)
    if isinstance(answer, Verdict) or answer.status != 200:
        return [None] * len(events)
    return read_stored(answer.body, len(events)) or [None] * len(events)
