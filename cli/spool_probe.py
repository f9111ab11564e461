"""A spool from outside: how many events wait in it, whether it takes more, whose it is."""

import os
import shutil
import tempfile
from pathlib import Path

from auditpipe.schemas.errors import SpoolError, SpoolFull

_PROBE = 4096


def count(spool: Path) -> int:
    """Whole events behind the last acknowledged one, in every writer's folder. SpoolError if it can't be read."""
    from auditpipe.emitters.spool.archive import Entry, contents, folders

    parts = (part for folder in folders(spool) for part in contents(folder, only_waiting=True))
    return sum(isinstance(part, Entry) for part in parts)


def check_writable(spool: Path) -> None:
    """Write a little where the spool is, or would be made, and take it back at once.

    SpoolError if this user can't, SpoolFull if there is less room than a spool takes where its
    application does not say how much.
    """
    from auditpipe.emitters.options import SpoolOptions

    folder = spool
    try:
        folder = next(path for path in (spool, *spool.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(bytes(_PROBE))
            os.fsync(probe.fileno())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpoolError(f"the spool {spool} can't be written: {folder}: {reason}; emit fails") from error
    if free < SpoolOptions().limit_bytes:
        raise SpoolFull(f"the disk of the spool {spool} has {free // 2**20} MiB left; emit fails when it is full")


def become_owner(spool: Path) -> int | None:
    """Let root act as the user whose spool it is, so that what it writes there stays theirs; their number if it does.

    A mark of root's own in a folder would keep its application from sending what is left there.
    """
    try:
        status = spool.stat()
    except OSError:  # there is none yet, or whoever reads it says why it can't be read
        return None
    if os.geteuid() != 0 or status.st_uid == 0:
        return None
    os.setegid(status.st_gid)
    os.seteuid(status.st_uid)
    return status.st_uid
