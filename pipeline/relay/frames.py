"""MessagePack objects out of a stream of bytes, each as its exact bytes.

Only the boundaries are found here (`Unpacker.skip` builds no objects), so that a hostile message costs the bytes that
did arrive and no more: a claim of four gigabytes allocates nothing, an array of millions of empty maps stays bytes.
"""

from collections.abc import Iterator

import msgpack

#: Bytes that the scanner sets aside at first; and of an object after which it is replaced.
SMALLEST = 2**14
LARGE = 2**19


class Malformed(Exception):  # noqa: N818 - never leaves the relay: it closes a connection
    """These bytes can't be read on. `reason` is one word for a metric, the message is for a log."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Frames:
    """Feed bytes, take whole objects. `limit` bounds the bytes of one object."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._scanner = _scanner(limit)
        self._buffer = bytearray()
        self._dropped = 0  # bytes that were handed out, by the scanner's count

    @property
    def pending(self) -> int:
        """Bytes of the object that is not complete yet."""
        return len(self._buffer)

    @property
    def beginning(self) -> bytes:
        """The first bytes of the object that is not complete yet: enough for its header and a tag."""
        return bytes(self._buffer[:8192])

    def feed(self, data: bytes | memoryview) -> None:
        """Add bytes of the stream. Take every object with `take` before feeding again."""
        self._buffer += data
        try:
            self._scanner.feed(data)
        except msgpack.BufferFull:
            raise self._too_large() from None

    def take(self) -> bytes | None:
        """The next whole object, or None. Malformed: not MessagePack, nested too deep, or over the limit."""
        try:
            self._scanner.skip()
        except msgpack.OutOfData:
            if len(self._buffer) > self._limit:
                raise self._too_large() from None
            return None
        except msgpack.StackError:
            raise Malformed("nested_too_deep", "an object is nested deeper than MessagePack readers follow") from None
        except (msgpack.FormatError, ValueError) as error:
            raise Malformed("not_msgpack", f"expected MessagePack, got something else ({error})") from None
        end = self._scanner.tell()
        size = end - self._dropped
        if size > self._limit:
            raise self._too_large()
        with memoryview(self._buffer) as view:
            frame = bytes(view[:size])
        # CPython drops the front of a bytearray without moving the rest.
        del self._buffer[:size]
        self._dropped = end
        if size > LARGE:
            self._begin_anew()
        return frame

    def _begin_anew(self) -> None:
        """Let go of the scanner's memory: it grows with the largest object and never shrinks."""
        self._scanner, self._dropped = _scanner(self._limit), 0
        self._scanner.feed(self._buffer)

    def __iter__(self) -> Iterator[bytes]:
        while (frame := self.take()) is not None:
            yield frame

    def _too_large(self) -> Malformed:
        return Malformed("too_large", f"an object is larger than the {self._limit} bytes that are taken")


def _scanner(limit: int) -> msgpack.Unpacker:
    # Twice: what is fed may hold the end of one object and the beginning of the next.
    return msgpack.Unpacker(max_buffer_size=2 * limit + 2**20, read_size=SMALLEST, strict_map_key=False)
