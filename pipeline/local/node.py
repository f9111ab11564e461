"""The OpenSearch node: its folder, its settings, its start."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from auditpipe.pipeline.local import process
from auditpipe.pipeline.local.certificates import Certificates
from auditpipe.pipeline.local.files import make_private, write_private
from auditpipe.pipeline.local.home import UNPRIVILEGED, Home
from auditpipe.pipeline.local.java import command, java
from auditpipe.pipeline.local.readiness import Admin, Shards
from auditpipe.schemas import ports
from auditpipe.schemas.identity import INDEX_PATTERN

NAME = "opensearch"
#: In the node's folder: the one place where it takes a snapshot repository of files (docs/backup.md).
SNAPSHOTS = "snapshots"
START_TIMEOUT_S = 180.0
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What of the node can be chosen. `settings` are further ones of OpenSearch's, as `name=value`."""

    port: int = ports.OPENSEARCH
    heap: str = "1g"
    settings: tuple[str, ...] = ()


def owner() -> int | None:
    """The user id that the node runs as, where that is not our own."""
    return UNPRIVILEGED if os.geteuid() == 0 else None


def prepare(home: Home, certificates: Certificates) -> Path:
    """Write the node's folder: config anew at each start, data as it is. Returns the folder's real path."""
    folder = home.opensearch.resolve()
    for name in ("config", "data", "logs", "tmp", SNAPSHOTS):
        make_private(folder / name, owner())
    config = folder / "config"
    source = files("auditpipe.pipeline.opensearch")
    for name in ("opensearch.yml", "log4j2.properties"):
        write_private(config / name, source.joinpath(name).read_bytes(), owner())
    _copy_security(source.joinpath("security"), config / "opensearch-security")
    make_private(config / "certs", owner())
    for path in (certificates.ca, certificates.node.certificate, certificates.node.key):
        write_private(config / "certs" / path.name, path.read_bytes(), owner())
    return folder


def _copy_security(source: Traversable, target: Path) -> None:
    make_private(target, owner())
    for entry in source.iterdir():
        if entry.name.endswith(".yml"):
            write_private(target / entry.name, entry.read_bytes(), owner())


def start(home: Home, cache: Path, distribution: Path, folder: Path, options: NodeOptions) -> process.Record:
    """Start the node and return at once."""
    for leftover in (folder / "tmp").iterdir():  # native libraries that a killed node unpacked
        shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
    settings = (
        f"path.data={folder / 'data'}",
        f"path.logs={folder / 'logs'}",
        f"path.repo={folder / SNAPSHOTS}",
        "node.name=auditpipe",
        "network.host=127.0.0.1",
        f"http.port={options.port}",
        "transport.port=0",
        *options.settings,
    )
    return process.start(
        NAME,
        command(java(cache), distribution, folder, options.heap, settings),
        run=home.run,
        log=home.logs / "opensearch.out",
        address=f"https://127.0.0.1:{options.port}",
        program="java",
        environment={"LANG": "C.UTF-8", "PATH": os.defpath, "HOME": str(folder)},
        user=owner(),
    )


def wait(record: process.Record, admin: Admin, folder: Path) -> None:
    """Return when Security has been initialised. Ended, with the end of the log, if the node dies before."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not admin.is_ready():
        check_alive(record, folder)
        if time.monotonic() > deadline:
            raise process.Ended(f"OpenSearch is not ready after {START_TIMEOUT_S:.0f} s", explain(record, folder))
        time.sleep(_POLL_S)


def wait_for_shards(record: process.Record, admin: Admin, folder: Path, say: Callable[[str], None]) -> None:
    """Return when every month's primary shards have started: until then no search is answered.

    Ended, with the end of the log, if the node dies, or if no further shard starts for START_TIMEOUT_S.
    """
    best, deadline, told = -1, time.monotonic() + START_TIMEOUT_S, False
    while (shards := admin.shards(INDEX_PATTERN)) is None or shards.red:
        check_alive(record, folder)
        if shards is not None and not told:
            say(f"Waiting for OpenSearch to recover {shards.missing} shards of {INDEX_PATTERN}")
            told = True
        if shards is not None and shards.started > best:
            best, deadline = shards.started, time.monotonic() + START_TIMEOUT_S
        if time.monotonic() > deadline:
            raise process.Ended(_stuck(shards), explain(record, folder))
        time.sleep(_POLL_S)


def _stuck(shards: Shards | None) -> str:
    if shards is None:
        return f"OpenSearch does not say for {START_TIMEOUT_S:.0f} s how far it has recovered: `auditpipe up` again"
    return (
        f"{shards.missing} shards of {INDEX_PATTERN} have not started, {shards.started} have, and none more for "
        f"{START_TIMEOUT_S:.0f} s: no search is answered until they do; `auditpipe doctor` names what is wrong"
    )


def check_alive(record: process.Record, folder: Path) -> None:
    """Ended, with the end of the log, if the node is gone."""
    how = process.reap(record.pid)
    if record.process() is None:
        told = f" ({how})" if how else ""
        hint = ": the system has killed it, most likely for want of memory" if how == "SIGKILL" else ""
        raise process.Ended(f"OpenSearch ended while it started{told}{hint}", explain(record, folder))


def explain(record: process.Record, folder: Path) -> str:
    """The ends of the node's two logs: what Java said, and OpenSearch's own."""
    own = folder / "logs" / "opensearch.log"
    said = process.last_lines(Path(record.log), 5)
    return f"{record.log}:\n{said}\n{own}:\n{process.last_lines(own)}"
