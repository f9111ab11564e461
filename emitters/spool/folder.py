"""Owning a writer's folder, and adopting those whose owner is gone.

Ownership is flock(2) on `owner.lock`: it ends with the process, however that ends, and holds between containers that
share the folder, where a pid means nothing. Who adopts locks the folder itself as well, so that others can tell it from
the owner.
"""

import contextlib
import fcntl
import itertools
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Self

from auditpipe.emitters.spool.backlog import Backlog, mark_path, segment_path, segments
from auditpipe.emitters.spool.refusal import refusal
from auditpipe.schemas.durable import sync_directory
from auditpipe.schemas.errors import SpoolError

_LOCK = "owner.lock"
_HIDDEN = ".new-"  # being made, or being removed
_STALE_SECONDS = 3600


class Holder(Enum):
    """Who has a folder's lock: the process that writes it, one that sends what another left, or nobody."""

    OWNER = "owner"
    ADOPTER = "adopter"
    NOBODY = "nobody"


@dataclass(slots=True)
class Folder:
    """A writer's folder whose lock this process holds, until `release` or the end of a `with` block."""

    path: Path
    _descriptors: tuple[int, ...]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def own(self, final: Path) -> None:
        """Lock a folder that nobody sees yet, and show it under its name. OSError, and SpoolError if another has it."""
        descriptor = _lock(self.path)
        if descriptor is None:
            raise SpoolError(f"the spool {final} is owned by another process")
        self._descriptors = (descriptor,)
        self.path.rename(final)
        self.path = final

    def release(self) -> None:
        """Give it up: the next process may adopt it."""
        for descriptor in self._descriptors:
            # A child that was forked meanwhile has the lock too, and would keep it for as long as it lives.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        self.forget()

    def forget(self) -> None:
        """In a forked child: let go of what is the parent's, whose lock stays."""
        descriptors, self._descriptors = self._descriptors, ()
        for descriptor in descriptors:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove a folder in which nothing is left, and give it up."""
        hidden = self.path.with_name(f"{_HIDDEN}{self.path.name}")
        self.path.rename(hidden)  # so that nobody opens a lock in it while its files go
        shutil.rmtree(hidden)
        self.release()

    def undo(self) -> None:
        """Take back a folder that was just made, and give it up. Opens nothing: descriptors may be what was missing."""
        hidden = self.path if is_hidden(self.path) else self.path.with_name(f"{_HIDDEN}{self.path.name}")
        with self, contextlib.suppress(OSError):  # what stays is sent or removed by who looks for dead processes
            self.path.rename(hidden)
            for number in itertools.count(1):
                if not segment_path(hidden, number).exists():
                    break
                segment_path(hidden, number).unlink()
            mark_path(hidden).unlink(missing_ok=True)
            (hidden / _LOCK).unlink(missing_ok=True)
            hidden.rmdir()

    @property
    def is_empty(self) -> bool:
        """No segment is left in it."""
        return not segments(self.path)


def create(spool: Path, name: str, *, durable: bool = False) -> Folder:
    """A new folder, owned before anyone can see it under its name. SpoolError says what is wrong with `spool`.

    `durable`: its name, and those of the folders that had to be made for it, survive power loss.
    """
    folder, final = Folder(spool / f"{_HIDDEN}{name}", ()), spool / name
    made = [path for path in (spool, *spool.absolute().parents) if not path.exists()]
    try:
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_shared(spool)
        folder.path.mkdir(mode=0o700)
        with undone_on_failure(folder):
            folder.own(final)
            for path in (final, *made) if durable else ():
                sync_directory(path.parent)
    except OSError as error:
        advice = "; set AUDITPIPE_SPOOL_DIR to a folder that can"
        raise refusal(f"the spool {spool} can't be written", error, advice) from error
    return folder


@contextlib.contextmanager
def undone_on_failure(folder: Folder) -> Iterator[None]:
    """Take a folder that was just made back where the block fails, and pass on what it raised."""
    try:
        yield
    except BaseException:
        folder.undo()
        raise


def orphans(spool: Path, *, waiting: bool = False) -> Iterator[Folder]:
    """Take each folder whose owner is gone, the newest first. The caller releases or removes it.

    `waiting`: only those in which something waits, or that can't be asked, and the oldest first.
    SpoolError if the spool can't be read; once all others were taken, also if a folder can't be locked.
    """
    problem: SpoolError | None = None
    for path in sorted(_taken_care_of(spool), reverse=not waiting):
        if waiting and not _may_wait(path):
            continue
        try:
            descriptor = _lock(path)
        except FileNotFoundError:
            continue  # another process has just removed it
        except OSError as error:
            problem = SpoolError(f"{path} can't be locked: {error}; it belongs to user {_owner_of(path)}")
            continue
        if descriptor is not None:
            yield Folder(path, (descriptor, *_mark_adopted(path)))
    if problem is not None:
        raise problem


def _may_wait(path: Path) -> bool:
    try:
        return Backlog(path).waiting() > 0
    except (SpoolError, OSError):
        return True


def is_hidden(path: Path) -> bool:
    """Whether this folder is being made or removed: there are no events in it, and its lock must be left alone."""
    return path.name.startswith(_HIDDEN)


def holder(path: Path) -> Holder:
    """Who has this folder. Asked with a shared lock that is given back at once. SpoolError if it may not be asked."""
    try:
        if not _is_locked(path / _LOCK, os.O_RDONLY):
            return Holder.NOBODY
        return Holder.ADOPTER if _is_locked(path, os.O_RDONLY | os.O_DIRECTORY) else Holder.OWNER
    except FileNotFoundError:  # its lock is the first thing in it: it is being removed
        return Holder.NOBODY
    except OSError as error:
        raise SpoolError(f"{path}: who owns it can't be asked: {error}") from error


def _taken_care_of(spool: Path) -> list[Path]:
    try:
        _refuse_shared(spool)
        return [path for path in spool.iterdir() if path.is_dir() and not _is_young_and_hidden(path)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SpoolError(f"the spool {spool} can't be read: {error}") from error


def _refuse_shared(spool: Path) -> None:
    """Whoever may write here could plant folders, and they would be sent as if an application had emitted them."""
    status = spool.stat()
    if status.st_mode & 0o022 or status.st_uid not in (os.geteuid(), 0):
        raise SpoolError(
            f"the spool {spool} can be written by others (mode {status.st_mode & 0o777:o}, owner {status.st_uid}): "
            f"chmod 700 and chown it to {os.geteuid()}, or set AUDITPIPE_SPOOL_DIR to another folder"
        )


def _is_young_and_hidden(path: Path) -> bool:
    try:
        return is_hidden(path) and time.time() - path.stat().st_mtime < _STALE_SECONDS
    except FileNotFoundError:
        return True  # made, or removed, by now


def _owner_of(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _mark_adopted(path: Path) -> tuple[int, ...]:
    with contextlib.suppress(OSError):  # NFS locks no folders: there an adopter is taken for an owner, nothing worse
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return (descriptor,)
    return ()


def _is_locked(path: Path, flags: int) -> bool:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(path: Path) -> int | None:
    """The locked descriptor, or None where another holds it."""
    descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink == 0:  # removed between open and lock
            os.close(descriptor)
            return None
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
