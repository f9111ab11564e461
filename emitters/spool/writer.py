"""Appends frames to segments. An event is in the spool when `append` returns, or not at all."""

import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from auditpipe.emitters.spool import frames
from auditpipe.emitters.spool.backlog import Batch, Position, segment_path
from auditpipe.schemas.errors import SpoolError, SpoolFull

log = logging.getLogger(__name__)


class NoSpace(SpoolError):  # noqa: N818  # as in auditpipe.schemas.errors
    """The disk is full. Nothing was appended."""


class Retired(SpoolError):  # noqa: N818
    """The folder is gone, and another writer has taken over."""


Fsync = Literal["off", "interval", "always"]
SEGMENT_BYTES = 8 * 1024 * 1024
_NEARLY_FULL = 0.8
#: How much of what was appended last is kept in memory for the sender. Reading files back in Python holds the
#: interpreter's lock, and so every emit, for milliseconds; taking from a queue does not.
RECENT_BYTES = 4 * 1024 * 1024


class Writer:
    """The one writer of a folder, for all threads of its process.

    `append` writes with one write(2), so that an event survives SIGKILL of the process once it returned. `fsync`
    `interval` reaches the disk within a second of the last append, `always` before `append` returns, many threads
    sharing one fdatasync(2) (group commit).
    """

    def __init__(self, folder: Path, *, fsync: Fsync, limit_bytes: int, sync_interval: float = 1.0) -> None:
        self._folder = folder
        self._fsync = fsync
        self._limit = limit_bytes
        self._sync_interval = sync_interval
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._segment = 0
        self._size = 0
        self._descriptor = -1
        self._written = 0  # bytes appended, over all segments
        self._synced = 0
        self._last_sync = time.monotonic()
        self._acknowledged = 0
        self._count = 0  # frames appended
        self._acknowledged_count = 0
        self._warned = False
        self._closed_because = f"{folder}: this spool is closed"
        self._recent: deque[tuple[Position, bytes]] = deque()
        self._recent_bytes = 0
        self._open_next()

    @property
    def position(self) -> Position:
        """Where the next frame will begin: all before it is whole."""
        with self._lock:
            return Position(self._segment, self._size)

    def append(self, payload: bytes) -> None:
        """Append one frame. SpoolFull at the limit, SpoolError if the disk refuses; then nothing was appended."""
        frame = frames.encode(payload)
        with self._lock:
            self._check_room(len(frame))
            if self._size >= SEGMENT_BYTES:
                self._open_next()
            at = Position(self._segment, self._size)
            try:
                self._write(frame)
                self._book(at, payload, len(frame))
            except SpoolError:
                raise
            except BaseException:  # Ctrl-C or the like, before or after the write
                if os.fstat(self._descriptor).st_size == at.offset + len(frame):
                    self._book(at, payload, len(frame))
                else:
                    os.ftruncate(self._descriptor, at.offset)
                raise
            target = self._written
        if self._fsync == "always":
            self._sync_up_to(target)

    def take(self, position: Position, max_bytes: int, max_count: int) -> Batch | None:
        """The frames at `position` from memory, or None where they have left it: then they are read from disk."""
        payloads: list[bytes] = []
        size = 0
        with self._lock:
            while self._recent and self._recent[0][0] < position:
                self._forget_first()
            if not self._recent or self._recent[0][0] != position:
                return None
            while self._recent and len(payloads) < max_count and size < max_bytes:
                if self._recent[0][0].segment != position.segment:
                    break
                payloads.append(self._forget_first())
                size += len(payloads[-1])
        size += len(payloads) * frames.HEADER.size
        end = Position(position.segment, position.offset + size)
        return Batch(b"".join(payloads), len(payloads), end, size)

    def acknowledged(self, batch: Batch) -> None:
        """These frames need no room any more."""
        with self._lock:
            self._acknowledged += batch.size
            self._acknowledged_count += batch.count
            if self._warned and self._waiting < self._limit * _NEARLY_FULL / 2:
                self._warned = False

    def sync_if_due(self) -> None:
        """With `interval`: fdatasync(2) what was appended, at most once an interval. Called by the sender."""
        due = time.monotonic() - self._last_sync >= self._sync_interval
        if self._fsync == "interval" and due and self._synced < self._written:
            self.sync()

    def sync(self) -> None:
        """Bring all that was appended to the disk. SpoolError if the disk refuses."""
        self._sync_up_to(self._written)

    def close(self) -> None:
        """Sync, unless `off`, and close."""
        with self._lock:
            if self._descriptor < 0:
                return
            try:
                if self._fsync != "off" and self._synced < self._written:
                    os.fdatasync(self._descriptor)
            except OSError as error:
                raise SpoolError(f"{self._folder}: the disk refused: {error}") from error
            finally:
                os.close(self._descriptor)
                self._descriptor = -1

    def start_over(self, acknowledged: Position, note: Callable[[Position], None]) -> None:
        """Empty the segment if all of it is acknowledged, `note`ing so first: sent twice is better than never."""
        with self._lock:
            if self._descriptor >= 0 and acknowledged == Position(self._segment, self._size):
                note(Position(self._segment, 0))
                os.ftruncate(self._descriptor, 0)
                self._size = 0
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

    def retire(self, acknowledged: Position, why: str) -> list[bytes]:
        """Take nothing more, for the reason `why`, and give back what waits: from memory and the open segment."""
        with self._lock:
            if self._descriptor < 0:
                return []
            self._closed_because = why
            older = [payload for at, payload in self._recent if acknowledged <= at < Position(self._segment, 0)]
            start = acknowledged.offset if acknowledged.segment == self._segment else 0
            data = os.pread(self._descriptor, self._size - start, start)
            os.close(self._descriptor)
            self._descriptor = -1
        return older + [part.payload for part in frames.decode(data) if isinstance(part, frames.Frame)]

    def abandon(self) -> None:
        """Close without the lock: in a child after fork, where a thread of the parent may have held it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _book(self, at: Position, payload: bytes, size: int) -> None:
        """Count a frame that is in the segment; a second time changes nothing."""
        if at.offset == self._size:
            self._size += size
            self._written += size
            self._count += 1
        if not self._recent or self._recent[-1][0] < at:
            self._recent.append((at, payload))
            self._recent_bytes += len(payload)
        while self._recent_bytes > RECENT_BYTES:
            self._forget_first()

    def _forget_first(self) -> bytes:
        payload = self._recent.popleft()[1]
        self._recent_bytes -= len(payload)
        return payload

    @property
    def count(self) -> int:
        """Frames that were appended."""
        return self._count

    @property
    def waiting_count(self) -> int:
        """Frames that are not acknowledged."""
        return self._count - self._acknowledged_count

    @property
    def _waiting(self) -> int:
        return self._written - self._acknowledged

    def _check_room(self, size: int) -> None:
        if self._descriptor < 0:
            raise Retired(self._closed_because)
        waiting = self._waiting + size
        if waiting > self._limit:
            raise SpoolFull(
                f"{self._folder}: {self._waiting} bytes wait for a shipper, and the limit is {self._limit}; "
                "start the shipper, or raise spool_limit_bytes"
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
            raise _refusal(f"{segment_path(self._folder, self._segment)}: can't be written", error) from error
        if written != len(frame):  # the disk filled up in the middle: take the torn part back
            try:
                os.ftruncate(self._descriptor, self._size)
            except OSError:
                log.exception("%s: a torn frame stays; going on in a new segment", self._folder)
                self._open_next()
            raise NoSpace(
                f"{segment_path(self._folder, self._segment)}: no space: wrote {written} of {len(frame)} bytes"
            )

    def _open_next(self) -> None:
        path = segment_path(self._folder, self._segment + 1)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            if self._fsync != "off":
                if self._descriptor >= 0:
                    os.fdatasync(self._descriptor)
                sync_directory(self._folder)
        except OSError as error:
            raise _refusal(f"{path}: can't be made", error) from error
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._segment, self._size = descriptor, self._segment + 1, 0

    def _sync_up_to(self, target: int) -> None:
        with self._sync_lock:
            if self._synced >= target:  # another thread's fdatasync covered it
                return
            with self._lock:
                if self._descriptor < 0:
                    return
                written, descriptor = self._written, os.dup(self._descriptor)
            try:
                os.fdatasync(descriptor)
            except OSError as error:
                raise SpoolError(f"{self._folder}: the disk refused: {error}") from error
            finally:
                os.close(descriptor)
            self._synced, self._last_sync = written, time.monotonic()


def _refusal(what: str, error: OSError) -> SpoolError:
    kind = NoSpace if error.errno in (errno.ENOSPC, errno.EDQUOT) else SpoolError
    return kind(f"{what}: {error}")


def sync_directory(folder: Path) -> None:
    """fsync(2) a folder, so that the names in it survive power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
