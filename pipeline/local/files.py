"""Files that only their owner may read, and that nobody sees half written."""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from auditpipe.schemas.durable import sync_directory


def write_private(path: Path, content: bytes, owner: int | None = None) -> None:
    """Write a file of mode 0600 under a temporary name and rename it. On disk when it returns, the name too.

    `owner` (root only) is the user id that may read it. The temporary name is made by this call or the call fails, so
    that a link planted in a folder of another user leads nowhere.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if owner is not None:
                os.fchown(file.fileno(), owner, owner)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def make_private(folder: Path, owner: int | None = None) -> None:
    """Make a folder of mode 0700."""
    folder.mkdir(exist_ok=True, mode=0o700)
    if owner is not None:
        os.chown(folder, owner, owner, follow_symlinks=False)


def make_passable(folder: Path) -> None:
    """Make a folder, and what is missing above it, that others may read, whatever the umask is."""
    for path in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)


@contextmanager
def locked(path: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file (flock). `busy` is called if another process holds it: raise there, or wait by returning.

    The operating system lets go of it when this process ends, however it ends.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def password_file(path: Path) -> Path:
    """A file that holds a random password (256 bits); made if it is not there. Returns its path."""
    if not path.exists():
        # The prefix holds what password rules ask for: upper and lower case, a digit, a special character.
        write_private(path, f"Aa1-{secrets.token_urlsafe(32)}\n".encode())
    return path
