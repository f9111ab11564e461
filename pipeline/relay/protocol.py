"""Forward Protocol Specification v1: from a message's bytes to its entries.

https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1

    Message                 [tag, time, record, option?]
    Forward                 [tag, [[time, record], ...], option?]
    PackedForward           [tag, entries as bin or str, option?]
    CompressedPackedForward the same, gzip, option {"compressed": "gzip"}
    heartbeat               nil, or an empty array

An entry of Fluent Bit may carry metadata beside the time, `[[time, {...}], record]`; it is not part of the event.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack

from auditpipe.pipeline.relay.frames import Frames, Malformed
from auditpipe.pipeline.relay.inflate import inflate

SECOND = 1_000_000_000
MOST_SECONDS = 2**63 // SECOND

#: Longest `chunk` that is echoed, and held until then. Clients send the base64 of 16 bytes.
LONGEST_CHUNK = 256

#: Largest entry that is inflated. One that is not compressed is bounded by its message.
LARGEST_INFLATED = 2**25

#: The first byte of a TLS record that begins a handshake (RFC 8446, 5.1). In MessagePack: the integer 22.
TLS_HANDSHAKE = b"\x16"

LONGEST_TAG = 4096

#: Largest option map that is decoded: a small message of many empty maps would be large in memory.
LARGEST_OPTION = 2**16

#: Longest time in MessagePack: ext8 with eight bytes.
LONGEST_TIME = 11

_EVENT_TIME = struct.Struct(">II")
_FIXARRAY, _ARRAY16, _ARRAY32 = 0x90, 0xDC, 0xDD
_BYTES_TYPES = frozenset({*range(0xA0, 0xC0), 0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB})
_LENGTH_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}


class Entry(NamedTuple):
    """One event as it travels. `packed` is the exact MessagePack of the record; `time` is nanoseconds, or None."""

    time: int | None
    packed: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A message whose entries have not been read yet."""

    tag: str
    chunk: str | bytes | None
    payload: bytes
    form: str
    time: int | None = None

    def entries(self, *, inflated: int) -> Iterator[Entry]:
        """Each entry, as it is reached. Malformed where they can't be read on, or inflate to more than `inflated`."""
        if self.form == "message":
            yield Entry(self.time, self.payload)
        elif self.form == "forward":
            yield from _forward_entries(self.payload)
        else:
            pieces = inflate(self.payload, inflated) if self.form == "compressed" else _pieces(self.payload)
            limit = min(inflated, LARGEST_INFLATED) if self.form == "compressed" else len(self.payload)
            yield from packed_entries(pieces, limit=limit)

    @property
    def acknowledgement(self) -> bytes | None:
        """What the client waits for, once every event of the chunk is done. The chunk's bytes are as they came."""
        if self.chunk is None:
            return None
        packed: bytes = msgpack.packb({"ack": self.chunk}, unicode_errors="surrogateescape")
        return packed


def read_message(frame: bytes) -> Message | None:
    """The message in one MessagePack object; None for a heartbeat. Malformed says what was expected instead."""
    if frame in (b"\xc0", b"\x90"):
        return None
    refuse_tls(frame)
    reader = _reader(frame)
    try:
        length = reader.read_array_header() if is_array(frame, 0) else 0
        if not 2 <= length <= 4:
            raise Malformed("not_forward", "expected a Forward message [tag, entries or time, ...]")
        if frame[reader.tell()] not in _BYTES_TYPES:
            raise Malformed("not_forward", "expected a tag as a string")
        tag = _text(reader.unpack(), "a tag")
        start = reader.tell()
        if is_array(frame, start) and length <= 3:
            # The bounds of the list are the payload: its entries are found in it one by one.
            reader.skip()
            payload, form, time, rest = frame[start : reader.tell()], "forward", None, length - 2
        elif frame[start] in _BYTES_TYPES and length <= 3:
            payload, form, time, rest = _as_bytes(reader.unpack()), "packed", None, length - 2
        elif length >= 3:
            time = _time(_skip(reader, frame))
            start = reader.tell()
            reader.skip()
            payload, form, rest = frame[start : reader.tell()], "message", length - 3
        else:
            raise Malformed("not_forward", "expected entries after the tag")
        option = _option(_skip(reader, frame)) if rest else {}
    except (msgpack.UnpackException, ValueError, TypeError) as error:
        raise Malformed("not_forward", f"expected a Forward message: {error}") from None
    return Message(tag, _chunk(option), payload, _form(form, option), time)


def refuse_tls(frame: bytes) -> None:
    """Malformed `tls_unexpected` where a client that speaks TLS has come to a relay that does not."""
    if frame == TLS_HANDSHAKE:
        raise Malformed(
            "tls_unexpected", "expected plain text, got TLS: this relay was started without --tls-cert-file"
        )


def expected_size(start: bytes) -> int | None:
    """Bytes of a PackedForward message that begins so, its option not counted; None where only the end will tell."""
    reader = _reader(start)
    try:
        if not is_array(start, 0) or not 2 <= reader.read_array_header() <= 3:
            return None
        reader.skip()
        at = reader.tell()
        width = _LENGTH_BYTES.get(start[at])
    except (msgpack.UnpackException, ValueError, IndexError):
        return None
    if width is None or len(start) <= at + width:
        return None
    return int(at) + 1 + width + int.from_bytes(start[at + 1 : at + 1 + width], "big")


def packed_entries(pieces: Iterator[bytes], *, limit: int) -> Iterator[Entry]:
    """The entries in a stream of `[time, record]`. Malformed where one is cut off or is no entry.

    The record of one may be nested so deep that it can't be decoded: the stream can be read on behind it.
    """
    frames = Frames(limit, deep=True)
    for piece in pieces:
        frames.feed(piece)
        for frame in frames:
            yield read_entry(frame)
    if frames.pending:
        raise Malformed("cut_off", f"the last entry is cut off: {frames.pending} bytes are left over")


def read_entry(frame: bytes) -> Entry:
    """The entry in the bytes of one `[time, record]` or `[[time, metadata], record]`."""
    if frame[:3] == b"\x92\xd7\x00":  # EventTime as fixext8: what nearly every client sends
        return Entry(_event_time(frame[3:11]), frame[11:])
    try:
        if not is_array(frame, 0) or (reader := _reader(frame)).read_array_header() != 2:
            raise Malformed("not_an_entry", "expected an entry [time, record]")
        time = _skip(reader, frame)
        if is_array(time, 0):
            inner = _reader(time)
            time = _skip(inner, time) if inner.read_array_header() else b"\xc0"
        return Entry(_time(time), frame[reader.tell() :])
    except (msgpack.UnpackException, ValueError, TypeError) as error:
        raise Malformed("not_an_entry", f"expected an entry [time, record]: {error}") from None


def _skip(reader: msgpack.Unpacker, data: bytes) -> bytes:
    start = reader.tell()
    reader.skip()
    return data[start : reader.tell()]


def _time(packed: bytes) -> int | None:
    return to_nanoseconds(decode(packed)) if len(packed) <= LONGEST_TIME else None


def to_nanoseconds(time: Any) -> int | None:
    """EventTime (ext 0: 32 bits of seconds, 32 of nanoseconds) or seconds, as nanoseconds; None for anything else.

    The specification knows integers and EventTime; fluent-logger sends a float where its caller passes one.
    """
    if isinstance(time, msgpack.ExtType):
        return _event_time(time.data) if time.code == 0 and len(time.data) == 8 else None
    if isinstance(time, int) and not isinstance(time, bool):
        # What is beyond is beyond what a dead letter can hold too, and no time of any event.
        return time * SECOND if abs(time) <= MOST_SECONDS else None
    if isinstance(time, float) and 0 <= time < 2**32:
        return int(time * SECOND)
    return None


def _event_time(data: bytes) -> int | None:
    seconds, nanoseconds = _EVENT_TIME.unpack(data)
    return int(seconds * SECOND + nanoseconds) if nanoseconds < SECOND else None


def decode(packed: bytes) -> Any:
    """The object in these bytes. ValueError for what Python has no value for (a map as a key, a broken ext).

    Bytes of a str that are no UTF-8 become lone surrogates, which JSON then refuses: for one record, not for all.
    """
    try:
        return msgpack.unpackb(packed, strict_map_key=False, unicode_errors="surrogateescape")
    except msgpack.StackError:
        raise ValueError("it is nested deeper than MessagePack readers follow") from None
    except (msgpack.UnpackException, ValueError, TypeError, OverflowError) as error:
        raise ValueError(str(error) or type(error).__name__) from None


def _forward_entries(payload: bytes) -> Iterator[Entry]:
    reader = _reader(payload)
    count = reader.read_array_header()
    start = reader.tell()
    for _ in range(count):
        reader.skip()
        end = reader.tell()
        yield read_entry(payload[start:end])
        start = end


def _pieces(payload: bytes, size: int = 2**18) -> Iterator[bytes]:
    for start in range(0, len(payload), size):
        yield payload[start : start + size]


def _reader(data: bytes) -> msgpack.Unpacker:
    reader = msgpack.Unpacker(max_buffer_size=max(len(data), 1), strict_map_key=False, unicode_errors="surrogateescape")
    reader.feed(data)
    return reader


def is_array(data: bytes, at: int) -> bool:
    """Whether an array begins there."""
    return data[at] & 0xF0 == _FIXARRAY or data[at] in (_ARRAY16, _ARRAY32)


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _text(value: Any, what: str) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str) or len(value) > LONGEST_TAG:
        raise Malformed("not_forward", f"expected {what} as a string of at most {LONGEST_TAG} characters")
    return value


def _option(packed: bytes) -> dict[str, Any]:
    if len(packed) > LARGEST_OPTION:
        raise Malformed("not_forward", f"expected an option of at most {LARGEST_OPTION} bytes")
    value = decode(packed)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed("not_forward", f"expected the option as a map, got {type(value).__name__}")
    return {_text(key, "an option's key"): inner for key, inner in value.items()}


def _chunk(option: dict[str, Any]) -> str | bytes | None:
    chunk = option.get("chunk")
    if chunk is None:
        return None
    if not isinstance(chunk, (str, bytes)) or len(chunk) > LONGEST_CHUNK:
        raise Malformed("not_forward", f"expected option chunk as a string of at most {LONGEST_CHUNK} bytes")
    return chunk


def _form(form: str, option: dict[str, Any]) -> str:
    compressed = option.get("compressed")
    if compressed is None or compressed in ("text", b"text"):
        return form
    if compressed not in ("gzip", b"gzip"):
        raise Malformed("compression", "expected option compressed to be text or gzip")
    return "compressed" if form == "packed" else form
