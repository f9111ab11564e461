"""Appends frames to segments. An event is in the spool when `append` returns, or not at all."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from auditpipe.emitters.spool import frames
from auditpipe.emitters.spool.backlog import Batch, Position, segment_path
from auditpipe.emitters.spool.refusal import NoSpace, refusal
from auditpipe.emitters.transport import State
from auditpipe.schemas.durable import sync_directory
from auditpipe.schemas.errors import SpoolError, SpoolFull

log = logging.getLogger(__name__)


class Retired(SpoolError):  # noqa: N818  # as in auditpipe.schemas.errors
    """The folder is gone, and another writer has taken over."""


Fsync = Literal["off", "interval", "always"]
SEGMENT_BYTES = 8 * 1024 * 1024
_NEARLY_FULL = 0.8
#: How much of what was appended last is kept in memory for the sender. Reading files back in Python holds the
#: interpreter's lock, and so every emit, for milliseconds; taking from a queue does not.
RECENT_BYTES = 4 * 1024 * 1024


class Writer:
    """The one writer of a folder, for all threads of its process.

    `append` writes with one write(2), so that an event survives SIGKILL of the process once it returned. Power loss is
    `sync`'s: with `fsync` `interval` the sender calls it, within a second of the last append; with `always` whoever
    appended does, outside of every lock, so that many threads share one fdatasync(2) (group commit).
    """

    def __init__(self, folder: Path, *, fsync: Fsync, limit_bytes: int, sync_interval: float = 1.0) -> None:
        self._folder = folder
        self._fsync = fsync
        self._limit = limit_bytes
        self._sync_interval = sync_interval
        self._lock = threading.Lock()
        self._sync_turn = threading.Lock()
        self._segment = 0
        self._size = 0
        self._descriptor = -1
        self._written = 0  # bytes appended, over all segments
        self._synced = 0
        self._unsure: tuple[int, int] | None = None  # the tickets, above the first, that the disk has refused
        self._torn = False  # the open segment has a part of a frame at its end, and takes no more
        self._last_sync = time.monotonic()
        self._acknowledged = 0
        self._waiting_count = 0
        self._warned = False
        self._refuses = False
        self._closed_because = f"{folder}: this spool is closed"
        self._recent: deque[tuple[Position, bytes]] = deque()
        self._recent_bytes = 0
        self._open_next()

    @property
    def position(self) -> Position:
        """Where the next frame will begin: all before it is whole."""
        with self._lock:
            return Position(self._segment, self._size)

    def append(self, payload: bytes) -> int:
        """Append one frame; returns a ticket for `sync`.

        SpoolFull at the limit, SpoolError if the disk refuses; then nothing was appended.
        """
        frame = frames.encode(payload)
        with self._lock:
            try:
                self._check_room(len(frame))
                if self._size >= SEGMENT_BYTES or self._torn:
                    self._open_next()
                self._write(frame)
                self._remember(payload)
                self._count(len(frame))
            except SpoolError:
                self._refuses = True
                raise
            except BaseException:  # what a signal's handler raises, in the middle of it
                self._catch_up()
                raise
            self._refuses = False
            return self._written

    def take(self, position: Position, max_bytes: int, max_count: int) -> Batch | None:
        """The frames at `position` from memory, or None where they have left it: then they are read from disk."""
        payloads: list[bytes] = []
        end = position
        size = 0
        with self._lock:
            while self._recent and self._recent[0][0] < position:
                self._forget_first()
            # An interrupted `append` leaves a gap in memory, a new segment begins anew: then the disk is read.
            while self._recent and self._recent[0][0] == end and len(payloads) < max_count and size < max_bytes:
                payloads.append(self._forget_first())
                size += len(payloads[-1])
                end = Position(end.segment, end.offset + frames.HEADER.size + len(payloads[-1]))
        return Batch(b"".join(payloads), len(payloads), end, end.offset - position.offset) if payloads else None

    def acknowledged(self, batch: Batch) -> None:
        """These frames need no room any more."""
        with self._lock:
            self._acknowledged += batch.size
            self._waiting_count -= batch.count
            self._refuses = False
            if self._warned and self.waiting_bytes < self._limit * _NEARLY_FULL / 2:
                self._warned = False

    def write_off(self, acknowledged: Position) -> int:
        """How many events damage has swallowed: none waits any more, and they were not acknowledged. Told once."""
        with self._lock:
            if acknowledged != Position(self._segment, self._size):
                return 0
            gone, self._waiting_count = self._waiting_count, 0
            self._acknowledged = self._written  # a segment that is missing needs no room either
            return gone

    def sync_if_due(self) -> None:
        """With `interval`: fdatasync(2) what was appended, at most once an interval. Called by the sender."""
        due = time.monotonic() - self._last_sync >= self._sync_interval
        if self._fsync == "interval" and due and self._synced < self._written:
            self.sync()

    def sync(self, ticket: int | None = None) -> None:
        """Bring what was appended up to this ticket, or all of it, to the disk. SpoolError: the disk refused.

        Nothing with `fsync` `off`.
        """
        if self._fsync != "off":
            self._sync_up_to(self._written if ticket is None else ticket)

    def close(self) -> None:
        """Sync, unless `off`, and close."""
        with self._lock:
            if self._descriptor < 0:
                return
            try:
                if self._fsync != "off" and self._synced < self._written:
                    self._sync_pages(self._descriptor, self._written)
            except OSError as error:
                raise SpoolError(f"{self._folder}: the disk refused: {error}") from error
            finally:
                os.close(self._descriptor)
                self._descriptor = -1

    def start_over(self, acknowledged: Callable[[], Position], note: Callable[[Position], None]) -> None:
        """Empty the segment if all of it is acknowledged, `note`ing so first: sent twice is better than never."""
        with self._lock:  # asked under the lock: what another thread emptied may have grown to the same size again
            if self._descriptor >= 0 and acknowledged() == Position(self._segment, self._size):
                note(Position(self._segment, 0))
                os.ftruncate(self._descriptor, 0)
                self._size, self._torn = 0, False
                self._recent.clear()  # what was sent from disk may still be here, at places that are written again
                self._recent_bytes = 0

    def has_vanished(self) -> bool:
        """Whether the segment is no longer there under its name: what is appended would be seen by nobody."""
        try:
            there = segment_path(self._folder, self._segment).stat()
        except OSError:
            return self._descriptor >= 0
        ours = os.fstat(self._descriptor) if self._descriptor >= 0 else there
        return (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev)

    def hand_over(self, acknowledged: Position, why: str, successor: "Writer") -> int:
        """Bring what waits into the successor, then take nothing more, for the reason `why`; how many events that were.

        What waits is in memory and in the open segment. Where the successor fails, this one goes on as it was.
        """
        with self._lock:
            if self._descriptor < 0:
                return 0
            waiting = self._waiting(acknowledged)
            successor.take_over(waiting)
            self._closed_because = why
            os.close(self._descriptor)
            self._descriptor = -1
        return len(waiting)

    def take_over(self, payloads: Iterable[bytes]) -> None:
        """Append and sync what another writer leaves. A failure closes this one: nothing of it counts."""
        try:
            for payload in payloads:
                self.append(payload)
            self.sync()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Close without the lock: in a child after fork, where a thread of the parent may have held it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _waiting(self, acknowledged: Position) -> list[bytes]:
        older = [payload for at, payload in self._recent if acknowledged <= at < Position(self._segment, 0)]
        start = acknowledged.offset if acknowledged.segment == self._segment else 0
        data = os.pread(self._descriptor, self._size - start, start)
        return older + [part.payload for part in frames.decode(data) if isinstance(part, frames.Frame)]

    def _count(self, size: int) -> None:
        # No call is between these three, and so no signal's handler.
        self._size, self._written, self._waiting_count = (
            self._size + size,
            self._written + size,
            self._waiting_count + 1,
        )

    def _catch_up(self) -> None:
        """Count a frame that is in the file, and that an interrupted `append` did not count."""
        if self._descriptor >= 0 and not self._torn:
            grown = os.fstat(self._descriptor).st_size - self._size
            if grown > 0:
                self._count(grown)

    def _remember(self, payload: bytes) -> None:
        self._recent.append((Position(self._segment, self._size), payload))
        self._recent_bytes += len(payload)
        while self._recent_bytes > RECENT_BYTES:
            self._forget_first()

    def _forget_first(self) -> bytes:
        payload = self._recent.popleft()[1]
        self._recent_bytes -= len(payload)
        return payload

    @property
    def waiting_count(self) -> int:
        """Frames that are not acknowledged."""
        return self._waiting_count

    @property
    def waiting_bytes(self) -> int:
        """Bytes of frames that are not acknowledged."""
        return max(self._written - self._acknowledged, 0)  # what is passed by in damage was not all appended

    @property
    def state(self) -> State:
        """`full`: the last event was refused, and nothing was acknowledged since. `nearly_full`: over 80 %."""
        if self._refuses:
            return "full"
        return "nearly_full" if self.waiting_bytes > self._limit * _NEARLY_FULL else "ok"

    def _check_room(self, size: int) -> None:
        if self._descriptor < 0:
            raise Retired(self._closed_because)
        waiting = self.waiting_bytes + size
        if waiting > self._limit:
            raise SpoolFull(
                f"{self._folder}: {self.waiting_bytes} bytes wait for a shipper, and the limit is {self._limit}; "
                "start the shipper, or raise the limit: AuditLog(spool=SpoolOptions(limit_bytes=...))"
            )
        if waiting > self._limit * _NEARLY_FULL and not self._warned:
            self._warned = True
            log.warning(
                "%s: %d of %d bytes wait for a shipper; emit fails at the limit", self._folder, waiting, self._limit
            )

    def _write(self, frame: bytes) -> None:
        try:
            written = os.write(self._descriptor, frame)
        except OSError as error:
            self._take_back()
            raise refusal(f"{segment_path(self._folder, self._segment)}: can't be written", error) from error
        if written != len(frame):  # the disk filled up in the middle
            self._take_back()
            raise NoSpace(
                f"{segment_path(self._folder, self._segment)}: no space: wrote {written} of {len(frame)} bytes"
            )

    def _take_back(self) -> None:
        """Remove what is there of a frame that was refused: behind it no other would be where it is counted."""
        self._torn = True
        try:
            if os.fstat(self._descriptor).st_size > self._size:
                os.ftruncate(self._descriptor, self._size)
        except OSError as error:
            log.error("%s: a torn frame stays, and a new segment is begun: %s", self._folder, error)
        else:
            self._torn = False

    def _open_next(self) -> None:
        number = self._segment + 1
        while (path := segment_path(self._folder, number)).exists():
            number += 1  # an interrupted call has made it
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise refusal(f"{path}: can't be made", error) from error
        try:
            if self._fsync != "off":
                if self._descriptor >= 0:
                    self._sync_pages(self._descriptor, self._written)
                sync_directory(self._folder)
        except OSError as error:
            os.close(descriptor)
            path.unlink(missing_ok=True)  # it is made again when the disk is well
            raise refusal(f"{path}: the disk refused", error) from error
        previous, self._descriptor, self._segment, self._size = self._descriptor, descriptor, number, 0
        self._torn = False
        if previous >= 0:
            os.close(previous)

    def _sync_up_to(self, target: int) -> None:
        # A lock alone, and none in Python: a Condition that a signal's handler leaves in the middle stays locked.
        with self._sync_turn:
            self._raise_if_refused(target)
            if self._synced < target:  # else another thread's fdatasync has covered it
                self._fdatasync()

    def _fdatasync(self) -> None:
        with self._lock:
            written = self._written
            if self._descriptor < 0:  # what closed it has synced it, or was refused
                self._raise_if_refused(written)
                return
            try:
                descriptor = os.dup(self._descriptor)  # it may be closed meanwhile
            except OSError as error:
                raise SpoolError(f"{self._folder}: can't be synced: {error}") from error
        try:
            self._sync_pages(descriptor, written)
        except OSError as error:
            raise SpoolError(f"{self._folder}: the disk refused: {error}") from error
        finally:
            os.close(descriptor)
        self._synced, self._last_sync = written, time.monotonic()

    def _sync_pages(self, descriptor: int, written: int) -> None:
        """fdatasync(2). Linux tells an error once: a second one would succeed without our pages, and so it is kept."""
        try:
            os.fdatasync(descriptor)
        except OSError:
            self._unsure = (self._unsure[0] if self._unsure else self._synced, written)
            raise

    def _raise_if_refused(self, target: int) -> None:
        if self._unsure and self._unsure[0] < target <= self._unsure[1]:
            raise SpoolError(f"{self._folder}: the disk refused what was written here")
