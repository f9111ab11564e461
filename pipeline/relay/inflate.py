"""gzip (RFC 1952), one member or several in a row, with a bound on what comes out."""

import zlib
from collections.abc import Iterator

from auditpipe.pipeline.relay.frames import Malformed

#: Bytes that go in and come out at a time: what zlib has not consumed yet is copied at every step.
PIECE_IN = 2**16
PIECE_OUT = 2**18

#: Fluentd joins one member per append to its buffer. Millions of empty ones would be work without bytes.
MOST_MEMBERS = 10_000

_GZIP = zlib.MAX_WBITS | 16


def inflate(data: bytes, limit: int) -> Iterator[bytes]:
    """The inflated bytes, piece by piece. Malformed: no gzip, cut off, or more than `limit` bytes in all."""
    left, members = limit, 0
    member, fresh = zlib.decompressobj(_GZIP), True
    for start in range(0, len(data), PIECE_IN):
        rest = data[start : start + PIECE_IN]
        while rest:
            try:
                piece = member.decompress(rest, PIECE_OUT)
            except zlib.error as error:
                raise Malformed("compression", f"expected gzip: {error}") from None
            left -= len(piece)
            if left < 0:
                raise Malformed("inflates_too_large", f"the entries inflate to more than the {limit} bytes allowed")
            if piece:
                yield piece
            rest, fresh = member.unconsumed_tail, False
            if member.eof:
                members += 1
                if members > MOST_MEMBERS:
                    raise Malformed("compression", f"expected at most {MOST_MEMBERS} gzip members")
                rest, member, fresh = member.unused_data, zlib.decompressobj(_GZIP), True
    if not fresh:
        yield from _last(member, left, limit)


def _last(member: "zlib._Decompress", left: int, limit: int) -> Iterator[bytes]:
    """What zlib still holds when the input has ended inside a member."""
    piece = member.flush()
    if not member.eof:
        raise Malformed("compression", "the gzip data is cut off")
    if len(piece) > left:
        raise Malformed("inflates_too_large", f"the entries inflate to more than the {limit} bytes allowed")
    yield piece
