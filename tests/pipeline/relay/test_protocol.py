"""Forward protocol v1: every mode, cut anywhere, and what is no Forward message."""

import gzip
import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditpipe.pipeline.relay.frames import LARGEST_DEEP, DeepScan, Frames, Malformed
from auditpipe.pipeline.relay.protocol import Entry, decode, expected_size, read_message
from tests.pipeline.relay.wire import MODES, START, entry, event_time, message, pieces

LIMIT = 2**20
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(st.text(max_size=5), values, max_size=4)
times = st.integers(0, 2**32 * 10**9 - 1)


def frames_of(data: bytes, cuts: list[int], limit: int = LIMIT) -> list[bytes]:
    frames, found = Frames(limit), []
    for piece in pieces(data, cuts):
        frames.feed(piece)
        found += list(frames)
    assert frames.pending == 0
    return found


def entries_of(frame: bytes) -> list[Entry]:
    read = read_message(frame)
    assert read is not None
    return list(read.entries(inflated=LIMIT))


@given(
    mode=st.sampled_from(MODES),
    events=st.lists(st.tuples(times, records), min_size=1, max_size=5),
    copies=st.integers(1, 3),
    cuts=st.lists(st.integers(0, 10**6), max_size=12),
)
@settings(deadline=None)
def test_every_mode_gives_the_same_entries_wherever_the_stream_is_cut(
    mode: str, events: list[tuple[int, dict[str, Any]]], copies: int, cuts: list[int]
) -> None:
    if mode == "message":
        events = events[:1]
    data = message(mode, [entry(record, event_time(ns)) for ns, record in events], "c1")
    for frame in frames_of(b"\xc0" + data * copies, cuts)[1:]:
        read = read_message(frame)
        assert read is not None
        assert (read.tag, read.chunk, read.form) == ("audit", "c1", mode)
        found = list(read.entries(inflated=LIMIT))
        assert [(one.time, decode(one.packed)) for one in found] == events
        assert [one.packed for one in found] == [msgpack.packb(record) for _, record in events], "exact bytes"


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_are_read_or_refused_and_nothing_else(data: bytes, cuts: list[int]) -> None:
    frames = Frames(150)
    try:
        for piece in pieces(data, cuts):
            frames.feed(piece)
            for frame in frames:
                read = read_message(frame)
                for one in read.entries(inflated=1000) if read else ():
                    assert isinstance(one, Entry)
    except Malformed as error:
        assert error.reason
        assert str(error)


@given(st.sampled_from(MODES), st.data())
def test_a_damaged_message_is_read_or_refused_and_nothing_else(mode: str, data: st.DataObject) -> None:
    whole = bytearray(message(mode, [entry({"a": 1}), entry({"b": [None, "x"]})][: 1 if mode == "message" else 2], "c"))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    frames = Frames(LIMIT)
    try:
        frames.feed(bytes(whole))
        for frame in frames:
            read = read_message(frame)
            for one in read.entries(inflated=LIMIT) if read else ():
                assert isinstance(one, Entry)
    except Malformed as error:
        assert error.reason


@pytest.mark.parametrize("heartbeat", [b"\xc0", b"\x90"])
def test_a_heartbeat_is_no_message(heartbeat: bytes) -> None:
    assert read_message(heartbeat) is None


TIME = struct.pack(">II", 1_700_000_000, 5)


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        (b"\xd7\x00" + TIME, 1_700_000_000_000_000_005),
        (b"\xc7\x08\x00" + TIME, 1_700_000_000_000_000_005),
        (msgpack.packb(1_700_000_000), 1_700_000_000_000_000_000),
        (msgpack.packb(1_700_000_000.5), 1_700_000_000_500_000_000),
        (b"\xd7\x00" + struct.pack(">II", 1, 10**9), None),
        (b"\xd7\x01" + TIME, None),
        (b"\xd6\x00" + TIME[:4], None),
        (msgpack.packb(-1), -1_000_000_000),
        (msgpack.packb(2**63), None),
        (msgpack.packb("2026"), None),
        (msgpack.packb(True), None),
        (msgpack.packb(float("nan")), None),
        (b"\xc0", None),
    ],
    ids=[
        "fixext8",
        "ext8",
        "integer",
        "float",
        "no_nanoseconds",
        "other_ext",
        "short",
        "before_1970",
        "beyond_64_bits",
        "text",
        "bool",
        "nan",
        "nil",
    ],
)
def test_times_are_nanoseconds_or_none(packed: bytes, expected: int | None) -> None:
    packed_record = msgpack.packb({"a": 1})
    [plain] = entries_of(message("packed", [b"\x92" + packed + packed_record]))
    [with_metadata] = entries_of(message("packed", [b"\x92\x92" + packed + b"\x81\xa1k\xa1v" + packed_record]))
    assert plain == with_metadata == Entry(expected, packed_record)


@pytest.mark.parametrize("pack", [{"use_bin_type": True}, {"use_bin_type": False}])
def test_packed_entries_travel_as_bin_or_as_str_of_old_clients(pack: dict[str, Any]) -> None:
    # 0xd7 is no UTF-8: a str that holds entries is no text.
    body = msgpack.packb(entry({"a": 1}) * 3, **pack)
    assert len(entries_of(b"\x92\xa1t" + body)) == 3


def test_gzip_members_are_one_stream_even_inside_an_entry() -> None:
    whole = entry({"a": "x" * 100})
    joined = gzip.compress(whole[:40]) + gzip.compress(b"") + gzip.compress(whole[40:])
    frame = msgpack.packb(["t", joined, {"compressed": "gzip"}])
    assert [decode(one.packed) for one in entries_of(frame)] == [{"a": "x" * 100}]


def test_text_is_the_other_name_of_no_compression() -> None:
    assert len(entries_of(msgpack.packb(["t", entry({}), {"compressed": "text"}]))) == 1


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (msgpack.packb(5), "not_forward"),
        (msgpack.packb(["t"]), "not_forward"),
        (msgpack.packb({"t": []}), "not_forward"),
        (msgpack.packb([5, 1, {}]), "not_forward"),
        (msgpack.packb(["t" * 5000, 1, {}]), "not_forward"),
        (msgpack.packb(["t", [], 5]), "not_forward"),
        (msgpack.packb(["t", [], {"chunk": 5}]), "not_forward"),
        (msgpack.packb(["t", [], {"chunk": "x" * 2000}]), "not_forward"),
        (msgpack.packb(["t", [], {"x": "x" * 2**17}]), "not_forward"),
        (msgpack.packb(["t", b"", {"compressed": "zstd"}]), "compression"),
        (msgpack.packb(["t", [5]]), "not_an_entry"),
        (msgpack.packb(["t", b"\x05"]), "not_an_entry"),
        (msgpack.packb(["t", entry({"a": 1})[:-1]]), "cut_off"),
        (msgpack.packb(["t", b"no gzip", {"compressed": "gzip"}]), "compression"),
        (msgpack.packb(["t", gzip.compress(entry({}), mtime=0)[:-4], {"compressed": "gzip"}]), "compression"),
        (msgpack.packb(["t", gzip.compress(bytes(2 * LIMIT), mtime=0), {"compressed": "gzip"}]), "not_an_entry"),
        (
            msgpack.packb(["t", gzip.compress(entry("x" * 2 * LIMIT), mtime=0), {"compressed": "gzip"}]),
            "inflates_too_large",
        ),
        (msgpack.packb(["t", gzip.compress(b"", mtime=0) * 20_000, {"compressed": "gzip"}]), "compression"),
    ],
)
def test_what_is_no_forward_message_is_refused_with_a_reason(frame: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        entries_of(frame)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xc1", "not_msgpack"),
        (b"\x91" * 5000, "nested_too_deep"),
        (msgpack.packb(["t", b"x" * 2000]), "too_large"),
        (b"\x93\xa1t\xdd\xff\xff\xff\xff" + b"\xc0" * 3 * 2**20, "too_large"),
    ],
)
def test_a_stream_that_can_not_be_read_on_is_refused(data: bytes, reason: str) -> None:
    frames = Frames(1000)
    with pytest.raises(Malformed) as refused:
        frames.feed(data)
        list(frames)
    assert refused.value.reason == reason


def wide() -> Any:
    """What each of MessagePack's forms needs, the longer lengths too."""
    of_size = st.sampled_from([0, 1, 2, 4, 8, 15, 16, 17, 31, 32, 256, 66_000])
    return (
        st.floats(width=32)
        | of_size.map(lambda size: "x" * size)
        | of_size.map(bytes)
        | of_size.map(lambda size: msgpack.ExtType(5, bytes(size)))
        | of_size.map(lambda size: [None] * size)
        | of_size.map(lambda size: dict.fromkeys(range(size)))
        | st.integers(-(2**63), 2**64 - 1)
    )


@settings(max_examples=50)
@given(st.lists(wide() | values, max_size=3), st.integers(0, 2**20), st.binary(max_size=5), st.booleans())
def test_the_end_of_an_object_is_found_without_a_stack_where_msgpack_finds_it(
    value: Any, cut: int, behind: bytes, single: bool
) -> None:
    data = msgpack.packb(value, use_single_float=single)
    if len(data) > LARGEST_DEEP:
        return
    scan = DeepScan()
    assert not scan.go_on(data[: cut % len(data)])
    assert scan.go_on(data + behind)
    assert scan.at == len(data)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 9000), max_size=5), st.sampled_from([1500, 100_000]))
def test_a_deep_object_is_taken_whole_wherever_the_stream_is_cut(cuts: list[int], depth: int) -> None:
    deep = b"\x91" * depth + b"\xc0"
    frames, found = Frames(LIMIT, deep=True), []
    for piece in pieces(b"\x01" + deep + b"\xa1x" + deep + b"\x02", cuts):
        frames.feed(piece)
        found += list(frames)
    assert found == [b"\x01", deep, b"\xa1x", deep, b"\x02"]
    assert frames.pending == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x91" * LARGEST_DEEP + b"\xc0", "nested_too_deep"),
        (b"\x91" * 1500 + b"\xdb\xff\xff\xff\xff", "nested_too_deep"),
        (b"\x91" * 1500 + b"\xdd\xff\xff\xff\xff" + bytes(LARGEST_DEEP), "nested_too_deep"),
        (b"\x91" * 1500 + b"\xc1", "not_msgpack"),
    ],
)
def test_a_deep_object_is_looked_at_up_to_a_bound(data: bytes, reason: str) -> None:
    frames = Frames(LIMIT, deep=True)
    frames.feed(data)
    with pytest.raises(Malformed) as refused:
        frames.take()
    assert refused.value.reason == reason


@given(st.sampled_from([0, 1, 300, 70_000]), st.booleans())
def test_a_packed_message_tells_its_size_in_its_first_bytes(size: int, old: bool) -> None:
    frame = msgpack.packb(["audit", b"x" * size, {}], use_bin_type=not old)
    expected = expected_size(frame[:100])
    # fixstr has its length in its type, and is small.
    assert expected == (None if old and size < 32 else len(frame) - 1)


def test_a_claim_of_four_gigabytes_is_seen_before_they_arrive() -> None:
    assert (expected_size(b"\x92\xa1t\xc6\xff\xff\xff\xff") or 0) > 4 * 10**9


def test_the_size_of_a_forward_list_is_not_guessed() -> None:
    assert expected_size(message("forward", [entry({}, event_time(START))])) is None
