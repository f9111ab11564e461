"""MessagePack objects out of a stream of bytes, each as its exact bytes.

Only the boundaries are found here (`Unpacker.skip` builds no objects), so that a hostile message costs the bytes that
did arrive and no more: a claim of four gigabytes allocates nothing, an array of millions of empty maps stays bytes.
"""

from collections.abc import Iterator

import msgpack

#: Bytes that the scanner sets aside at first; and of an object after which it is replaced.
SMALLEST = 2**14
LARGE = 2**19
#: Bytes of the largest object that is followed to any depth, at some millions of them a second. Emitters' end there.
LARGEST_DEEP = 2**18


class Malformed(Exception):  # noqa: N818 - never leaves the relay: it closes a connection
    """These bytes can't be read on. `reason` is one word for a metric, the message is for a log."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Frames:
    """Feed bytes, take whole objects. `limit` bounds the bytes of one object.

    `deep`: one that is nested deeper than msgpack follows is an object all the same, if it is no larger than
    LARGEST_DEEP. Its end is found slowly, so that is for bytes that have all come, as one message's.
    """

    def __init__(self, limit: int, *, deep: bool = False) -> None:
        self._limit = limit
        self._deep = deep
        self._scan: DeepScan | None = None  # while such an object is at the front
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
        if self._scan is not None:
            return
        try:
            self._scanner.feed(data)
        except msgpack.BufferFull:
            raise self._too_large() from None

    def take(self) -> bytes | None:
        """The next whole object, or None. Malformed: not MessagePack, nested too deep, or over the limit."""
        if self._scan is not None:
            return self._take_deep(self._scan)
        try:
            self._scanner.skip()
        except msgpack.OutOfData:
            if len(self._buffer) > self._limit:
                raise self._too_large() from None
            return None
        except msgpack.StackError:
            if not self._deep:
                raise _too_deep() from None
            self._scan = DeepScan()
            return self._take_deep(self._scan)
        except (msgpack.FormatError, ValueError) as error:
            raise Malformed("not_msgpack", f"expected MessagePack, got something else ({error})") from None
        end = self._scanner.tell()
        size = end - self._dropped
        if size > self._limit:
            raise self._too_large()
        frame = self._cut(size)
        self._dropped = end
        if size > LARGE:
            self._begin_anew()
        return frame

    def _take_deep(self, scan: "DeepScan") -> bytes | None:
        if not scan.go_on(self._buffer):
            return None
        frame = self._cut(scan.at)
        self._scan = None
        self._begin_anew()
        return frame

    def _cut(self, size: int) -> bytes:
        with memoryview(self._buffer) as view:
            frame = bytes(view[:size])
        # CPython drops the front of a bytearray without moving the rest.
        del self._buffer[:size]
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


class DeepScan:
    """Finds the end of an object of any depth, by counting the objects that are still to come instead of a stack."""

    def __init__(self) -> None:
        self.at = 0
        self._left = 1

    def go_on(self, data: bytes | bytearray) -> bool:
        """Look at what has come; whether the object ends in it. Malformed: not MessagePack, or over LARGEST_DEEP."""
        at, left, shapes, end = self.at, self._left, _SHAPES, min(len(data), LARGEST_DEEP)
        while left and at < end:
            size, inside, width, each = shapes[data[at]]
            if width:
                if at + size > end:
                    break
                number = int.from_bytes(data[at + 1 : at + 1 + width], "big")
                inside, size = (number * each, size) if each else (0, size + number)
            elif not size:
                raise Malformed("not_msgpack", f"expected MessagePack, got the byte {data[at]:#04x}")
            at += size
            left += inside - 1
        self.at, self._left = at, left
        if at > LARGEST_DEEP or (left and end == LARGEST_DEEP):
            raise _too_deep()
        return not left and at <= end


def _shapes() -> list[tuple[int, int, int, int]]:
    """For each first byte: how many bytes it has with those beside it, and objects inside; or, where a number follows,
    the bytes of that, and how many objects it counts with each (0: it counts bytes).
    """
    shapes = [(1, 0, 0, 0)] * 256
    for first in range(0x80, 0xA0):
        shapes[first] = (1, (first & 0x0F) * (2 if first < 0x90 else 1), 0, 0)
    for first in range(0xA0, 0xC0):
        shapes[first] = (1 + (first & 0x1F), 0, 0, 0)
    shapes[0xC1] = (0, 0, 0, 0)
    for first, width in ((0xC4, 1), (0xC5, 2), (0xC6, 4), (0xD9, 1), (0xDA, 2), (0xDB, 4)):
        shapes[first] = (1 + width, 0, width, 0)
    for first, width in ((0xC7, 1), (0xC8, 2), (0xC9, 4)):
        shapes[first] = (2 + width, 0, width, 0)
    for first, size in zip(range(0xCA, 0xD9), (4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17), strict=True):
        shapes[first] = (1 + size, 0, 0, 0)
    for first, width, each in ((0xDC, 2, 1), (0xDD, 4, 1), (0xDE, 2, 2), (0xDF, 4, 2)):
        shapes[first] = (1 + width, 0, width, each)
    return shapes


_SHAPES = _shapes()


def _too_deep() -> Malformed:
    return Malformed("nested_too_deep", "an object is nested deeper than MessagePack readers follow")


def _scanner(limit: int) -> msgpack.Unpacker:
    # Twice: what is fed may hold the end of one object and the beginning of the next.
    return msgpack.Unpacker(max_buffer_size=2 * limit + 2**20, read_size=SMALLEST, strict_map_key=False)
