"""An event's place in its stream, and whether it verifies there: its own hash, and the links to its neighbours."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.pipeline.reader import BY_STREAM, Hit, ask_all_shards
from auditpipe.pipeline.verify.chain import Tally, check
from auditpipe.pipeline.verify.event import Flaw, Row, placed, row_of
from auditpipe.pipeline.verify.form import Form
from auditpipe.pipeline.verify.view import Terms, View, latest_ns
from auditpipe.schemas.identity import LATEST_NS

#: Events of three numbers that are looked at: where there are no doubles it is three.
MOST = 20
_CROWDED = "More events claim its number, or those beside it, than are looked at here: run `auditpipe verify`."


@dataclass(frozen=True, slots=True)
class Proof:
    """What could be checked. `sound` is None where nothing speaks against it and something could not be checked."""

    sound: bool | None
    says: list[str]
    stream: str | None = None
    sequence: int | None = None
    #: Ids of the events before and after it in its stream, where they are to be seen.
    before: str | None = None
    after: str | None = None


def proof(client: OpenSearch, document: Mapping[str, Any]) -> Proof:
    """Look at the event and its two neighbours. OutOfReach, NotAllowed."""
    now_ns = time.time_ns()
    own = row_of(document, Form(latest_ns=latest_ns(now_ns)))
    if isinstance(own, Flaw):
        return Proof(False, [own.detail], own.stream, own.sequence)
    span = {"gte": own.sequence - 1, "lte": own.sequence + 1}
    clauses = [{"term": {"audit.stream": own.stream}}, {"range": {"audit.sequence": span}}]
    body = {"query": {"bool": {"filter": clauses}}, "sort": BY_STREAM, "size": MOST, "version": True}
    hits = ask_all_shards(client, body)["hits"]["hits"]
    return judge(own, hits, now_ns)


def judge(own: Row, hits: list[Hit], now_ns: int) -> Proof:
    """The decision, on what a search for the numbers around it has found; the event itself may be too young for one."""
    if len(hits) >= MOST:  # the next number, or another event with this one, may be behind them
        return Proof(False, [_CROWDED], own.stream, own.sequence)
    latest = latest_ns(now_ns)
    rows = [row for hit in hits if isinstance(row := _row(hit, Form(latest_ns=latest)), Row)]
    if own.event_id not in {row.event_id for row in rows}:
        rows = sorted([*rows, own], key=lambda row: row.sequence)
    before = next((row for row in rows if row.sequence == own.sequence - 1), None)
    after = next((row for row in rows if row.sequence == own.sequence + 1), None)
    # Of its stream only these are looked at: whatever is before them is before the view.
    view = View(since_ns=LATEST_NS, settled_ns=Terms().settled_ns(now_ns), latest_ns=latest)
    flaws = [flaw for flaw in check(rows, view, Tally()) if _concerns(flaw, own, after)]
    found = [f"{_whose(flaw, own)}{flaw.detail}" for flaw in flaws if not flaw.is_note]
    says = found or ["Its content has the hash that it carries."]
    says += _links(own, before, after, broken=any(flaw.kind == "broken_link" for flaw in flaws))
    complete = before is not None or own.sequence == 1
    sound = False if found else True if complete else None
    return Proof(sound, says, own.stream, own.sequence, _id(before), _id(after))


def _id(row: Row | None) -> str | None:
    return row.event_id if row is not None else None


def _row(hit: Hit, form: Form) -> Row | Flaw:
    row = row_of(hit["_source"], form)
    if isinstance(row, Flaw):
        return row
    return placed(row, index=hit["_index"], doc_id=hit["_id"], version=hit["_version"])


def _concerns(flaw: Flaw, own: Row, after: Row | None) -> bool:
    """Of the event after it, only the link back is this event's matter; a number given twice is that of both."""
    if flaw.kind == "double" and flaw.sequence == own.sequence:
        return True
    return flaw.event_id == own.event_id or (flaw.kind == "broken_link" and flaw.event_id == _id(after))


def _whose(flaw: Flaw, own: Row) -> str:
    return "" if flaw.sequence == own.sequence else "The event after it: "


def _links(own: Row, before: Row | None, after: Row | None, *, broken: bool) -> list[str]:
    says = []
    if own.sequence == 1:
        says.append("It is the first of its stream.")
    elif before is None:
        says.append(f"Number {own.sequence - 1} is not there, or not yours to see: the link to it can't be checked.")
    elif not broken:
        says.append("It is linked to the event before it.")
    if after is None:
        says.append("It closes its stream." if own.closes else "No event after it is to be seen.")
    elif not broken:
        says.append("The event after it is linked to it.")
    return says
