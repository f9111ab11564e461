"""The transport that applications use: a spool on disk, and threads that send it.

`sender` sends this process's events, `adopter` what dead processes left, `keeper` brings what was appended to the disk
and removes what was acknowledged long ago. None waits for another.
"""

import logging
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from auditpipe.emitters import forward
from auditpipe.emitters.adopter import Adopter
from auditpipe.emitters.options import SpoolOptions
from auditpipe.emitters.spool import folder as folders
from auditpipe.emitters.spool.backlog import Backlog
from auditpipe.emitters.spool.folder import Folder
from auditpipe.emitters.spool.refusal import NoSpace
from auditpipe.emitters.spool.writer import Retired, Writer
from auditpipe.emitters.transport import Stats
from auditpipe.emitters.waiting import came_true
from auditpipe.emitters.worker import Worker
from auditpipe.schemas import identity
from auditpipe.schemas.errors import SpoolError
from auditpipe.schemas.event import Event

log = logging.getLogger(__name__)

_IDLE_SECONDS = 0.5
_KEEP_SECONDS = 0.5
_DISCARD_EVERY = 20
_START_AGAIN_SECONDS = 1.0


class SpoolTransport:
    """Appends to this process's folder of the spool; its threads send, and adopt what dead processes left.

    When `append` has returned, the event survives SIGKILL of the process as long as the spool's folder survives; with
    `fsync` `interval` (1 s) or `always`, power loss too. It is forgotten only after the shipper's acknowledgement.
    """

    def __init__(
        self,
        spool: Path,
        host: str,
        port: int,
        *,
        options: SpoolOptions,
        ca_file: str | None = None,
        shared_key: str | None = None,
    ) -> None:
        if ca_file is not None:
            forward.check_ca_file(ca_file)
        self.spool = spool
        self.options = options
        self._connect = partial(
            forward.ForwardSender,
            host,
            port,
            timeout=options.acknowledge_timeout,
            ca_file=ca_file,
            shared_key=shared_key,
        )
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._folder: Folder | None = None
        self._writer: Writer | None = None
        self._backlog: Backlog | None = None
        self._connection: forward.ForwardSender | None = None
        self._counting = threading.Lock()
        self._closed = self._ends = False
        self._acknowledged = 0
        self._gone = 0  # lost by damage of the disk, or with a folder that was removed
        self._rounds = 0
        self._started = False
        self._start_at = 0.0
        self._unstarted: str | None = None
        self._homeless: str | None = None
        self._sending = threading.Lock()  # taken before _lock
        cap = self.options.retry_cap
        self._sender = Worker(
            "sender", self._send, retry_cap=cap, has_work=lambda: self._spooled > 0, at_end=self._let_go
        )
        self._keeper = Worker("keeper", self._keep, retry_cap=cap, at_end=self._let_go)
        self._adopter = Adopter(self.spool, self._connect, self.options)

    @property
    def _workers(self) -> tuple[Worker, ...]:
        """What the disk refuses comes first: an event that is not sent is safe, one that is not synced may be not."""
        return self._keeper, self._sender, self._adopter.worker

    def append(self, event: Event, document: dict[str, Any], moment: int) -> int:
        """Put one event into the spool and wake the sender. SpoolError: it is not there."""
        payload = forward.entry(moment, document)
        if self._homeless is not None:
            raise SpoolError(self._homeless)
        try:
            ticket = (self._writer or self._open()).append(payload)
        except NoSpace:
            self._make_room()
            ticket = self._open().append(payload)
        except Retired:
            ticket = self._open().append(payload)  # waits for the folder that takes over
        if not self._started:
            self._start()
        elif self._sender.idle:
            self._sender.wake()
        return ticket

    def settle(self, ticket: int) -> None:
        """With `fsync` `always`: return when the event is on the disk. SpoolError: the disk refused.

        So it is with `interval` while there is no thread that would do it.
        """
        writer = self._writer
        if writer is not None and (self.options.fsync == "always" or not self._started):
            writer.sync(ticket)

    def flush(self, timeout: float) -> bool:
        """Wait until all that was appended here before is acknowledged, at most `timeout` seconds."""
        self._start(at_once=True)
        with self._counting:
            target = self._acknowledged + self._gone + self._spooled
        return came_true(lambda: self._acknowledged + self._gone >= target, timeout)

    def drain(self, timeout: float) -> bool:
        """Wait until nothing of dead processes is left in the spool, at most `timeout` seconds."""
        if self._writer is None:
            self._open()
        self._start(at_once=True)
        return self._adopter.drained(timeout)

    def stats(self) -> Stats:
        """What is where; `refused` is the AuditLog's to fill."""
        self._start()
        writer, backlog, adopter = self._writer, self._backlog, self._adopter
        own_oldest = backlog.oldest() if backlog and self._spooled else None
        oldest = [moment for moment in (adopter.oldest, own_oldest) if moment is not None]
        own_bytes = writer.waiting_bytes if writer else 0
        return Stats(
            spooled=self._spooled,
            acknowledged=self._acknowledged,
            oldest=max(time.time() - min(oldest), 0.0) if oldest else None,
            waiting_bytes=adopter.waiting_bytes + own_bytes,
            damaged_bytes=adopter.damaged_bytes + (backlog.damaged_bytes if backlog else 0),
            problem=self._homeless or self._unstarted or next(filter(None, (w.problem for w in self._workers)), None),
            limit_bytes=self.options.limit_bytes,
            state="full" if self._homeless else writer.state if writer else "ok",
        )

    def close(self, timeout: float) -> None:
        """Send what there is for at most `timeout` seconds, stop, and leave the rest for the next process."""
        self._start(at_once=True)
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._writer is None or self._folder is None:
            return
        deadline = time.monotonic() + timeout
        while not self.flush(min(0.2, timeout)) and time.monotonic() < deadline:
            if self._sender.failures or not self._started:  # waiting changes nothing: the events are safe
                break
        for worker in self._workers:
            worker.stop()
        # A thread that waits for an acknowledgement would hold the folder's lock.
        self._adopter.disconnect()
        self._disconnect()
        for worker in (self._sender, self._keeper):
            worker.join(max(deadline - time.monotonic(), 0.5))
        try:
            self._writer.close()
        finally:
            self._ends = True
            self._let_go()

    def _let_go(self) -> None:
        """Release the folder once `close` and both threads that use it are done: one may still be connecting."""
        with self._lock:
            if self._ends and self._folder is not None and self._sender.is_over and self._keeper.is_over:
                self._folder.release()

    def after_fork(self) -> None:
        """A child has its own folder: the parent's descriptors are closed, its threads do not exist here."""
        if self._writer is not None:
            self._writer.abandon()
        if self._folder is not None:
            self._folder.forget()  # the parent's own descriptor keeps the lock (flock(2))
        self._adopter.after_fork()
        self._reset()

    @property
    def _spooled(self) -> int:
        writer = self._writer
        return writer.waiting_count if writer is not None else 0

    def _open(self) -> Writer:
        with self._lock:
            if self._closed:
                raise SpoolError(f"{self.spool}: this AuditLog is closed")
            if self._writer is None:
                self._folder, self._backlog, self._writer = self._make_folder()
            return self._writer

    def _start(self, *, at_once: bool = False) -> None:
        """Start the threads, the first event is in the spool by then. Where no thread can be had it is tried again."""
        if self._started or self._writer is None or (not at_once and time.monotonic() < self._start_at):
            return
        if self._lock.locked():  # a signal's handler must not wait for what it has interrupted
            return
        with self._lock:
            if not self._started and not self._closed:
                self._start_workers()

    def _start_workers(self) -> None:
        try:
            for worker in self._workers:
                worker.start()
        except SpoolError as error:
            self._start_at = time.monotonic() + _START_AGAIN_SECONDS
            if self._unstarted is None:
                log.warning("audit events wait: %s", error)
            self._unstarted = str(error)
        else:
            self._started, self._unstarted = True, None

    def _make_folder(self) -> tuple[Folder, Backlog, Writer]:
        is_durable = self.options.fsync != "off"
        folder = folders.create(self.spool, identity.new_event_id(time.time_ns()), durable=is_durable)
        with folders.undone_on_failure(folder):
            backlog = Backlog(folder.path)
            backlog.prepare()
            return folder, backlog, Writer(folder.path, fsync=self.options.fsync, limit_bytes=self.options.limit_bytes)

    def _make_room(self) -> None:
        """The disk is full: what was acknowledged is kept no longer, whoever emitted it."""
        writer, backlog = self._writer, self._backlog
        log.warning("%s: the disk is full; events that were acknowledged are removed", self.spool)
        if writer is not None and backlog is not None:
            _give_up_kept(writer, backlog)
        self._adopter.make_room()

    def _move(self) -> None:
        """The folder was removed under us: make another, and put into it what still waits."""
        self._disconnect()  # else it is as late as the acknowledgement that the sender waits for
        with self._sending, self._lock:
            writer, folder, backlog = self._writer, self._folder, self._backlog
            if writer is None or folder is None or backlog is None or self._closed or not writer.has_vanished():
                return
            why = f"{folder.path} was removed while its process was running"
            try:
                made = self._make_folder()
                with folders.undone_on_failure(made[0]):
                    moved = writer.hand_over(backlog.acknowledged, why, made[2])
            except Exception as error:
                self._homeless = f"{why}, and no other can take over: {error}"
                raise
            gone = writer.waiting_count - moved
            with self._counting:
                self._gone += gone
                self._folder, self._backlog, self._writer = made
            self._homeless = None
            folder.release()
            log.error("%s; %d events go on in another folder, %d are gone", why, moved, gone)

    def _send(self) -> float:
        """One chunk of ours; the sender's rest after it in seconds."""
        with self._sending:
            return self._send_chunk()

    def _send_chunk(self) -> float:
        backlog, writer = self._backlog, self._writer
        if backlog is None or writer is None or self._spooled == 0:
            return _IDLE_SECONDS
        size, count = self.options.chunk_bytes, self.options.chunk_events
        batch = writer.take(backlog.acknowledged, size, count) or backlog.read(writer.position, size, count)
        if batch is None:
            with self._counting:  # damage has swallowed them: nobody waits for them any more
                self._gone += writer.write_off(backlog.acknowledged)
            return _IDLE_SECONDS
        if batch.count:
            self._connection = self._connection or self._connect()
            self._connection.deliver(batch.entries, batch.count)
        backlog.acknowledge(batch.end)
        with self._counting:
            writer.acknowledged(batch)
            self._acknowledged += batch.count
        if not backlog.is_noted:  # the disk is full
            _give_up_kept(writer, backlog)
        if self._spooled < count:
            time.sleep(self.options.linger)  # events that come together go together
        return 0.0

    def _disconnect(self) -> None:
        """Who waits for an acknowledgement waits no longer: what it is for is sent again."""
        if self._connection is not None:
            self._connection.disconnect()

    def _keep(self) -> float:
        """Sync what is due and now and then remove old segments; the keeper's rest in seconds."""
        if self._writer is not None and self._writer.has_vanished():
            try:
                self._move()
            except NoSpace:
                self._adopter.make_room()
                raise
        if self._writer is not None and self._backlog is not None:
            self._writer.sync_if_due()
            if self._rounds % _DISCARD_EVERY == 0:
                active = self._writer.position.segment
                self._backlog.discard(self.options.keep_seconds, self.options.keep_bytes, active=active)
            self._rounds += 1
        return _KEEP_SECONDS


def _give_up_kept(writer: Writer, backlog: Backlog) -> None:
    """Remove what is acknowledged, the segment that is open too if all of it is."""
    backlog.discard(-1, 0, active=writer.position.segment)
    # With an older mark what comes next would look acknowledged.
    writer.start_over(lambda: backlog.acknowledged, partial(backlog.acknowledge, durable=True))
