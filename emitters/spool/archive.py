"""Reads all that a spool still holds: waiting or acknowledged, of living processes and of dead ones.

Takes no lock and changes nothing, so that it may run beside whoever writes and sends. What is sent, acknowledged or
removed while it reads is seen as it was or as it is. One segment is in memory at a time (8 MiB and a frame).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from auditpipe.emitters.spool import frames
from auditpipe.emitters.spool.backlog import Position, read_mark, segment_path, segments
from auditpipe.emitters.spool.folder import is_hidden
from auditpipe.schemas.errors import SpoolError
from auditpipe.schemas.identity import SECOND

_TIME = struct.Struct(">3xII")  # array of two and the extension's head, then EventTime's seconds and nanoseconds
_MOST_NANOSECONDS = SECOND - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One event where it lies: the folder of its writer, segment, and offset in bytes.

    `acknowledged`: a shipper has taken it. `time`: its Forward time, nanoseconds since 1970. `payload`: the Forward
    entry as it is sent.
    """

    folder: Path
    segment: int
    offset: int
    acknowledged: bool
    time: int
    payload: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The stored document. SpoolError: it is a whole frame, but no event of ours."""
        try:
            _, document = msgpack.unpackb(self.payload)
        except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
            raise SpoolError(f"{self.place} is no event: {error}") from error
        if not isinstance(document, dict):
            raise SpoolError(f"{self.place} is no event: expected a map, got {type(document).__name__}")
        return document

    def sequence_in(self, stream: str) -> int | None:
        """Its number in this stream; None for an event of another stream, and for what is no event of ours."""
        if stream.encode() not in self.payload:  # far cheaper than unpacking every event
            return None
        try:
            audit = self.document.get("audit")
        except SpoolError:
            return None
        if not isinstance(audit, dict) or audit.get("stream") != stream:
            return None
        number = audit.get("sequence")
        return number if isinstance(number, int) else None

    @property
    def place(self) -> str:
        """Where it lies, for messages."""
        return f"{segment_path(self.folder, self.segment)} at {self.offset}"


class Damaged(NamedTuple):
    """Bytes of a segment that are no event. `cut_short`: they are its last, and the beginning of one.

    That is what an append leaves that is under way, or that SIGKILL ended: then `emit` had not returned.
    """

    segment: int
    offset: int
    size: int
    cut_short: bool


def folders(spool: Path) -> list[Path]:
    """The writers' folders, the oldest first; none where there is no spool yet. SpoolError if it can't be read."""
    try:
        return sorted(path for path in spool.iterdir() if path.is_dir() and not is_hidden(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SpoolError(f"the spool {spool} can't be read: {error}") from error


def entries(spool: Path) -> Iterator[Entry]:
    """Every event, folder by folder, in the order of their appending. SpoolError if something can't be read."""
    for folder in folders(spool):
        for part in contents(folder):
            if isinstance(part, Entry):
                yield part


def contents(folder: Path, *, only_waiting: bool = False) -> Iterator[Entry | Damaged]:
    """What is in one writer's folder, damage included, in order. SpoolError if something can't be read."""
    mark = read_mark(folder)
    for number in _segments(folder):
        if only_waiting and number < mark.segment:
            continue
        start = mark.offset if only_waiting and number == mark.segment else 0
        yield from _of_segment(folder, number, start, mark)


def held(spool: Path, stream: str, first: int, last: int) -> int:
    """How many distinct `audit.sequence` numbers from `first` to `last` of that stream the spool still holds.

    Counts what waits and what was acknowledged. A spool that does not exist holds nothing. SpoolError: it can't be
    read.
    """
    runs: list[tuple[int, int]] = []
    for entry in entries(spool):
        number = entry.sequence_in(stream)
        if number is None or not first <= number <= last:
            continue
        if runs and runs[-1][1] + 1 == number:  # the rule: a stream's events follow each other
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return _distinct(runs)


def _distinct(runs: list[tuple[int, int]]) -> int:
    """Numbers in these closed ranges, each counted once."""
    total, reached = 0, None
    for low, high in sorted(runs):
        begin = low if reached is None else max(low, reached + 1)
        if begin <= high:
            total, reached = total + high - begin + 1, high
    return total


def _segments(folder: Path) -> list[int]:
    try:
        return segments(folder)
    except OSError as error:
        raise SpoolError(f"{folder}: can't be read: {error}") from error


def _of_segment(folder: Path, number: int, start: int, mark: Position) -> Iterator[Entry | Damaged]:
    path = segment_path(folder, number)
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # acknowledged, and removed while we looked
        return
    except OSError as error:
        raise SpoolError(f"{path}: can't be read: {error}") from error
    offset = start
    for part in frames.decode(data, start):
        if isinstance(part, frames.Damage):
            cut_short = part.torn and frames.is_cut_short(data[part.start :])
            yield Damaged(number, part.start, part.end - part.start, cut_short)
        elif (moment := _moment(part.payload)) is None:
            yield Damaged(number, offset, part.end - offset, cut_short=False)
        else:
            yield Entry(folder, number, offset, Position(number, offset) < mark, moment, part.payload)
        offset = part.end


def _moment(payload: bytes) -> int | None:
    """The Forward time of an entry, or None: it is no entry."""
    if len(payload) <= _TIME.size or payload[:3] != b"\x92\xd7\x00":
        return None
    seconds, nanoseconds = _TIME.unpack_from(payload)
    return seconds * SECOND + nanoseconds if nanoseconds <= _MOST_NANOSECONDS else None
