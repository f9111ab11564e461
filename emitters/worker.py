"""A background thread that does one thing over and over, backs off when it fails, and can be stopped."""

import logging
import random
import threading
from collections.abc import Callable

from auditpipe.schemas.errors import NotAllowed, NotFinished, SpoolError

log = logging.getLogger(__name__)

_FIRST_RETRY = 0.1


class Worker:
    """Calls `work` until stopped. `work` returns how many seconds to rest, during which `wake` wakes it.

    What it may fail with (OutOfReach, NotAllowed, SpoolError, OSError) is kept in `problem` and tried again after a
    jittered pause of at most `retry_cap` seconds. A daemon: the interpreter's exit does not wait for it.
    """

    def __init__(
        self, name: str, work: Callable[[], float], *, retry_cap: float, has_work: Callable[[], bool] = lambda: False
    ) -> None:
        self.idle = False
        self.failures = 0
        self.problem: str | None = None
        self._name = name
        self._work = work
        self._has_work = has_work
        self._retry_cap = retry_cap
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"auditpipe-{name}", daemon=True)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called: long work looks at it between its steps."""
        return self._stopped.is_set()

    def start(self) -> None:
        """Begin; a second time changes nothing. SpoolError: the process may have no more threads just now."""
        if self._thread.ident is None:
            try:
                self._thread.start()
            except RuntimeError as error:
                limits = "raise the limit of processes (ulimit -u, or the container's limit of pids)"
                raise SpoolError(f"no thread can be started to send what waits: {error}; {limits}") from error

    def wake(self) -> None:
        """There is work."""
        self._woken.set()

    def stop(self) -> None:
        """End after what is being done now."""
        self._stopped.set()
        self._woken.set()

    def join(self, timeout: float) -> bool:
        """Wait for the end, at most `timeout` seconds; whether it has come. One that never began has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self.stopping:
            try:
                pause = self._work()
            except (NotFinished, NotAllowed, OSError) as error:
                self._stopped.wait(self._failed(error))
                continue
            except Exception as error:
                # A bug of ours must not end the thread: the events would wait and nobody would hear of it.
                log.exception("%s: a bug; it is tried again", self._name)
                self._stopped.wait(self._failed(error))
                continue
            self.failures, self.problem = 0, None
            if pause > 0:
                self._rest(pause)

    def _rest(self, seconds: float) -> None:
        self._woken.clear()
        self.idle = True
        if not self._has_work():  # asked after `idle` is set: what comes from now on wakes us
            self._woken.wait(seconds)
        self.idle = False

    def _failed(self, error: Exception) -> float:
        self.failures += 1
        self.problem = str(error)
        if self.stopping:  # its connection was closed under it: what it sent is sent again by the next process
            log.debug("%s, ended: %s", self._name, error)
        elif self.failures in (1, 10) or self.failures % 100 == 0:
            log.warning("audit events wait (%s, try %d): %s", self._name, self.failures, error)
        pause = min(self._retry_cap, _FIRST_RETRY * 2.0 ** min(self.failures, 10))
        return pause * random.uniform(0.5, 1.0)  # noqa: S311  # spread, not secrecy
