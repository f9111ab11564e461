"""Whatever bytes come: an event, a refused event or a refused connection, and no other end.

Bounded here; AUDITPIPE_FUZZ_EXAMPLES makes it as long as one likes.
"""

import asyncio
import gzip
import os
from typing import Any

import msgpack
import orjson
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from auditpipe.pipeline.deadletter.store import letter
from auditpipe.pipeline.relay.frames import Frames, Malformed
from auditpipe.pipeline.relay.handshake import LARGEST_PING, authenticate
from auditpipe.pipeline.relay.protocol import expected_size, read_message
from auditpipe.pipeline.relay.records import Event, Refused, prepare
from tests.pipeline.relay.wire import MODES, START, event_time, message, ping, record

RECORD = record()  # one for all: an example that is run again must be the same
LIMIT, INFLATED = 2**16, 2**18
EXAMPLES = int(os.environ.get("AUDITPIPE_FUZZ_EXAMPLES", "80"))
fuzz = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

#: What stands at the edges of MessagePack's types, and what a reader could stumble over.
ODD = [
    *(
        b"\xc0",
        b"\xc1",
        b"\xc4",
        b"\xc6\xff\xff\xff\xff",
        b"\xc7\x08\x00",
        b"\xc9\xff\xff\xff\xff\x00",
        b"\xca\x7f\xc0\x00\x00",
    ),
    *(
        b"\xcb\x7f\xf0" + bytes(6),
        b"\xcf" + b"\xff" * 8,
        b"\xd3\x80" + bytes(7),
        b"\xd7\x00" + b"\xff" * 8,
        b"\xd7\xff" + bytes(8),
    ),
    *(
        b"\xdb\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x80",
        b"\x90",
        b"\xa0",
        b"\x81\x80\x80",
    ),
    *(
        b"\x91" * 40,
        b"\x81\xa0" * 40,
        b"\xa3\xed\xa0\x80",
        b"\xa2\xff\xfe",
        b"\x1f\x8b\x08",
        gzip.compress(b"\x92", mtime=0),
    ),
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=9)),
    st.builds(event_time, st.integers(0, 2**32 * 10**9 - 1)),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(scalars, inner, max_size=3),
    max_leaves=6,
)
documents = values | st.builds(lambda fields: RECORD | fields, st.dictionaries(st.text(max_size=4), values, max_size=3))


def packed(value: Any) -> bytes:
    try:
        data: bytes = msgpack.packb(value)
    except (ValueError, TypeError, OverflowError):
        return b"\xc0"
    return data


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes that were right before something was put in, taken away or changed."""
    data = draw(whole)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        cut = draw(st.integers(0, 3))
        data = data[:at] + draw(st.sampled_from(ODD) | st.binary(max_size=4)) + data[at + cut :]
    return data


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message of any mode, its parts of any type."""
    entries = [
        packed([draw(st.just(event_time(START)) | values), one])
        for one in draw(st.lists(documents, min_size=1, max_size=3))
    ]
    entries = [draw(damaged(st.just(one))) if draw(st.booleans()) else one for one in entries]
    if draw(st.booleans()):
        return message(draw(st.sampled_from(MODES)), entries, draw(st.none() | st.text(max_size=8)))
    body = b"".join(entries)
    option = draw(st.dictionaries(st.sampled_from(["chunk", "size", "compressed", b"chunk", 5]), values, max_size=3))
    parts = [draw(values), draw(st.sampled_from([body, gzip.compress(body, mtime=0), [], START])), draw(values), option]
    return packed(parts[: draw(st.integers(1, 4))])


def read_to_the_end(data: bytes, cut: int) -> None:
    """As a connection does, up to OpenSearch or the dead letters."""
    frames = Frames(LIMIT)
    try:
        for piece in (data[:cut], data[cut:]):
            frames.feed(piece)
            for frame in frames:
                if found := read_message(frame):
                    answer = found.acknowledgement
                    assert answer is None or msgpack.unpackb(answer, raw=True).keys() == {b"ack"}
                    for one in found.entries(inflated=INFLATED):
                        judge(prepare(one, found.tag))
            assert frames.pending <= len(data)
            expected_size(frames.beginning)
    except Malformed as error:
        assert error.reason
        assert str(error)


def judge(one: Event | Refused) -> None:
    if isinstance(one, Refused):
        kept = orjson.loads(letter(one, START))
        assert kept["reason"]["type"]
        assert ("record" in kept) != ("msgpack" in kept)
    else:
        action, document, rest = one.lines().split(b"\n")
        assert orjson.loads(action)["create"]["_id"] == orjson.loads(document)["event"]["id"]
        assert rest == b""


@given(
    damaged(messages()) | st.lists(st.sampled_from(ODD)).map(b"".join) | st.binary(max_size=300), st.integers(0, 400)
)
@example(b"\x94\xa5audit\xd7\x00j\xca\x0c\xa0\x00\x00\x00\x00\xc0\x81\xa5chunk\xa1\xc0", 0)  # a chunk that is no text
@example(b'\x93\xa0\xcf\x18\xdd"\xb7\xe66@\x00\xc0', 0)  # a time whose nanoseconds are beyond 64 bits
@fuzz
def test_whatever_comes_is_an_event_a_dead_letter_or_a_refused_connection(data: bytes, cut: int) -> None:
    read_to_the_end(data, cut)


class Writer:
    """What a handshake writes."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


KEY = "the key"
pings = st.lists(values, max_size=7).map(lambda parts: packed(["PING", *parts])) | st.binary(max_size=200).map(
    lambda nonce: ping("another key", nonce)
)


@given(damaged(pings) | messages() | st.binary(max_size=2 * LARGEST_PING), st.integers(0, 3000))
@fuzz
def test_whatever_comes_instead_of_a_proof_lets_nobody_in(data: bytes, cut: int) -> None:
    async def meet() -> bool:
        reader, writer = asyncio.StreamReader(), Writer()
        for piece in (data[:cut], data[cut:]):
            reader.feed_data(piece)
        reader.feed_eof()
        try:
            return await authenticate(reader, writer, KEY.encode())  # type: ignore[arg-type]
        except Malformed as error:
            assert error.reason
            answers = msgpack.Unpacker(raw=True)
            answers.feed(writer.data)
            helo, *pong = answers
            assert helo[0] == b"HELO"
            assert [one[:2] for one in pong] == ([[b"PONG", False]] if error.reason == "wrong_key" else [])
            return False

    assert asyncio.run(meet()) is False
