"""The format of a segment: frames, one after the other.

    4 bytes   b"APF1"
    4 bytes   length of the payload, big-endian
    4 bytes   CRC-32 of the payload, big-endian
    n bytes   payload: one Forward entry, msgpack of [EventTime, record]

A payload is what a PackedForward chunk is made of, so that sending copies bytes and packs nothing again. A frame that
was torn or damaged is told by its length or its CRC; the magic finds the next good one.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"APF1"
HEADER = struct.Struct(">4sII")
#: No event is larger (256 kB of JSON; msgpack is smaller, but for keys and times).
MAX_PAYLOAD = 1024 * 1024


def encode(payload: bytes) -> bytes:
    """A frame around a payload."""
    return HEADER.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


class Frame(NamedTuple):
    """A good frame: its payload, and where it ends."""

    payload: bytes
    end: int


class Damage(NamedTuple):
    """Bytes from `start` to `end` that are no good frame. `torn`: nothing good comes after them in what was read."""

    start: int
    end: int
    torn: bool


def is_cut_short(data: bytes) -> bool:
    """Whether these are the first bytes of a frame whose end is missing, as SIGKILL leaves a write(2)."""
    if len(data) < HEADER.size:
        return MAGIC.startswith(data[: len(MAGIC)])
    magic, length, _ = HEADER.unpack_from(data)
    return bool(magic == MAGIC and len(data) - HEADER.size < length <= MAX_PAYLOAD)


def decode(data: bytes | memoryview, offset: int = 0) -> Iterator[Frame | Damage]:
    """Good frames and the damage between them, in order; offsets count from the start of `data`."""
    data = bytes(data)
    while offset < len(data):
        frame = _frame(data, offset)
        if frame is None:
            next_good = _next_good(data, offset + 1)
            yield Damage(offset, len(data) if next_good is None else next_good, torn=next_good is None)
            if next_good is None:
                return
            offset = next_good
        else:
            yield frame
            offset = frame.end


def _frame(data: bytes, offset: int) -> Frame | None:
    if len(data) - offset < HEADER.size:
        return None
    magic, length, crc = HEADER.unpack_from(data, offset)
    end = offset + HEADER.size + length
    if magic != MAGIC or length > MAX_PAYLOAD or end > len(data):
        return None
    payload = data[offset + HEADER.size : end]
    return Frame(payload, end) if zlib.crc32(payload) == crc else None


def _next_good(data: bytes, offset: int) -> int | None:
    while (offset := data.find(MAGIC, offset)) >= 0:
        if _frame(data, offset) is not None:
            return offset
        offset += 1
    return None
