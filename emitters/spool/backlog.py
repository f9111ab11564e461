"""Reads what waits in a writer's folder, in order, and remembers what was acknowledged."""

import contextlib
import logging
import os
import re
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from auditpipe.emitters.spool import frames
from auditpipe.emitters.spool.refusal import is_full, refusal
from auditpipe.schemas.durable import sync_directory
from auditpipe.schemas.errors import SpoolError

log = logging.getLogger(__name__)

_MARK = struct.Struct(">QQI")
_ACKNOWLEDGED = "acknowledged"
_SEGMENT = re.compile("[0-9]{8}[.]seg")
_LARGEST = frames.MAX_PAYLOAD + frames.HEADER.size


class Position(NamedTuple):
    """A place in a folder: a segment's number, and an offset in bytes."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole frames from one segment: their payloads joined, how many, and where the next begins. None: damage."""

    entries: bytes
    count: int
    end: Position
    size: int


def segment_path(folder: Path, number: int) -> Path:
    """The file of a segment."""
    return folder / f"{number:08d}.seg"


def mark_path(folder: Path) -> Path:
    """The file that says how far the folder is acknowledged."""
    return folder / _ACKNOWLEDGED


def segments(folder: Path) -> list[int]:
    """The numbers of the segments that are there, in order; none where the folder is gone. OSError: unreadable."""
    try:
        names = os.listdir(folder)  # noqa: PTH208  # what glob may not read it passes over in silence
    except FileNotFoundError:
        return []
    return sorted(int(name[:8]) for name in names if _SEGMENT.fullmatch(name))


def read_mark(folder: Path) -> Position:
    """How far the folder is acknowledged; its beginning where nothing is, or where the mark is damaged or empty.

    SpoolError if it can't be read. Needs no lock.
    """
    first = Position(0, 0)
    try:
        data = mark_path(folder).read_bytes()
    except FileNotFoundError:
        return first
    except OSError as error:
        raise SpoolError(f"{folder}: what was acknowledged can't be read: {error}") from error
    if not data:  # what a full disk leaves of the first one
        return first
    if len(data) != _MARK.size or zlib.crc32(data[:-4]) != _MARK.unpack(data)[2]:
        log.warning("%s: the acknowledgement mark is damaged; everything is sent again", folder)
        return first
    segment, offset, _ = _MARK.unpack(data)
    return Position(segment, offset)


class Backlog:
    """What waits in one folder. Only the holder of the folder's lock may use it.

    `is_noted`: what was acknowledged last is on the disk, and not in memory alone, as where the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.acknowledged = read_mark(folder)
        self.is_noted = True
        self.damaged_bytes = 0

    def read(self, limit: Position | None, max_bytes: int, max_count: int) -> Batch | None:
        """The next frames, or None. `limit`: where a living writer is. SpoolError if a segment can't be read."""
        position = self.acknowledged
        for number in segments(self.folder):
            if number < position.segment or (limit is not None and number > limit.segment):
                continue
            start = position.offset if number == position.segment else 0
            stop = limit.offset if limit is not None and number == limit.segment else None
            batch = self._read_segment(number, start, stop, max_bytes, max_count)
            if batch is not None:
                return batch
        return None

    def prepare(self) -> None:
        """Write the first mark: those after it take no more room. NoSpace: there is none for it, nor for an event."""
        try:
            self._note(self.acknowledged, durable=False)
        except OSError as error:
            raise refusal(f"{mark_path(self.folder)}: can't be written", error) from error

    def acknowledge(self, end: Position, *, durable: bool = False) -> None:
        """Remember that everything before `end` is acknowledged. SpoolError if it can't be written.

        Power loss may bring back an older mark, and events are sent twice; `durable` is for where that would be wrong.
        On a full disk it is remembered in memory: else nothing could be removed, and the disk would stay full.
        """
        try:
            self._note(end, durable=durable)
            self.is_noted = True
        except OSError as error:
            if not is_full(error):
                raise SpoolError(f"{self.folder}: what was acknowledged can't be noted: {error}") from error
            if self.is_noted:
                log.warning("%s: the disk is full: what was acknowledged can't be noted, and is not kept", self.folder)
            self.is_noted = False
            if durable:
                self._forget()
        self.acknowledged = end

    def waiting(self, limit: Position | None = None) -> int:
        """Bytes of frames not yet acknowledged."""
        total = 0
        for number in segments(self.folder):
            if number >= self.acknowledged.segment:
                size = limit.offset if limit and number == limit.segment else self._size(number)
                total += max(size - (self.acknowledged.offset if number == self.acknowledged.segment else 0), 0)
        return total

    def oldest(self) -> float | None:
        """Unix time of the last write to the oldest segment that still waits: a bound on the oldest event's age."""
        for number in segments(self.folder):
            offset = self.acknowledged.offset if number == self.acknowledged.segment else 0
            if number >= self.acknowledged.segment and self._size(number) > offset:
                with contextlib.suppress(FileNotFoundError):  # removed under us: nothing waits there any more
                    return segment_path(self.folder, number).stat().st_mtime
        return None

    def discard(self, keep_seconds: float, keep_bytes: int, *, active: int | None) -> int:
        """Remove acknowledged segments older than `keep_seconds` or beyond `keep_bytes`, oldest first; bytes kept."""
        done = [
            n for n in segments(self.folder) if n < self.acknowledged.segment or (active is None and self._is_done(n))
        ]
        kept = 0
        for number in reversed(done):
            path = segment_path(self.folder, number)
            try:
                status = path.stat()
            except FileNotFoundError:  # removed by another thread that needed the room
                continue
            is_over = time.time() - status.st_mtime > keep_seconds or kept + status.st_size > keep_bytes
            if number != active and is_over:
                path.unlink(missing_ok=True)
            else:
                kept += status.st_size
        return kept

    def _note(self, end: Position, *, durable: bool) -> None:
        data = struct.pack(">QQ", end.segment, end.offset)
        descriptor = os.open(mark_path(self.folder), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, data + struct.pack(">I", zlib.crc32(data)), 0)
            if durable:
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _forget(self) -> None:
        """Without a mark all is sent again: better than one that is too far. It needs no room."""
        try:
            mark_path(self.folder).unlink(missing_ok=True)
            sync_directory(self.folder)
        except OSError as error:
            raise SpoolError(f"{self.folder}: what was acknowledged can't be noted: {error}") from error

    def _is_done(self, number: int) -> bool:
        """An empty one is what a process leaves that is killed before its first event, or between two segments."""
        size = self._size(number)
        return size == 0 or Position(number, size) <= self.acknowledged

    def _size(self, number: int) -> int:
        try:
            return segment_path(self.folder, number).stat().st_size
        except FileNotFoundError:  # removed by another thread, or under us
            return 0

    def _read_segment(self, number: int, start: int, stop: int | None, max_bytes: int, max_count: int) -> Batch | None:
        path = segment_path(self.folder, number)
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size if stop is None else stop
                file.seek(start)
                # Two of the largest: a whole frame is seen even where damage comes before it.
                data = file.read(min(max(size - start, 0), max(max_bytes, 2 * _LARGEST)))
        except OSError as error:
            raise SpoolError(f"{path}: can't be read: {error}") from error
        if not data:
            return None
        return self._batch(number, start, data, start + len(data) >= size, max_bytes, max_count)

    def _batch(self, number: int, start: int, data: bytes, is_all: bool, max_bytes: int, max_count: int) -> Batch:
        payloads: list[bytes] = []
        end = size = 0
        for part in frames.decode(data):
            if isinstance(part, frames.Damage):
                if payloads:
                    break  # told when it comes first, once; or the rest of this frame lies beyond what was read
                # A batch of its own, so that it is acknowledged, and not counted again, whatever comes of the next.
                end = part.end if is_all or not part.torn else part.end - _LARGEST
                self._tell(number, start, end)
                break
            if payloads and (size + len(part.payload) > max_bytes or len(payloads) >= max_count):
                break
            payloads.append(part.payload)
            size += len(part.payload)
            end = part.end
        return Batch(b"".join(payloads), len(payloads), Position(number, start + end), end)

    def _tell(self, number: int, start: int, size: int) -> None:
        self.damaged_bytes += size
        message = "%s: %d bytes at %d are no whole event and are skipped"
        log.error(message, segment_path(self.folder, number), size, start)
