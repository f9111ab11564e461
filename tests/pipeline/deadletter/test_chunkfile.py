"""Fluent Bit's rejected chunks, one that a real Fluent Bit 5.1.1 wrote among them.

data/audit_0_opensearch.0_0x7efddc837440.flb: five events, one record without an id and one whose Forward time is of
another month, which pipeline/fluent_bit/guard.lua wrapped; OpenSearch's port was closed, the retries ended.
"""

from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditpipe.pipeline.deadletter.chunkfile import ChunkName, read_content, read_events, read_name
from auditpipe.pipeline.relay.records import Event, Refused
from tests.pipeline.relay.wire import START, entry, event_time, record

REAL = Path(__file__).parent / "data" / "audit_0_opensearch.0_0x7efddc837440.flb"


def chunk_file(content: bytes, *, metadata: bytes = b"", length: int | None = None, padding: int = 0) -> bytes:
    size = len(content) if length is None else length
    header = b"\xc1\x00" + bytes(8) + size.to_bytes(4, "big") + bytes(8) + len(metadata).to_bytes(2, "big")
    return header + metadata + content + bytes(padding)


def with_metadata(document: object) -> bytes:
    data: bytes = msgpack.packb([[event_time(START), {"m": 1}], document])
    return data


def test_a_real_file_gives_its_events_and_what_the_guard_wrapped() -> None:
    found = list(read_events(REAL.read_bytes(), "audit"))
    events = [one for one in found if isinstance(one, Event)]
    wrapped = [one for one in found if isinstance(one, Refused)]
    assert [one.time - events[0].time for one in events] == [0, 1, 2, 3, 4]
    assert all(b'"sequence":9007199254740993' in one.document and b'"before":null' in one.document for one in events)
    assert [(one.reason.type, one.id is None) for one in wrapped] == [("bad_id", True), ("disagreeing_time", False)]
    assert wrapped[0].document == b'{"null":null,"no":"id"}'


def test_the_name_says_tag_status_and_output() -> None:
    assert read_name(REAL.name) == ChunkName("audit", "0", "opensearch.0")
    assert read_name("a_b_400_out_1.x_0x1f.flb") == ChunkName("a_b", "400", "out_1.x")
    assert read_name(f"1795444937879844608-{REAL.name}").tag == "audit"
    assert read_name("other.flb").tag == "other.flb"


@pytest.mark.parametrize("pack", [entry, with_metadata])
@pytest.mark.parametrize("padding", [0, 3000])
@pytest.mark.parametrize("old", [False, True])
def test_each_way_of_writing_a_chunk_is_read(pack, padding: int, old: bool) -> None:  # type: ignore[no-untyped-def]
    documents = [record(), record(zero=0), record()]
    content = b"".join(map(pack, documents))
    data = chunk_file(content, metadata=b"\xf1\x77meta", length=0 if old else None, padding=padding)
    found = list(read_events(data, "t"))
    assert [one.id for one in found] == [one["event"]["id"] for one in documents]
    assert all(isinstance(one, Event) for one in found)


def test_a_file_that_is_not_written_to_its_end_yet_is_no_chunk() -> None:
    whole = chunk_file(entry(record()))
    with pytest.raises(ValueError, match="expected"):
        read_content(whole[:-1])
    assert read_content(chunk_file(b"", padding=4000)) == b"", "made, and nothing written"


@pytest.mark.parametrize("odd", [b"\x91\x01", b"\x93" + entry(record())[1:] + b"\x01", b"\x90"])
def test_an_entry_that_is_none_is_kept_apart_from_those_behind_it(odd: bytes) -> None:
    """Fluent Bit keeps them as they came, where it can't read them itself."""
    before, kept, behind = read_events(chunk_file(entry(record()) + odd + entry(record())), "t")
    assert isinstance(before, Event) and isinstance(behind, Event)
    assert isinstance(kept, Refused) and (kept.reason.type, kept.packed) == ("not_an_entry", odd)


def test_a_record_nested_too_deep_is_kept_apart_from_those_behind_it() -> None:
    deep = b"\x81\xa1x" + b"\x91" * 1500 + b"\xc0"
    odd = entry(None)[:-1] + deep
    before, kept, behind = read_events(chunk_file(entry(record()) + odd + entry(record())), "t")
    assert isinstance(before, Event) and isinstance(behind, Event)
    assert isinstance(kept, Refused) and (kept.reason.type, kept.packed) == ("undecodable", deep)


@given(st.integers(0, 3000), st.integers(0, 255))
def test_a_damaged_file_loses_no_byte(place: int, byte: int) -> None:
    """Each event is read, refused with its bytes, or among the bytes that could not be read."""
    documents = [record(n=n) for n in range(3)]
    whole = bytearray(chunk_file(b"".join(map(entry, documents))))
    whole[place % len(whole)] = byte
    found = list(read_events(bytes(whole), "t"))
    text = b"".join((one.document if isinstance(one, Event) else one.packed or one.document) or b"" for one in found)
    untouched = [one["event"]["id"] for one in documents if one["event"]["id"].encode() in whole]
    length_is_damaged = 10 <= place % len(whole) < 14 or 22 <= place % len(whole) < 24
    if not length_is_damaged:
        assert all(event_id.encode() in text for event_id in untouched)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_kept(data: bytes) -> None:
    for one in read_events(data, "t"):
        assert isinstance(one, (Event, Refused))
    for one in read_events(chunk_file(data), "t"):
        assert isinstance(one, (Event, Refused))
