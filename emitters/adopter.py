"""Sends what dead processes left in the spool: on a connection of its own, so that it never holds up our events."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from auditpipe.emitters.forward import ForwardSender
from auditpipe.emitters.options import SpoolOptions
from auditpipe.emitters.spool import folder as folders
from auditpipe.emitters.spool.backlog import Backlog
from auditpipe.emitters.spool.folder import Folder
from auditpipe.emitters.worker import Worker
from auditpipe.schemas.errors import NotAllowed, NotFinished


class Adopter:
    """Takes each folder whose owner is gone, sends what waits in it, and removes it once its time is over."""

    def __init__(self, spool: Path, connect: Callable[[], ForwardSender], options: SpoolOptions) -> None:
        self.waiting_bytes = 0
        self.damaged_bytes = 0
        self.oldest: float | None = None
        self._spool = spool
        self._connect = connect
        self._options = options
        self._passes = 0
        self._passed = threading.Condition()
        self._connection: ForwardSender | None = None
        self.worker = Worker("adopter", self._look, retry_cap=options.retry_cap)

    def drained(self, timeout: float) -> bool:
        """Wait for a look that begins from now on and leaves nothing waiting; False after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._passed:
            seen = self._passes + 1  # a look under way may have passed by what was left a moment ago
            self.worker.wake()
            while self._passes < seen or self.waiting_bytes:
                left = deadline - time.monotonic()
                if left <= 0 or not self._passed.wait(min(left, 0.2)):
                    self.worker.wake()
                    if time.monotonic() >= deadline:
                        return False
            return True

    def _look(self) -> float:
        problem: NotFinished | NotAllowed | OSError | None = None
        waiting, oldest, room = 0, None, self._options.keep_bytes
        for orphan in folders.orphans(self._spool):  # newest first: what is kept is what was acknowledged last
            with orphan:
                backlog = Backlog(orphan.path)
                kept, trouble = self._finish(orphan, backlog, room)
                problem, room = trouble or problem, room - kept
                if left := backlog.waiting():
                    waiting += left
                    oldest = min(moment for moment in (oldest, backlog.oldest(), time.time()) if moment is not None)
        with self._passed:
            self.waiting_bytes, self.oldest, self._passes = waiting, oldest, self._passes + 1
            self._passed.notify_all()
        if problem is not None:
            raise problem
        return self._options.orphan_interval

    def _finish(
        self, orphan: Folder, backlog: Backlog, room: int
    ) -> tuple[int, NotFinished | NotAllowed | OSError | None]:
        """Send what waits in one folder: (bytes that stay, what stopped it). The next is tried all the same."""
        kept = 0
        try:
            self._send(backlog)
            kept = backlog.discard(self._options.keep_seconds, room, active=None)
            if orphan.is_empty:
                orphan.remove()
        except (NotFinished, NotAllowed, OSError) as error:
            return kept, error
        finally:
            self.damaged_bytes += backlog.damaged_bytes
        return kept, None

    def make_room(self) -> None:
        """Remove all that was acknowledged, in every folder whose owner is gone. SpoolError if one can't be read."""
        for orphan in folders.orphans(self._spool):
            with orphan:
                Backlog(orphan.path).discard(-1, 0, active=None)
                if orphan.is_empty:
                    orphan.remove()

    def _send(self, backlog: Backlog) -> None:
        try:
            while not self.worker.stopping:
                batch = backlog.read(None, self._options.chunk_bytes, self._options.chunk_events)
                if batch is None:
                    return
                if batch.count:
                    self._connection = self._connection or self._connect()
                    self._connection.deliver(batch.entries, batch.count)
                backlog.acknowledge(batch.end)
        finally:
            self.disconnect()

    def disconnect(self) -> None:
        """Let go of the connection: who waits on it for an acknowledgement waits no longer."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
