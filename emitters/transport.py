"""The seam between an `AuditLog` and where its events go."""

from dataclasses import dataclass
from typing import Literal, Protocol

from auditpipe.schemas.event import Event

State = Literal["ok", "nearly_full", "full"]


@dataclass(frozen=True, slots=True)
class Stats:
    """Where the events of an `AuditLog` are.

    `spooled`: events emitted here and not yet acknowledged. `acknowledged`: events of this process that a shipper has
    acknowledged. `oldest`: seconds that the oldest event on this machine's spool has waited at most, or None.
    `refused`: events that emit did not take. `waiting_bytes`: of this process and of those it found. `damaged_bytes`:
    bytes found in the spool that are no event, an append that a kill cut short among them. `problem`: what the disk
    refuses, or why nothing is being sent just now, or None.
    `limit_bytes`: how much of this process's may wait, None for a transport without a limit. `state`: `nearly_full`
    when over 80 % of that wait, `full` when the last event was refused for want of room, or by the disk, and nothing
    was acknowledged since; else `ok`.
    """

    spooled: int = 0
    acknowledged: int = 0
    oldest: float | None = None
    refused: int = 0
    waiting_bytes: int = 0
    damaged_bytes: int = 0
    problem: str | None = None
    limit_bytes: int | None = None
    state: State = "ok"


class Transport(Protocol):
    """Takes sealed events.

    Once `append` has returned, the transport answers for the event; once `settle` has, to the full of what was
    promised. Neither waits for the network.
    """

    def append(self, event: Event, document: dict[str, object], moment: int) -> int:
        """Take one event; returns a ticket for `settle`. SpoolError: not taken.

        `moment` is the event's time in nanoseconds since 1970. One thread at a time calls it.
        """

    def settle(self, ticket: int) -> None:
        """Wait until what was appended up to this ticket is as durable as promised; threads wait together.

        SpoolError: the disk refused. The event is taken all the same, and may be sent.
        """

    def flush(self, timeout: float) -> bool:
        """Wait until all that was appended before is acknowledged; False if `timeout` seconds were not enough."""

    def drain(self, timeout: float) -> bool:
        """Wait until what dead processes left is acknowledged too; False if `timeout` seconds were not enough."""

    def stats(self) -> Stats:
        """What is where."""

    def close(self, timeout: float) -> None:
        """Flush for at most `timeout` seconds and stop. What is left stays in the spool for the next process."""

    def after_fork(self) -> None:
        """Start anew in a child process: nothing of the parent's may be written or sent from here."""
