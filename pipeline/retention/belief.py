"""Which records of retention and holds are to be believed: signed as they should be, in form, under their own ids."""

from collections.abc import Iterator, Mapping
from typing import Any

from opensearchpy import OpenSearch

from auditpipe.pipeline.retention import ledger
from auditpipe.pipeline.retention.ledger import hold_id, month_id
from auditpipe.pipeline.retention.signature import Trust
from auditpipe.pipeline.verify.event import Flaw
from auditpipe.schemas.records import HoldAdded, HoldReleased, MonthRemoved, Record, Removed, RetentionApplied


def believed(trust: Trust, document: Mapping[str, Any]) -> Record | str:
    """The record, or why it is not to be believed."""
    problem = trust.problem(document)
    return problem if problem is not None else ledger.parse(document)


def told(doc_id: str, document: Mapping[str, Any], problem: str) -> Flaw:
    """The finding of a record that is not to be believed."""
    about = document.get("month") or document.get("hold") or "nothing known"
    return Flaw("record", f"record {doc_id} (about {about}): {problem}", time=str(document.get("@timestamp", "")))


def every_flaw(client: OpenSearch, trust: Trust) -> Iterator[Flaw]:
    """All records that this reader may see and that are not to be believed."""
    for doc_id, document in ledger.find(client):
        if isinstance(found := believed(trust, document), str):
            yield told(doc_id, document, found)
        elif not _fits(found, doc_id):
            yield told(doc_id, document, "it is stored under an id that is not its own")


def _fits(record: Record, doc_id: str) -> bool:
    """Whether it is stored under an id of its own: a hold added again by a copy of an old record is none."""
    match record:
        case HoldAdded() | HoldReleased():
            return doc_id == hold_id(record.hold, record.number)
        case MonthRemoved():
            return doc_id.startswith(month_id(record.month))
        case RetentionApplied():
            return doc_id == record.record
        case Removed():
            return doc_id.startswith(f"{record.record}-")
    return False
