"""What `show` says of an event whose month is said to be removed, by records that nobody of ours has written."""

import time
from typing import Any

import pytest

from auditpipe.pipeline.retention.remove_month import Remover
from auditpipe.pipeline.retention.shown import show
from auditpipe.schemas.errors import NoSuchEvent
from auditpipe.schemas.identity import format_time, new_event_id, parse_time
from auditpipe.schemas.records import MonthRemoved
from tests.conftest import RealOpenSearch

pytestmark = pytest.mark.opensearch
#: No event of any test is of it.
MONTH = "1976-03"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "not signed"),
        ({"kind": "month_removed", "month": MONTH, "record": "retention-x"}, "not signed"),
        ({"kind": "a kind", "@timestamp": "2026-01-01T00:00:00.000000Z", "signature": {"value": "x"}}, "not signed"),
    ],
)
def test_a_planted_record_is_named_as_one(opensearch: RealOpenSearch, document: dict[str, Any], said: str) -> None:
    with pytest.raises(NoSuchEvent, match=rf"no event .*; the record that its month {MONTH} was removed .*: .*{said}"):
        told(opensearch, document)


def test_a_signed_record_of_another_month_explains_nothing(opensearch: RealOpenSearch, remover: Remover) -> None:
    given = {"@timestamp": format_time(time.time_ns()), "month": "1976-04", "record": "retention-1976-04-x"}
    record = MonthRemoved.model_validate(given)
    with pytest.raises(NoSuchEvent, match="not to be believed: it is about something else"):
        told(opensearch, remover.signer.sign(record.document()))


def told(opensearch: RealOpenSearch, document: dict[str, Any]) -> None:
    """Ask for an event of the month while this is the record of its removal."""
    client, path = opensearch.client(), {"index": "audit-records", "id": f"removed-{MONTH}"}
    client.index(**path, body=document)
    try:
        reader = opensearch.super_admin
        show(opensearch.client(reader), reader, new_event_id(parse_time(f"{MONTH}-05T00:00:00Z")))
    finally:
        client.delete(**path, params={"refresh": "true"})
