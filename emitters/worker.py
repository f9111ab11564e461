"""A background thread that does one thing over and over, backs off when it fails, and can be stopped."""

import logging
import queue
import random
import time
from _thread import start_new_thread
from collections.abc import Callable
from contextlib import suppress

from auditpipe.schemas.errors import NotAllowed, NotFinished, SpoolError

log = logging.getLogger(__name__)

_FIRST_RETRY = 0.1


class Worker:
    """Calls `work` until stopped. `work` returns how many seconds to rest, during which `wake` wakes it.

    What it may fail with (OutOfReach, NotAllowed, SpoolError, OSError) is kept in `problem` and tried again after a
    jittered pause of at most `retry_cap` seconds. A daemon: the interpreter's exit does not wait for it. Its thread
    calls `at_end` last.

    Applications start and wake it from the middle of `emit`, where a signal's handler may raise: so what is shared with
    it is made in C, a SimpleQueue and a bare thread. The lock of an Event would stay taken, and `Thread.start` has one.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], float],
        *,
        retry_cap: float,
        has_work: Callable[[], bool] = lambda: False,
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.idle = False
        self.failures = 0
        self.problem: str | None = None
        self.stopping = False
        self._name = name
        self._work = work
        self._has_work = has_work
        self._retry_cap = retry_cap
        self._at_end = at_end
        self._begun = self._ended = False
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._end: queue.SimpleQueue[None] = queue.SimpleQueue()

    @property
    def is_over(self) -> bool:
        """Whether it does nothing any more, or never began."""
        return self._ended or not self._begun

    def start(self) -> None:
        """Begin; a second time changes nothing. SpoolError: the process may have no more threads just now."""
        if not self._begun:
            self._begun = True  # no call is between this and the start, and so no signal's handler
            try:
                start_new_thread(self._run, ())
            except RuntimeError as error:
                self._begun = False
                limits = "raise the limit of processes (ulimit -u, or the container's limit of pids)"
                raise SpoolError(f"no thread can be started to send what waits: {error}; {limits}") from error

    def wake(self) -> None:
        """There is work."""
        self._calls.put(None)

    def stop(self) -> None:
        """End after what is being done now: long work looks at `stopping` between its steps."""
        self.stopping = True
        self._calls.put(None)

    def join(self, timeout: float) -> bool:
        """Wait for the end, at most `timeout` seconds; whether it has come. One that never began has ended."""
        if not self.is_over:
            with suppress(queue.Empty):
                self._end.get(timeout=max(timeout, 0))
        return self.is_over

    def _run(self) -> None:
        while not self.stopping:
            try:
                pause = self._work()
            except Exception as error:  # noqa: BLE001
                # Nothing may end the thread, no bug of ours and no log that can't be written: the events would wait,
                # and nobody would hear of it. `problem` tells them.
                pause = self._retry_cap
                with suppress(Exception):
                    pause = self._failed(error)
                self._back_off(pause)
            else:
                self.failures, self.problem = 0, None
                if pause > 0:
                    self._rest(pause)
        self._ended = True
        self._end.put(None)
        self._at_end()

    def _rest(self, seconds: float) -> None:
        while not self._calls.empty():
            self._calls.get()
        self.idle = True
        if not self.stopping and not self._has_work():  # asked after `idle` is set: what comes from now on wakes us
            self._wait(seconds)
        self.idle = False

    def _back_off(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.stopping and (left := end - time.monotonic()) > 0:
            self._wait(left)

    def _wait(self, seconds: float) -> None:
        with suppress(queue.Empty):
            self._calls.get(timeout=seconds)

    def _failed(self, error: Exception) -> float:
        self.failures += 1
        self.problem = str(error)
        if not isinstance(error, (NotFinished, NotAllowed, OSError)):
            log.error("%s: a bug; it is tried again", self._name, exc_info=error)
        if self.stopping:  # its connection was closed under it: what it sent is sent again by the next process
            log.debug("%s, ended: %s", self._name, error)
        elif self.failures in (1, 10) or self.failures % 100 == 0:
            log.warning("audit events wait (%s, try %d): %s", self._name, self.failures, error)
        pause = min(self._retry_cap, _FIRST_RETRY * 2.0 ** min(self.failures, 10))
        return pause * random.uniform(0.5, 1.0)  # noqa: S311  # spread, not secrecy
