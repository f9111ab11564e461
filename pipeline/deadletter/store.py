"""The dead-letter file: a line of JSON for each event that was given up, on disk before anyone is told.

    {"reason": {"type", "detail"}, "at", "tag", "time", "id", "record" | "msgpack"}

`at` is when it was given up (RFC 3339), `time` the Forward time in nanoseconds. `record` is the document as it was
sent; what has no JSON is kept as `msgpack`, the exact bytes in base64. A file is appended to under a lock
(`flock`) and one that has been taken away for replay is never written again. Parked events lie in the same form in the
folder `waiting/` and stay there until they are stored: see `read_between_writes` and `leave`.
"""

import base64
import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from time import time_ns
from typing import Any

import orjson

from auditpipe.pipeline.relay.records import Reason, Refused
from auditpipe.schemas.durable import sync_directory
from auditpipe.schemas.errors import SettingsError, SpoolError, SpoolFull
from auditpipe.schemas.identity import format_time

SUFFIX = ".ndjson"
#: Subfolder for events that OpenSearch does not take yet; also how the names of its files begin.
WAITING = "waiting"
LARGEST_FILE = 64 * 2**20
LARGEST_FOLDER = 2**30

_log = logging.getLogger(__name__)


def prepare_folder(folder: Path) -> None:
    """As `make_folder`, where a program starts. SettingsError if it can't be."""
    try:
        make_folder(folder)
    except SpoolError as error:
        raise SettingsError(str(error)) from error


def make_folder(folder: Path) -> None:
    """Make the folder, for this user alone. SpoolError if it can't be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(f"user id {os.getuid()} may not write there")
    except OSError as error:
        raise SpoolError(f"dead letters can't be kept in {folder}: {error}") from error


def letter(refused: Refused, at: int) -> bytes:
    """The line of an event that was given up at `at` (nanoseconds)."""
    fields: dict[str, Any] = {
        "reason": {"type": refused.reason.type, "detail": refused.reason.detail},
        "at": format_time(at),
        "tag": refused.tag.encode("utf-8", "replace").decode(),
        "time": refused.time,
        "id": refused.id,
    }
    if refused.document is not None:
        fields["record"] = orjson.Fragment(refused.document)
    else:
        fields["msgpack"] = base64.b64encode(refused.packed or b"").decode("ascii")
    return orjson.dumps(_clean(fields), option=orjson.OPT_APPEND_NEWLINE)


class DeadLetters:
    """Appends to `PREFIX-YYYY-MM-DD[-N].ndjson` in a folder. Safe to call from several threads.

    SpoolError if the folder is not there and can't be made.
    """

    def __init__(
        self, folder: Path, prefix: str, *, largest_file: int = LARGEST_FILE, largest_folder: int = LARGEST_FOLDER
    ) -> None:
        make_folder(folder)
        self.folder = folder
        self._prefix = prefix
        self._largest_file = largest_file
        self._largest_folder = largest_folder
        self._lock = Lock()

    def keep(self, refused: Sequence[Refused]) -> None:
        """On disk when it returns: the lines and the file's name.

        SpoolFull: the folder has reached its limit. SpoolError: it can't be written. Nothing may be acknowledged then.
        """
        now = time_ns()
        data = b"".join([letter(one, now) for one in refused])
        with self._lock:
            try:
                held = self._held()
                if held + len(data) > self._largest_folder:
                    raise SpoolFull(
                        f"{self.folder} holds {held} bytes of dead letters and takes {self._largest_folder}: "
                        "look at them with `auditpipe deadletter list`, replay or move them away"
                    )
                self._append(data, format_time(now)[:10])
            except OSError as error:
                raise SpoolError(f"dead letters can't be kept in {self.folder}: {error}") from error

    def _held(self) -> int:
        with os.scandir(self.folder) as entries:
            return sum(map(_size, entries))

    def _append(self, data: bytes, day: str) -> None:
        number = 1
        while True:
            suffix = "" if number == 1 else f"-{number}"
            path = self.folder / f"{self._prefix}-{day}{suffix}{SUFFIX}"
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                size = os.fstat(descriptor).st_size
                if not _is_at(descriptor, path):
                    continue  # taken for replay between open and lock
                if size and size + len(data) > self._largest_file:
                    number += 1
                    continue
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    data = b"\n" + data  # power was lost in the middle of a line
                _write_whole(descriptor, data, size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if not size:
                sync_directory(self.folder)
            return


def take_away(path: Path, target: Path) -> bool:
    """Move a file that may be written to, between two writes; whether it was there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not _is_at(descriptor, path):
            return False
        path.rename(target)
    finally:
        os.close(descriptor)
    sync_directory(target.parent)
    sync_directory(path.parent)
    return True


def read_between_writes(path: Path) -> bytes:
    """All of a file that may be written to: whole lines. FileNotFoundError if it is not there."""
    with _locked(path):
        return path.read_bytes()


def leave(path: Path, seen: int, lines: Sequence[bytes]) -> None:
    """Leave of the first `seen` bytes of a file these lines, and what was written since; remove it if that is nothing.

    At once: whoever is killed in it leaves the file as it was. FileNotFoundError if it is not there.
    """
    new = path.with_name(f"{path.name}.new")
    with _locked(path) as descriptor:
        data = b"".join([line + b"\n" for line in lines])
        data += os.pread(descriptor, os.fstat(descriptor).st_size - seen, seen)
        if data:
            _write_new(new, data)
            new.replace(path)
        else:
            path.unlink()
            new.unlink(missing_ok=True)
        sync_directory(path.parent)


def with_reason(line: bytes, reason: Reason) -> bytes:
    """The letter in a line with this reason; the line itself if that is of the same type."""
    fields = orjson.loads(line)
    if fields["reason"]["type"] == reason.type:
        return line
    try:
        return orjson.dumps(_clean(fields | {"reason": reason._asdict()}))
    except orjson.JSONEncodeError:  # a record as deep as orjson writes one, which is a level deeper here
        return line


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not _is_at(descriptor, path):
            raise FileNotFoundError(path)
        yield descriptor
    finally:
        os.close(descriptor)


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_whole(descriptor, data, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat().st_size if entry.name.endswith(SUFFIX) else 0
    except FileNotFoundError:
        return 0  # taken for replay since the folder was listed


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def _write_whole(descriptor: int, data: bytes, size: int) -> None:
    """All of the data or none: half a line would spoil the next one."""
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _clean(fields: dict[str, Any]) -> dict[str, Any]:
    """Texts that quote a hostile event may hold lone surrogates, which JSON can't."""
    reason = {name: text.encode("utf-8", "replace").decode() for name, text in fields["reason"].items()}
    event_id = fields["id"]
    return fields | {
        "reason": reason,
        "id": event_id.encode("utf-8", "replace").decode() if isinstance(event_id, str) else None,
    }
