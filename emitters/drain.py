"""Sends what dead processes left, from a process that emits nothing itself."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from auditpipe.emitters.adopter import Adopter
from auditpipe.emitters.spool.summary import Summary, unsent

_STEP_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Outcome:
    """Events that were sent and acknowledged; the folders in which events are left, and why they are."""

    sent: int
    left: list[Summary]
    problem: str | None
    damaged_bytes: int


def drain(adopter: Adopter, timeout: float, progress: Callable[[int], object] = lambda _sent: None) -> Outcome:
    """Send until nothing is left, for at most `timeout` seconds; `progress` hears how many events were sent.

    Waits also for what another process is sending. Starts the adopter and stops it.
    """
    deadline = time.monotonic() + timeout
    adopter.worker.start()
    try:
        while True:
            is_drained = adopter.drained(deadline - time.monotonic(), progress)
            left = unsent(adopter.spool) if is_drained else []
            if is_drained and not left:
                return Outcome(adopter.sent, [], None, adopter.damaged_bytes)
            if time.monotonic() >= deadline:
                break
            if is_drained:
                time.sleep(_STEP_SECONDS)  # another process has the rest
    finally:
        adopter.stop()
    problem = adopter.worker.problem or "another process is sending it, or there was no time to try"
    return Outcome(adopter.sent, unsent(adopter.spool), problem, adopter.damaged_bytes)
