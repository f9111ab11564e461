"""What a spool holds, folder by folder, for people and alarms. Reads beside whoever writes and sends."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from auditpipe.emitters.spool.archive import Entry, contents, folders
from auditpipe.emitters.spool.folder import Holder, holder
from auditpipe.schemas.errors import SpoolError


class State(StrEnum):
    """`in use`: its process lives. `being sent`: another process sends what it left. `left`: nobody does.

    `kept`: its process is gone, and all of it is acknowledged. `unreadable`: nothing can be said of it.
    """

    IN_USE = "in use"
    BEING_SENT = "being sent"
    LEFT = "left"
    KEPT = "kept"
    UNREADABLE = "unreadable"


@dataclass(slots=True)
class Tally:
    """So many events, bytes of Forward entries, and their first and last Forward time in nanoseconds since 1970."""

    events: int = 0
    bytes: int = 0
    oldest: int | None = None
    newest: int | None = None

    def add(self, entry: Entry) -> None:
        """Count one more."""
        self.events += 1
        self.bytes += len(entry.payload)
        self.oldest = entry.time if self.oldest is None else min(self.oldest, entry.time)
        self.newest = entry.time if self.newest is None else max(self.newest, entry.time)


@dataclass(frozen=True, slots=True)
class Summary:
    """One writer's folder: what waits, what was acknowledged and is kept, and bytes that are no events.

    `cut_short_bytes`: of an append that is under way, or that was when the process was killed. `damaged_bytes`: others.
    `problem`: why it can't be read, or None.
    """

    folder: Path
    state: State
    waiting: Tally = field(default_factory=Tally)
    kept: Tally = field(default_factory=Tally)
    damaged_bytes: int = 0
    cut_short_bytes: int = 0
    problem: str | None = None


def summaries(spool: Path) -> list[Summary]:
    """Each writer's folder, the oldest first; one that can't be read hides no other. SpoolError: the spool can't be."""
    return [_summary(folder, only_waiting=False) for folder in folders(spool)]


def unsent(spool: Path) -> list[Summary]:
    """The folders of dead processes in which events wait, without what was acknowledged, which is not read.

    What can't be read is left out: who sends says so. SpoolError: the spool itself can't be.
    """
    found = (_summary(folder, only_waiting=True) for folder in folders(spool))
    return [summary for summary in found if summary.state in (State.LEFT, State.BEING_SENT)]


def _summary(folder: Path, *, only_waiting: bool) -> Summary:
    try:
        return _summarize(folder, holder(folder), only_waiting=only_waiting)
    except SpoolError as error:
        return Summary(folder, State.UNREADABLE, problem=str(error))


def _summarize(folder: Path, who: Holder, *, only_waiting: bool) -> Summary:
    waiting, kept = Tally(), Tally()
    damaged = cut_short = 0
    for part in contents(folder, only_waiting=only_waiting):
        if isinstance(part, Entry):
            (kept if part.acknowledged else waiting).add(part)
        elif part.cut_short:
            cut_short += part.size
        else:
            damaged += part.size
    return Summary(folder, _state(who, waiting.events), waiting, kept, damaged, cut_short)


def _state(who: Holder, waiting: int) -> State:
    if who is Holder.OWNER:
        return State.IN_USE
    if not waiting:
        return State.KEPT
    return State.BEING_SENT if who is Holder.ADOPTER else State.LEFT
