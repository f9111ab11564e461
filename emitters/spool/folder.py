"""Owning a writer's folder, and adopting those whose owner is gone.

Ownership is flock(2) on `owner.lock`: it ends with the process, however that ends, and holds between containers that
share the folder, where a pid means nothing.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from auditpipe.emitters.spool.backlog import segments
from auditpipe.schemas.errors import SpoolError

_LOCK = "owner.lock"
_HIDDEN = ".new-"  # being made, or being removed
_STALE_SECONDS = 3600


@dataclass(slots=True)
class Folder:
    """A writer's folder whose lock this process holds, until `release` or the end of a `with` block."""

    path: Path
    _descriptor: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give it up: the next process may adopt it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Remove a folder in which nothing is left, and give it up."""
        hidden = self.path.with_name(f"{_HIDDEN}{self.path.name}")
        self.path.rename(hidden)  # so that nobody opens a lock in it while its files go
        shutil.rmtree(hidden)
        self.release()

    @property
    def is_empty(self) -> bool:
        """No segment is left in it."""
        return not segments(self.path)


def create(spool: Path, name: str) -> Folder:
    """A new folder, owned before anyone can see it under its name. SpoolError says what is wrong with `spool`."""
    temporary, final = spool / f"{_HIDDEN}{name}", spool / name
    try:
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_shared(spool)
        temporary.mkdir(mode=0o700)
        descriptor = _lock(temporary)
        temporary.rename(final)
    except OSError as error:
        raise SpoolError(
            f"the spool {spool} can't be written: {error}; set AUDITPIPE_SPOOL_DIR to a folder that can"
        ) from error
    if descriptor is None:
        raise SpoolError(f"the spool {final} is owned by another process")
    return Folder(final, descriptor)


def orphans(spool: Path) -> Iterator[Folder]:
    """Take each folder whose owner is gone, the newest first. The caller releases or removes it."""
    try:
        paths = [path for path in spool.iterdir() if path.is_dir() and not _is_young_and_hidden(path)]
    except FileNotFoundError:
        return
    except OSError as error:
        raise SpoolError(f"the spool {spool} can't be read: {error}") from error
    for path in sorted(paths, reverse=True):
        try:
            descriptor = _lock(path)
        except FileNotFoundError:
            continue  # another process has just removed it
        except OSError as error:
            raise SpoolError(f"{path} can't be locked: {error}") from error
        if descriptor is not None:
            yield Folder(path, descriptor)


def _refuse_shared(spool: Path) -> None:
    """Whoever may write here could plant folders, and they would be sent as if an application had emitted them."""
    status = spool.stat()
    if status.st_mode & 0o022 or status.st_uid not in (os.geteuid(), 0):
        raise SpoolError(
            f"the spool {spool} can be written by others (mode {status.st_mode & 0o777:o}, owner {status.st_uid}): "
            f"chmod 700 and chown it to {os.geteuid()}, or set AUDITPIPE_SPOOL_DIR to another folder"
        )


def _is_young_and_hidden(path: Path) -> bool:
    return path.name.startswith(_HIDDEN) and time.time() - path.stat().st_mtime < _STALE_SECONDS


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
    return descriptor
