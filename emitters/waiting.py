"""Waiting in an application's thread."""

import time
from collections.abc import Callable

_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02


def came_true(condition: Callable[[], bool], timeout: float) -> bool:
    """Whether it did within `timeout` seconds. It is asked less and less often.

    Asked, and not waited for on a Condition: a signal's handler that raises in the middle of one leaves its lock taken,
    and the thread that is waited for would hang.
    """
    end, pause = time.monotonic() + timeout, _FIRST_PAUSE
    while not condition():
        left = end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)
    return True
