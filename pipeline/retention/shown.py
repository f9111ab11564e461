"""One event by its id, or the record by which retention removed its month."""

from opensearchpy import OpenSearch

from auditpipe.pipeline import reader
from auditpipe.pipeline.retention import belief, ledger
from auditpipe.pipeline.retention.signature import Trust
from auditpipe.schemas.errors import NoSuchEvent, NotAllowed
from auditpipe.schemas.identity import LATEST_NS, MILLISECOND, index_of_id, milliseconds_of, month_of_index
from auditpipe.schemas.records import MonthRemoved
from auditpipe.schemas.settings import Settings


def show(client: OpenSearch, settings: Settings, event_id: str) -> reader.Document:
    """As `reader.show`. NoSuchEvent tells a reader who may see the records that the event's month was removed."""
    try:
        return reader.show(client, event_id)
    except NoSuchEvent as error:
        raise NoSuchEvent(f"{error}{_removed(client, settings, event_id.strip().lower())}") from error


def _removed(client: OpenSearch, settings: Settings, event_id: str) -> str:
    if milliseconds_of(event_id) * MILLISECOND > LATEST_NS:
        return ""
    month = month_of_index(index_of_id(event_id))
    try:
        document = ledger.get(client, ledger.month_id(month))
    except NotAllowed:
        return ""
    if document is None:
        return ""
    record = belief.believed(Trust.read(settings), document)
    if not isinstance(record, MonthRemoved) or record.month != month:
        problem = record if isinstance(record, str) else "it is about something else"
        return f"; the record that its month {month} was removed is not to be believed: {problem}"
    return f": its month {month} was removed by retention on {record.timestamp}, record {record.record}"
