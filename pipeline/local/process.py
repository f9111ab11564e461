"""Detached child processes that later commands find again.

A process is remembered by its id and by when it started: an id alone is given to another process after a while, and
nothing here may ever signal a stranger. On Linux "when" is the boot and the clock ticks since, which stay the same when
the system's clock is set.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from auditpipe.pipeline.local.files import write_private
from auditpipe.schemas.errors import NotFinished

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START_TICKS = 19  # field 22 of proc(5) stat, counted behind the name
_POLL_S = 0.05
_TYPES: dict[str, tuple[type, ...]] = {"pid": (int,), "started": (int, float)}
#: A log beyond this is put aside by the next `up`; the one put aside before goes.
LARGEST_LOG = 8 * 2**20
_ASIDE = ".1"


class Ended(NotFinished):
    """A process of the stack is gone, or does not get ready. `said` is the end of its log, in lines."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


@dataclass(frozen=True, slots=True)
class Record:
    """What run/NAME.json holds. `started` is in seconds since 1970, `identity` what no other process of this id has."""

    name: str
    pid: int
    started: float
    identity: str
    address: str
    log: str
    program: str
    #: Where it tells numbers (Prometheus), if it does.
    metrics: str = ""

    @property
    def port(self) -> int:
        """The port of `address`."""
        return int(self.address.rpartition(":")[2])

    @property
    def metrics_port(self) -> int | None:
        """The port of `metrics`."""
        return urlsplit(self.metrics).port

    def process(self) -> psutil.Process | None:
        """The process, if this very one still runs."""
        try:
            process = psutil.Process(self.pid)
            return process if _identity(process) == self.identity and not _is_over(process) else None
        except psutil.NoSuchProcess:
            return None

    def is_suspended(self) -> bool:
        """Whether it is there and does nothing, because of a SIGSTOP or Ctrl-Z."""
        process = self.process()
        try:
            return process is not None and bool(process.status() == psutil.STATUS_STOPPED)
        except psutil.NoSuchProcess:
            return False


def start(
    name: str,
    command: Sequence[str],
    *,
    run: Path,
    log: Path,
    address: str,
    program: str,
    metrics: str = "",
    environment: Mapping[str, str],
    folder: Path = Path("/"),
    user: int | None = None,
) -> Record:
    """Start a process in a session of its own, its output appended to `log`, and remember it in `run`.

    `environment` is all that it gets, `folder` its working directory. NotFinished if the program can't be started, or
    not be remembered: then it is ended again.
    """
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise NotFinished(f"{name} can't be started: {log}: {error}") from error
    try:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
            umask=0o077,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    except OSError as error:
        raise NotFinished(f"{name} can't be started: {command[0]}: {error}") from error
    finally:
        os.close(descriptor)
    try:
        process = psutil.Process(child.pid)
        record = Record(name, child.pid, process.create_time(), _identity(process), address, str(log), program, metrics)
        write_private(run / f"{name}.json", json.dumps(asdict(record)).encode())
    except BaseException as error:
        # Nobody would find it again, and its port would be taken for a stranger's.
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if isinstance(error, OSError):
            raise NotFinished(f"{name} was ended again, as nothing can be written to {run}: {error}") from error
        raise
    child.returncode = 0  # it outlives us on purpose: no ResourceWarning when the object goes
    return record


def read(run: Path, name: str) -> Record | None:
    """What was remembered of a process, whether it runs or not. NotFinished if that is damaged."""
    path = run / f"{name}.json"
    try:
        return _record(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise NotFinished(
            f"{path} is damaged ({error}): stop {name} by hand if it runs, then remove this file"
        ) from error


def _record(values: object) -> Record:
    if not isinstance(values, dict):
        raise ValueError("expected an object")
    record = Record(**values)
    for field in fields(record):
        value = getattr(record, field.name)
        if type(value) not in _TYPES.get(field.name, (str,)):
            raise ValueError(f"{field.name} is {value!r}")
    return record


def forget(run: Path, name: str) -> None:
    """Remove what was remembered."""
    (run / f"{name}.json").unlink(missing_ok=True)


def stop(record: Record, *, patience_s: float = 30.0) -> None:
    """SIGTERM, and SIGKILL when it has not ended within `patience_s`. Returns when it is gone."""
    process = record.process()
    if process is None:
        return
    with suppress(psutil.NoSuchProcess):  # it ends by itself meanwhile
        process.terminate()
        if record.is_suspended():  # it gets no signal but SIGKILL before it goes on
            process.resume()
    if not _gone(record, patience_s):
        with suppress(psutil.NoSuchProcess):
            process.kill()
        if not _gone(record, 10.0):
            raise NotFinished(f"{record.name} (process {record.pid}) does not end, even by SIGKILL")


def _is_over(process: psutil.Process) -> bool:
    """Whether it does nothing any more and holds nothing. A program of many threads is a zombie already while its last
    threads end, which on a busy machine takes a while: until then its ports and locks are not free.
    """
    return bool(process.status() == psutil.STATUS_ZOMBIE) and process.num_threads() <= 1


def _identity(process: psutil.Process) -> str:
    try:
        ticks = Path(f"/proc/{process.pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()[_START_TICKS]
        return f"{_BOOT_ID.read_text(encoding='ascii').strip()} {ticks}"
    except OSError:  # no Linux, or gone: the next call tells which
        return f"{process.create_time():.2f}"


def _gone(record: Record, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        reap(record.pid)
        if record.process() is None:
            return True
        time.sleep(_POLL_S)
    return False


def reap(pid: int) -> str:
    """Collect a child of ours that has ended, so that it is no zombie, and say how it ended: `exit code 1`, `SIGKILL`.

    Empty if it runs, or is not our child, or was collected before.
    """
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return ""
    if ended == 0:
        return ""
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def put_aside(log: Path) -> None:
    """Move what a log beyond LARGEST_LOG holds to `LOG.1`, in place of what was there.

    By a copy: whoever writes to it has it open, and goes on behind its new end (O_APPEND).
    """
    try:
        if log.suffix != _ASIDE and log.stat().st_size > LARGEST_LOG:
            shutil.copy(log, log.with_name(f"{log.name}{_ASIDE}"))
            os.truncate(log, 0)
    except FileNotFoundError:
        return


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for a person: without the frames of Java's stack traces, and without control characters."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return "(no log)"
    kept = [line.expandtabs() for line in lines if not line.lstrip().startswith(("at ", "... "))][-count:]
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in kept) or "(empty)"
