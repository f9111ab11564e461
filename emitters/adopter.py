"""Sends what dead processes left in the spool: on a connection of its own, so that it never holds up our events."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from auditpipe.emitters.forward import ForwardSender
from auditpipe.emitters.options import SpoolOptions
from auditpipe.emitters.spool import folder as folders
from auditpipe.emitters.spool.backlog import Backlog
from auditpipe.emitters.spool.folder import Folder
from auditpipe.emitters.waiting import came_true
from auditpipe.emitters.worker import Worker
from auditpipe.schemas.errors import NotAllowed, NotFinished, SpoolError

log = logging.getLogger(__name__)

#: What a folder counts for at least: a look takes 0.3 ms for each, and a script leaves one with each `auditpipe emit`.
_FOLDER_BYTES = 256 * 1024

Trouble = NotFinished | NotAllowed | OSError


class _Left(NamedTuple):
    """What waits in a folder: bytes, and since when in Unix time."""

    bytes: int = 0
    since: float | None = None


class Adopter:
    """Takes each folder whose owner is gone, sends what waits in it, and removes it once its time is over.

    `sent`: events that a shipper has acknowledged here, so far.
    """

    def __init__(self, spool: Path, connect: Callable[[], ForwardSender], options: SpoolOptions) -> None:
        self.sent = 0
        self.waiting_bytes = 0
        self.damaged_bytes = 0
        self.oldest: float | None = None
        self.spool = spool
        self._connect = connect
        self._options = options
        self._begun = self._passed = 0  # looks
        self._trouble: Trouble | None = None
        self._adopted: Folder | None = None
        self._connection: ForwardSender | None = None
        self.worker = Worker("adopter", self._look, retry_cap=options.retry_cap)

    def drained(self, timeout: float, progress: Callable[[int], object] = lambda _sent: None) -> bool:
        """Wait for a look that begins from now on and leaves nothing waiting; False after `timeout` seconds.

        `progress` hears meanwhile how many events were sent. A folder that another process is sending just now is not
        looked at.
        """
        under_way = self._begun  # it may have passed by what was left a moment ago

        def is_drained() -> bool:
            progress(self.sent)
            if self._passed > under_way and not self.waiting_bytes and not self._trouble:
                return True
            if self.worker.idle:
                self.worker.wake()
            return False

        return came_true(is_drained, timeout)

    def _look(self) -> float:
        self._begun += 1
        trouble: Trouble | None = None
        waiting, oldest, room = 0, None, self._options.keep_bytes
        try:
            # Oldest first: where processes come and go, what has waited longest would else wait for ever.
            for orphan in folders.orphans(self.spool, waiting=True):
                self._adopted = orphan
                with orphan:
                    trouble = self._finish(orphan) or trouble
            for orphan in folders.orphans(self.spool):  # newest first: what is kept is what was acknowledged last
                self._adopted = orphan
                with orphan:
                    left, kept, problem = self._clear(orphan, room)
                trouble, room, waiting = problem or trouble, room - kept, waiting + left.bytes
                oldest = min((moment for moment in (oldest, left.since) if moment is not None), default=None)
        except SpoolError as error:
            trouble = trouble or error
        self.waiting_bytes, self.oldest, self._trouble = waiting, oldest, trouble
        self._passed = self._begun
        if trouble is not None:
            raise trouble
        return self._options.orphan_interval

    def _finish(self, orphan: Folder) -> Trouble | None:
        """Send what waits in one folder; what stopped it. The next is tried all the same."""
        try:
            backlog = Backlog(orphan.path)
        except SpoolError as error:
            return error
        try:
            self._send(backlog)
        except (NotFinished, NotAllowed, OSError) as error:
            return error
        finally:
            self.damaged_bytes += backlog.damaged_bytes
        return None

    def _clear(self, orphan: Folder, room: int) -> tuple[_Left, int, Trouble | None]:
        """Remove what was acknowledged and is not to be kept: (what still waits, bytes that stay, what stopped it)."""
        try:
            backlog = Backlog(orphan.path)
        except SpoolError as error:
            return _Left(), 0, error
        kept = 0
        trouble: Trouble | None = None
        try:
            kept = backlog.discard(self._options.keep_seconds, room, active=None)
            if orphan.is_empty:
                orphan.remove()
            else:
                kept = max(kept, _FOLDER_BYTES)
        except (NotFinished, OSError) as error:
            trouble = error
        return _left(backlog), kept, trouble

    def stop(self, timeout: float = 5.0) -> None:
        """Send no more, and let go of the folder that is being sent, which takes at most `timeout` seconds."""
        self.worker.stop()
        self.disconnect()  # else it might wait for an acknowledgement
        self.worker.join(timeout)

    def after_fork(self) -> None:
        """In a child: the folder that the parent is just sending stays the parent's."""
        if self._adopted is not None:
            self._adopted.forget()

    def make_room(self) -> None:
        """Remove all that was acknowledged, in every folder whose owner is gone and that can be read."""
        try:
            for orphan in folders.orphans(self.spool):
                with orphan:
                    _make_room(orphan)
        except SpoolError as error:
            log.warning("%s", error)

    def _send(self, backlog: Backlog) -> None:
        before = self.sent
        try:
            while not self.worker.stopping:
                batch = backlog.read(None, self._options.chunk_bytes, self._options.chunk_events)
                if batch is None:
                    return
                if batch.count:
                    self._connection = self._connection or self._connect()
                    self._connection.deliver(batch.entries, batch.count)
                backlog.acknowledge(batch.end)
                self.sent += batch.count
                if not backlog.is_noted:  # the disk is full, and the next look would send it all again
                    backlog.discard(-1, 0, active=None)
        finally:
            if self.sent > before:
                log.info("%s: %d events that its process left are sent", backlog.folder, self.sent - before)
            self.disconnect()

    def disconnect(self) -> None:
        """Let go of the connection: who waits on it for an acknowledgement waits no longer."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


def _make_room(orphan: Folder) -> None:
    try:
        Backlog(orphan.path).discard(-1, 0, active=None)
        if orphan.is_empty:
            orphan.remove()
    except (SpoolError, OSError) as error:
        log.warning("%s: no room can be made: %s", orphan.path, error)


def _left(backlog: Backlog) -> _Left:
    try:
        waiting = backlog.waiting()
        return _Left(waiting, (backlog.oldest() or time.time()) if waiting else None)
    except OSError:  # what stopped the sending says so too
        return _Left()
