"""Who has to make room when more clients come than there are places.

A place costs an attacker nothing but a connection, so a place that is taken must not be kept by silence: those who have
shown least go first. Who is sent away connects again; what is not acknowledged its client still has.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Seat:
    """What one connection has shown so far. Times in seconds of one clock."""

    arrived: float
    #: It has proved the shared key.
    proved: bool = False
    #: When its last whole message had come, or the last of its events was done.
    delivered: float | None = None
    #: Events of it are on their way.
    busy: bool = False


def first_to_go(seats: Iterable[Seat], now: float, idle: float) -> Seat | None:
    """The seat that a newcomer gets; None if each is in use.

    Of those that have not proved the key, else of those that have never sent a whole message, the one that came first;
    else the one whose last message is longest ago, if that is `idle` seconds.
    """
    free = [s for s in seats if not s.busy and (s.delivered is None or now - s.delivered >= idle)]
    return min(free, key=_shown, default=None)


def _shown(seat: Seat) -> tuple[bool, bool, float]:
    if seat.delivered is None:
        return False, seat.proved, seat.arrived
    return True, seat.proved, seat.delivered
