"""A folder of dead letters: what lies in it, and who may take what.

    DIR/*.flb         rejected chunks of Fluent Bit: their events were given up by retries, not refused one by one
    DIR/*.ndjson      dead letters of the relay: each event was refused, with its reason
    DIR/waiting/      parked by the relay: OpenSearch does not take them yet; sent again from where they lie
    DIR/replaying/    taken for replay; whatever ends the replayer, the next one goes on with it
    DIR/refused/      refused again by a replay, with the reason

Fluent Bit reads subfolders neither at start (cio_scan.c takes regular files only) nor later.
"""

import fcntl
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from time import time

from auditpipe.pipeline.deadletter import chunkfile
from auditpipe.pipeline.deadletter.letters import Letter, from_event, from_refused, read_letters, to_event
from auditpipe.pipeline.deadletter.store import SUFFIX, WAITING, leave, make_folder, read_between_writes, take_away
from auditpipe.pipeline.relay.alarm import waiting_for
from auditpipe.pipeline.relay.records import Event, Reason, Refused
from auditpipe.schemas.errors import NotFinished, SpoolError, UsageError
from auditpipe.schemas.identity import LATEST_NS, index_of

REPLAYING = "replaying"
REFUSED = "refused"

#: A chunk that was written to more recently may not be whole yet. Fluent Bit writes one within milliseconds.
QUIET_SECONDS = 2.0

GIVEN_UP = Reason("retries_exhausted", "Fluent Bit's retries ended while OpenSearch was out of reach or refused it")


class Kind(Enum):
    """What a file of dead letters is."""

    CHUNK = "rejected chunk"
    LETTERS = "relay"
    WAITING = "waiting"
    REFUSED = "refused again"
    REPLAYING = "being replayed"


@dataclass(frozen=True, slots=True)
class DeadFile:
    """A file of dead letters; `folder` is the one that it belongs to, whichever subfolder it lies in."""

    folder: Path
    path: Path
    kind: Kind
    modified: float
    size: int

    @property
    def is_chunk(self) -> bool:
        """Whether it is in Fluent Bit's format."""
        return self.path.suffix == chunkfile.SUFFIX


@dataclass(frozen=True, slots=True)
class Summary:
    """What a file holds: events, how many for each reason, the oldest event's time in nanoseconds.

    `waits`: for parked events, how many wait for what.
    """

    count: int
    reasons: Counter[str]
    oldest: int | None
    waits: Counter[str]


def files(folder: Path, kinds: Collection[Kind] = frozenset(Kind)) -> list[DeadFile]:
    """Every file of these kinds in the folder, oldest first; none where there is no folder.

    SpoolError if a folder that may hold them can't be read.
    """
    found = _files(folder, folder, None)
    for name, kind in ((WAITING, Kind.WAITING), (REPLAYING, Kind.REPLAYING), (REFUSED, Kind.REFUSED)):
        if kind in kinds:
            found += _files(folder, folder / name, kind)
    return sorted((file for file in found if file.kind in kinds), key=lambda file: (file.modified, file.path))


def waiting(folder: Path) -> list[DeadFile]:
    """What heals by itself: chunks of Fluent Bit that are whole, parked events, and what an earlier replay left.

    Events that were refused one by one do not: a person has a reason to send those again.
    """
    return [file for file in files(folder, (Kind.CHUNK, Kind.WAITING, Kind.REPLAYING)) if is_whole(file)]


def is_whole(file: DeadFile) -> bool:
    """Whether nobody writes to the file any more. Relay and replayer write under a lock, whole lines."""
    # A time that lies ahead is none to wait for: the clock was set back since.
    return not file.is_chunk or abs(time() - file.modified) >= QUIET_SECONDS


def make_subfolders(folder: Path) -> None:
    """Make what a replay moves files to, where the folder is there: on a full disk it would be too late.

    SpoolError if that can't be.
    """
    if folder.is_dir():
        for name in (REPLAYING, REFUSED):
            make_folder(folder / name)


def claim(file: DeadFile) -> DeadFile | None:
    """Move a file to where only the replayer looks; None if it has gone meanwhile. SpoolError if it can't be moved."""
    if file.kind is Kind.REPLAYING:
        with _edge(file):
            return file if file.path.exists() else None
    target = file.folder / REPLAYING / f"{int(time() * 1e9)}-{file.path.name}"
    make_folder(target.parent)
    try:
        if not take_away(file.path, target):
            return None
    except OSError as error:
        raise SpoolError(f"{file.path} can't be moved to {target.parent}: {error}") from error
    return DeadFile(file.folder, target, Kind.REPLAYING, file.modified, file.size)


def written(file: DeadFile) -> tuple[int, int]:
    """Size and time of the last write, to see whether there was one. FileNotFoundError if it has gone."""
    with _edge(file):
        now = file.path.stat()
    return now.st_size, now.st_mtime_ns


def read_events(file: DeadFile) -> Iterator[Event | Refused]:
    """The events of a file, checked. FileNotFoundError if it has gone."""
    if file.is_chunk:
        yield from chunkfile.read_events(_read(file.path), chunkfile.read_name(file.path.name).tag)
    else:
        yield from map(to_event, _letters(file.path))


def read_parked(file: DeadFile) -> bytes:
    """The lines of a file that the relay may be writing to. FileNotFoundError if it has gone."""
    with _edge(file):
        return read_between_writes(file.path)


def leave_parked(file: DeadFile, seen: int, lines: Sequence[bytes]) -> None:
    """Put these lines in the place of the first `seen` bytes; the file goes if nothing is left."""
    with _edge(file):
        leave(file.path, seen, lines)


def letters_of(file: DeadFile) -> Iterator[Letter]:
    """The events of a file as letters, with the reason why each is here; none if it has been replayed meanwhile."""
    try:
        if file.is_chunk:
            for event in read_events(file):
                yield from_refused(event) if isinstance(event, Refused) else from_event(event, GIVEN_UP)
        else:
            yield from _letters(file.path)
    except FileNotFoundError:
        return


def summarize(file: DeadFile) -> Summary:
    """Count a file's events by reason."""
    reasons: Counter[str] = Counter()
    waits: Counter[str] = Counter()
    oldest: int | None = None
    for letter in letters_of(file):
        reasons[letter.reason.type] += 1
        if file.kind is Kind.WAITING:
            waits[wait_of(letter)] += 1
        if letter.time is not None and (oldest is None or letter.time < oldest):
            oldest = letter.time
    return Summary(reasons.total(), reasons, oldest, waits)


def wait_of(letter: Letter) -> str:
    """What a parked event waits for, in a sentence."""
    known = letter.time is not None and 0 <= letter.time <= LATEST_NS
    return waiting_for(letter.reason.type, index_of(letter.time or 0)) if known else letter.reason.type


def find(name: str, folders: list[Path]) -> DeadFile:
    """The file of that name or path. UsageError if there is none, or it lies elsewhere."""
    there = [file for folder in folders for file in files(folder)]
    for file in there:
        if name == file.path.name or Path(name).absolute() == file.path.absolute():
            return file
    raise UsageError(f"no file of dead letters {name!r}: expected one of those that `auditpipe deadletter list` names")


@contextmanager
def sole_replayer(folder: Path) -> Iterator[None]:
    """Held while replaying in a folder. NotFinished if another process does, SpoolError if it can't be held."""
    lock = folder / REPLAYING / ".lock"
    make_folder(lock.parent)
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpoolError(f"{lock} can't be made: {error}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NotFinished(f"another replayer is at work in {folder}; it takes what is there") from error
        except OSError as error:
            raise SpoolError(f"{lock} can't be locked: {error}") from error
        yield
    finally:
        os.close(descriptor)


def _files(folder: Path, where: Path, kind: Kind | None) -> list[DeadFile]:
    found = []
    try:
        with os.scandir(where) as entries:
            for entry in entries:
                is_chunk = entry.name.endswith(chunkfile.SUFFIX)
                if not (is_chunk or entry.name.endswith(SUFFIX)) or not entry.is_file(follow_symlinks=False):
                    continue
                state = _state(entry)
                if state is None:
                    continue
                own = kind or (Kind.CHUNK if is_chunk else Kind.LETTERS)
                found.append(DeadFile(folder, Path(entry.path), own, state.st_mtime, state.st_size))
    except FileNotFoundError:
        return found  # made when there is something to keep, or taken by another replayer meanwhile
    except OSError as error:
        raise SpoolError(f"{where} can't be read: {error}") from error
    return found


def _state(entry: "os.DirEntry[str]") -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None  # taken by another replayer since the folder was listed


@contextmanager
def _edge(file: DeadFile) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SpoolError(f"{file.path} can't be read or written anew: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SpoolError(f"{path} can't be read: {error}") from error


def _letters(path: Path) -> Iterator[Letter]:
    try:
        with path.open("rb") as lines:
            yield from read_letters(lines)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SpoolError(f"{path} can't be read: {error}") from error
