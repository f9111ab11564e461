"""How many events wait in a spool, and whether it takes more. The writers' locks and marks are left alone."""

import os
import shutil
import tempfile
from pathlib import Path

from auditpipe.schemas.errors import SpoolError, SpoolFull

#: A spool takes 1 GiB unless its application says otherwise (`SpoolOptions.limit_bytes`).
ROOM = 2**30
_PROBE = 4096


def count(spool: Path) -> int:
    """Whole events behind the last acknowledged one, in every writer's folder. SpoolError if it can't be read."""
    try:
        return sum(_in_folder(folder) for folder in _folders(spool))
    except OSError as error:
        raise SpoolError(f"the spool {spool} can't be read: {error}") from error


def check_writable(spool: Path) -> None:
    """Write a little where the spool is, or would be made, and take it back at once.

    SpoolError if this user can't, SpoolFull if there is less room than a spool may take.
    """
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
    if free < ROOM:
        raise SpoolFull(f"the disk of the spool {spool} has {free // 2**20} MiB left; emit fails when it is full")


def _folders(spool: Path) -> list[Path]:
    return [path for path in spool.iterdir() if path.is_dir()] if spool.is_dir() else []


def _in_folder(folder: Path) -> int:
    from auditpipe.emitters.spool.backlog import Backlog, segment_path, segments
    from auditpipe.emitters.spool.frames import Frame, decode

    acknowledged = Backlog(folder).acknowledged
    found = 0
    for number in segments(folder):
        if number < acknowledged.segment:
            continue
        try:
            data = segment_path(folder, number).read_bytes()
        except FileNotFoundError:
            continue  # sent and removed while we looked
        start = acknowledged.offset if number == acknowledged.segment else 0
        found += sum(isinstance(part, Frame) for part in decode(data, start))
    return found
