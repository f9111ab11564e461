"""What is checked before an event is sent, and what is kept of one that is refused."""

from typing import Any

import msgpack
import orjson
import pytest

from auditpipe.pipeline.relay.protocol import Entry
from auditpipe.pipeline.relay.records import LARGEST_RECORD, Event, Refused, prepare
from auditpipe.schemas.identity import LATEST_NS, format_time, new_event_id, parse_time
from tests.pipeline.relay.wire import START, record

OCTOBER_ENDS = parse_time("2026-10-31T23:59:59.999999999Z")


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


def with_id(event_id: Any) -> dict[str, Any]:
    return record() | {"event": {"id": event_id}}


def packed(document: Any) -> bytes:
    data: bytes = msgpack.packb(document)
    return data


def test_a_good_record_is_created_under_its_id_in_its_month() -> None:
    document = record(OCTOBER_ENDS)
    event = prepare(Entry(OCTOBER_ENDS, packed(document)), "audit")
    assert isinstance(event, Event)
    action, body, rest = event.lines().split(b"\n")
    assert orjson.loads(action) == {"create": {"_index": "audit-events-2026.10", "_id": document["event"]["id"]}}
    assert (orjson.loads(body), rest) == (document, b"")
    assert event.digest == document["audit"]["hash"]


def test_integers_of_64_bits_arrive_exact() -> None:
    document = record(numbers=[2**64 - 1, -(2**63), 2**53 + 1])
    event = prepare(Entry(START, packed(document)), "audit")
    assert isinstance(event, Event)
    assert orjson.loads(event.document) == document


@pytest.mark.parametrize(
    ("document", "time", "reason"),
    [
        ({}, START, "bad_id"),
        ([1], START, "not_a_map"),
        (None, START, "not_a_map"),
        ({"event": "x"}, START, "bad_id"),
        (with_id(5), START, "bad_id"),
        (with_id("x" * 600), START, "bad_id"),
        (with_id(new_event_id(START).upper()), START, "bad_id"),
        (with_id("9b2c4e5a-1111-4222-8333-444444444444"), START, "bad_id"),
        (with_id(new_event_id(parse_time("2026-11-01T00:00:00Z"))), START, "disagreeing_id"),
        (with_id("ffffffff-ffff-7fff-8fff-ffffffffffff"), START, "disagreeing_id"),  # of the year 10889
        (record() | {"@timestamp": 5}, START, "bad_time"),
        (record() | {"@timestamp": "yesterday"}, START, "bad_time"),
        (record() | {"@timestamp": "2026-10-10T10:00:00"}, START, "bad_time"),
        (record() | {"@timestamp": "1969-12-31T23:59:59Z"}, START, "bad_time"),
        (record() | {"@timestamp": "9999-12-31T23:59:59-23:59"}, START, "bad_time"),
        (record() | {"@timestamp": format_time(LATEST_NS + 1)}, START, "bad_time"),
        (record(), None, "bad_time"),
        (record(), -1, "bad_time"),
        (record(), LATEST_NS + 1, "bad_time"),
        (record(), OCTOBER_ENDS + 1, "disagreeing_time"),
        (record(), 0, "disagreeing_time"),
        (record(x=float("nan")), START, "not_json"),
        (record(x=[{"y": float("-inf")}]), START, "not_json"),
        (record(x=b"\xff"), START, "not_json"),
        (record(x=msgpack.ExtType(5, b"x")), START, "not_json"),
        (record(x={1: 2}), START, "not_json"),
        (record(x=nested(400)), START, "not_json"),
        (record() | {5: 6}, START, "not_json"),
        (record(x="x" * LARGEST_RECORD), START, "too_large"),
    ],
)
def test_what_could_not_be_stored_once_is_refused_and_kept_exactly(
    document: Any, time: int | None, reason: str
) -> None:
    data = packed(document)
    refused = prepare(Entry(time, data), "audit")
    assert isinstance(refused, Refused)
    assert (refused.reason.type, refused.packed, refused.document) == (reason, data, None)
    assert len(refused.reason.detail) < 300


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x81\xa1a\xc1", "undecodable"),
        (b"\x81\x80\x01", "undecodable"),  # a map as a key
        (packed(record(x="ab")).replace(b"\xa2ab", b"\xa2\xff\xfe"), "not_json"),  # a str that is no UTF-8
        (b"\x81" + b"\x91" * 2000 + b"\xc0", "undecodable"),
    ],
)
def test_bytes_that_are_no_record_are_refused_alone(data: bytes, reason: str) -> None:
    refused = prepare(Entry(START, data), "audit")
    assert isinstance(refused, Refused)
    assert (refused.reason.type, refused.packed) == (reason, data)


def test_a_float_marker_that_is_part_of_something_else_is_no_reason() -> None:
    """ca/cb ff ff also stand across the length and body of other values: only a real NaN is refused."""
    document = record(x=0xCBFFFFFF, y=-(2**31) + 0x4BFFFF)
    assert isinstance(prepare(Entry(START, packed(document)), "audit"), Event)
