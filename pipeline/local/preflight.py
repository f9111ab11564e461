"""What must be so before anything is started; each that is not gets a message of its own."""

import math
import re
import shutil
import socket
from pathlib import Path

import psutil

from auditpipe.schemas.errors import NotFinished, SettingsError, UsageError

_MIB = 2**20
#: Beside its heap the node needs room for Java itself, Lucene's maps and buffers; the shipper and replayer for Python.
_BESIDE_HEAP = 900 * _MIB
_DISK_FOR_DATA = 1024 * _MIB
_HEAP = re.compile(r"(\d{1,6})([mMgG])", re.ASCII)
_LEAST_HEAP = 512 * _MIB
_CGROUP = Path("/sys/fs/cgroup")
_SPECIAL = {
    ",": "OpenSearch reads as the end of a path",
    "${": "OpenSearch and Fluent Bit read as a variable",
    ":": "Java reads as the end of a path",
}


def check_path(path: Path) -> None:
    """A path that every part can take. SettingsError for what one of them would read as something else."""
    text = str(path)
    if not text.isprintable():
        raise SettingsError(f"{text!r}: expected a path of printable characters, since it goes into settings files")
    for sign, meaning in _SPECIAL.items():
        if sign in text:
            raise SettingsError(f"{text} holds {sign!r}, which {meaning}: give another --home")


def heap_bytes(heap: str) -> int:
    """Bytes of `768m` or `1g`. UsageError for anything else, or less than a node can start with."""
    match = _HEAP.fullmatch(heap)
    size = int(match[1]) * (_MIB if match[2] in "mM" else 1024 * _MIB) if match else 0
    if size < _LEAST_HEAP:
        raise UsageError(f"--heap: expected 512m or more, such as 768m or 1g, got {heap!r}")
    return size


def check_memory(heap: str) -> None:
    """Enough free memory for a node with this heap. NotFinished says how much there is and what to do."""
    needed, free = heap_bytes(heap) + _BESIDE_HEAP, min(psutil.virtual_memory().available, _free_in_container())
    if free < needed:
        raise NotFinished(
            f"too little memory: {_mib(needed)} are needed (heap {heap} and {_mib(_BESIDE_HEAP)} beside it), "
            f"{_mib(free)} are free. End something, or give a smaller --heap"
        )


def check_disk(folder: Path, needed: int = _DISK_FOR_DATA) -> None:
    """Enough room where `folder` is or will be, and below OpenSearch's flood stage (95 %), where it stops writing."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(there)
    if usage.free < needed:
        raise NotFinished(f"too little disk: {_mib(needed)} are needed in {folder}, {_mib(usage.free)} are free")
    if usage.free < usage.total * 0.05:
        raise NotFinished(
            f"the disk of {folder} is over 95 % full ({_mib(usage.free)} free): OpenSearch would accept no event. "
            "Free some of it, or give another --home"
        )


def check_port(port: int, flag: str) -> None:
    """Nothing else listens there. NotFinished names the port and, where it can be told, the process."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise NotFinished(
                f"port {port} of 127.0.0.1 can't be used: {error.strerror}{_holder(port)}. "
                f"End it, or give another {flag}"
            ) from error


def _free_in_container() -> float:
    """What the container's limit (cgroup v2) leaves; infinite without one. Cached files give way and are not in use."""
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        rows = (line.split() for line in (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines())
        cached = next(int(value) for name, value in rows if name == "inactive_file")
        return math.inf if limit == "max" else int(limit) - used + cached
    except (OSError, ValueError, StopIteration):
        return math.inf


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,)
            if listens and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:  # other people's processes can't be looked at everywhere
        return ""
    return ""


def _mib(size: float) -> str:
    return f"{int(size) // _MIB:,} MiB"
