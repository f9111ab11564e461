"""How often somebody may try to sign in and fail."""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection

#: So many failures of one address, or for one name, in so many seconds; then wait until the first is as old.
FAILURES = 10
WINDOW_S = 300.0
_MOST_KEYS = 10_000


class Throttle:
    """Counts failures by key (an address, a name). Safe for threads; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def enter(self, keys: Collection[str]) -> float:
        """Seconds until the next try is taken; 0 where it is taken now.

        It counts as a failure until it is taken back, so that tries side by side are no more than one after the other.
        """
        now = self._clock()
        with self._lock:
            times = [self._failed[key] for key in keys if key in self._failed]
            if wait := max((_wait(failed, now) for failed in times), default=0.0):
                return wait
            if len(self._failed) > _MOST_KEYS:
                self._failed = {key: times for key, times in self._failed.items() if times[-1] > now - WINDOW_S}
            for key in keys:
                self._failed.setdefault(key, deque(maxlen=FAILURES)).append(now)
            return 0.0

    def take_back(self, keys: Collection[str]) -> None:
        """What `enter` counted was no failure."""
        with self._lock:
            for key in keys:
                if failed := self._failed.get(key):
                    failed.pop()
                if not failed:
                    self._failed.pop(key, None)


def _wait(failed: deque[float], now: float) -> float:
    return max(0.0, failed[0] + WINDOW_S - now) if len(failed) == FAILURES else 0.0
