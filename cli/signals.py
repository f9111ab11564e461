"""Commands that go on until they are told to stop."""

import signal
from threading import Event as Stop
from types import FrameType


def stop_on_signals() -> Stop:
    """Set when SIGTERM or SIGINT comes."""
    stop = Stop()

    def set_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, set_stop)
    return stop
