"""Fluent Bit's rejected chunks: what its retries gave up (`storage.keep.rejected`).

A file of ChunkIO (lib/chunkio/include/chunkio/cio_file_st.h), written once, named TAG_STATUS_OUTPUT_POINTER.flb:

    0   2  c1 00
    2   4  CRC32 of the content, if checksums are on; the file does not say whether they are, so it is not looked at
    6   4  padding
    10  4  length of the content, big-endian
    14  8  padding
    22  2  length of the metadata, big-endian; a rejected chunk has none, the tag is in its name
    24     metadata, then the content: `[[EventTime, {metadata}], record]`, one after the other; then zeros

The pointer may come again, and Fluent Bit then appends to the file if it is still there.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from auditpipe.pipeline.relay.frames import Frames, Malformed
from auditpipe.pipeline.relay.protocol import Entry, decode, is_array, read_entry
from auditpipe.pipeline.relay.records import Event, Reason, Refused, prepare, to_json

SUFFIX = ".flb"
HEADER = 24
_MAGIC = b"\xc1\x00"
_LENGTH = slice(10, 14)
_METADATA_LENGTH = slice(22, 24)
_NAME = re.compile(r"(?:\d+-)?(?P<tag>.+)_(?P<status>\d+)_(?P<output>.+)_(?:0x)?[0-9a-f]+\.flb", re.DOTALL)


class ChunkName(NamedTuple):
    """What the name of a rejected chunk says: its tag, the HTTP status (0: none) and the output."""

    tag: str
    status: str
    output: str


def read_name(name: str) -> ChunkName:
    """Of `audit_0_opensearch.0_0x7f00.flb`; other names are a tag as a whole."""
    match = _NAME.fullmatch(name)
    return ChunkName(*match.group("tag", "status", "output")) if match else ChunkName(name, "", "")


def damage(header: bytes, size: int) -> str:
    """What is wrong with a file of `size` bytes that begins with these HEADER bytes; empty if nothing is seen there."""
    if len(header) < HEADER or header[:2] != _MAGIC:
        return "expected a chunk file of Fluent Bit, beginning with c1 00 and 24 bytes long at least"
    expected = HEADER + int.from_bytes(header[_METADATA_LENGTH], "big") + int.from_bytes(header[_LENGTH], "big")
    return f"expected {expected} bytes, the file has {size}" if expected > size else ""


def read_content(data: bytes) -> bytes:
    """The content of a chunk file. ValueError: it is none, or was not written to its end."""
    if problem := damage(data[:HEADER], len(data)):
        raise ValueError(problem)
    start = HEADER + int.from_bytes(data[_METADATA_LENGTH], "big")
    length = int.from_bytes(data[_LENGTH], "big")
    if not length:
        # Files of old versions do not tell: everything up to the zeros that fill the last page.
        return data[start:] if data[start : start + 1] != b"\0" else b""
    return data[start : start + length]


def read_events(data: bytes, tag: str) -> Iterator[Event | Refused]:
    """The events of a chunk file. Bytes that can't be read on come last, as one Refused "unreadable".

    Of a file that was cut off, what was written before the cut is read.
    """
    problem = damage(data[:HEADER], len(data))
    start = HEADER + int.from_bytes(data[_METADATA_LENGTH], "big")
    if problem and (data[:2] != _MAGIC or len(data) <= start):
        yield Refused(Reason("unreadable", problem), tag, None, packed=data)
        return
    content = data[start:] if problem else read_content(data)
    frames, done = Frames(max(len(content), 1), deep=True), 0
    try:
        frames.feed(content)
        for frame in frames:
            if frame == b"\0" and not content[done:].strip(b"\0"):
                break
            yield _read(frame, tag)
            done += len(frame)
        else:
            if frames.pending:
                raise Malformed("cut_off", "the last event is cut off")
        if problem:
            raise Malformed("cut_off", "the rest is missing")
    except Malformed as error:
        told = "; ".join(filter(None, (problem, f"from byte {done} of the content: {error}")))
        yield Refused(Reason("unreadable", told), tag, None, packed=content[done:])


def _read(frame: bytes, tag: str) -> Event | Refused:
    """What stands for an event. Malformed: it is so far from one that what follows is none either."""
    try:
        entry = read_entry(frame)
    except Malformed as error:
        if not is_array(frame, 0):
            raise
        # A client's entry of one or three elements: its neighbours are whole.
        return Refused(Reason("not_an_entry", str(error)), tag, None, packed=frame)
    return unwrap(entry, tag) or prepare(entry, tag)


def unwrap(entry: Entry, tag: str) -> Refused | None:
    """The record that Fluent Bit's guard found no event in and wrapped, with its reason (pipeline/fluent_bit)."""
    if b"dead_letter" not in entry.packed:
        return None
    try:
        wrapped = decode(entry.packed)
    except ValueError:
        return None
    found: Any = wrapped.get("dead_letter") if isinstance(wrapped, dict) else None
    if not isinstance(found, dict) or not isinstance(wrapped.get("audit"), str) or "record" not in found:
        return None
    reason = Reason(str(found.get("type")), str(found.get("detail")))
    record = found["record"]
    event = record.get("event") if isinstance(record, dict) else None
    event_id = event.get("id") if isinstance(event, dict) else None
    own_id = event_id if isinstance(event_id, str) else None
    try:
        return Refused(reason, tag, entry.time, own_id, to_json(record, entry.packed))
    except ValueError:
        return Refused(reason, tag, entry.time, own_id, packed=entry.packed)
